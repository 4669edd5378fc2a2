"""An ONNX graph is the program: onnxruntime computes what ProgramLoss does, at lengths it was not made with."""

import pytest
import torch

from lossml.backend import ProgramLoss, onnx_model
from lossml.errors import UsageError
from lossml.program import parse

onnxruntime = pytest.importorskip("onnxruntime")
CASES = (
    ("-sum_C(y*(1 - p)^2*logp)", None, (9, 11)),
    ("-sum_C(y*logp*(1 - p)^t/pi) + max_C(p)", None, (4, 2)),
    ("1 - mean_C((2*sum_B(sum_X(y*p)) + 1)/(sum_B(sum_X(p + y)) + 1)) - sum_C(y*log1mp)", None, (3, 4, 5, 6)),
)


@pytest.mark.slow
@pytest.mark.parametrize(("text", "pixel_axes", "shape"), CASES, ids=("focal", "prior and progress", "pixels"))
def test_the_graph_equals_the_program(text, pixel_axes, shape):
    """Value, masks, class prior and progress are the program's; batch, classes and pixels have any length."""
    session = onnxruntime.InferenceSession(
        onnx_model(parse(text), header="A loss.", scale=0.5, pixel_axes=pixel_axes), providers=["CPUExecutionProvider"]
    )
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator)
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    target.view(-1)[::3] = -100
    prior = torch.rand(shape[1], generator=generator).softmax(0)
    loss = ProgramLoss(text, scale=0.5, prior=prior)
    loss.set_progress(0.3)
    feeds = {"logits": logits, "target": target, "prior": prior, "progress": torch.tensor(0.3)}
    (found,) = session.run(["loss"], {put.name: feeds[put.name].numpy() for put in session.get_inputs()})
    assert float(found) == pytest.approx(float(loss(logits, target)), rel=1e-5)


def test_what_is_missing_is_named(monkeypatch):
    """Without the exporter's packages the export says what to install."""
    monkeypatch.setattr("lossml.backend.onnx_file.find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UsageError, match=r"needs onnxscript; pip install 'lossml\[onnx\]'"):
        onnx_model(parse("-y*logp"), header="")
