"""Programs on tensors: interpreter, batched evaluator, screens, `ProgramLoss` and code generation."""

from lossml.backend.codegen import torch_source
from lossml.backend.crowd import Crowd
from lossml.backend.fingerprint import Fingerprint, fingerprints
from lossml.backend.foreign import ForeignLoss, foreign_scale
from lossml.backend.jax_source import jax_source
from lossml.backend.module import ProgramLoss
from lossml.backend.onnx_file import onnx_model
from lossml.backend.probe import Probe, gradient_scale, logit_gradients, make_probe
from lossml.backend.screen import Rejection, Screened, descend, screen, sieve
from lossml.backend.stack import StackedLoss, stack
from lossml.backend.triton_source import triton_source

__all__ = [
    "Crowd",
    "Fingerprint",
    "ForeignLoss",
    "Probe",
    "ProgramLoss",
    "Rejection",
    "Screened",
    "StackedLoss",
    "descend",
    "fingerprints",
    "foreign_scale",
    "gradient_scale",
    "jax_source",
    "logit_gradients",
    "make_probe",
    "onnx_model",
    "screen",
    "sieve",
    "stack",
    "torch_source",
    "triton_source",
]
