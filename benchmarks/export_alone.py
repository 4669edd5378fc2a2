"""Train with an exported loss in an environment that holds torch and nothing of LossML.

    python benchmarks/export_alone.py LOSS.py

Makes a virtual environment in a temporary folder, installs torch alone, and trains a small network on
points in the plane with the file's `Loss`.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from shutil import copy

import common

LOOP = """
import importlib.util
import torch
from my_loss import Loss

assert importlib.util.find_spec("lossml") is None
torch.manual_seed(0)
x = torch.randn(400, 2)
y = (x[:, 0] * x[:, 1] > 0).long()
network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
optimizer, criterion = torch.optim.Adam(network.parameters(), 0.02), Loss()
for _ in range(300):
    optimizer.zero_grad()
    criterion(network(x), y).backward()
    optimizer.step()
print(float((network(x).argmax(1) == y).float().mean()))
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(f"{folder}/env", with_pip=True)
        python = f"{folder}/env/bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "torch"], check=True)
        copy(sys.argv[1], f"{folder}/my_loss.py")
        done = subprocess.run([python, "-c", LOOP], cwd=folder, check=True, capture_output=True, text=True)
    formula = next(line for line in Path(sys.argv[1]).read_text().splitlines() if line.startswith("Formula: "))
    accuracy = float(done.stdout)
    common.write(
        "export_alone", "python benchmarks/export_alone.py LOSS.py", {"formula": formula, "training_accuracy": accuracy}
    )
    print(f"training accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
