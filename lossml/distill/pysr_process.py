"""PySR in a process of its own: reads a table, leaves the hall of fame in the table's folder.

Run as a file, not as a module of the package, so that torch is never imported beside Julia.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main(path: str) -> None:
    """Fit the table in a JSON file; PySR writes hall_of_fame.csv below the folder that it names."""
    import numpy as np  # noqa: PLC0415 - after the arguments are read
    from pysr import PySRRegressor  # noqa: PLC0415  # pyright: ignore[reportMissingImports] - optional

    table: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    model = PySRRegressor(
        binary_operators=["+", "-", "*", "/"],
        unary_operators=["exp", "square", "sqrt"],
        maxsize=table["maxsize"],
        max_evals=table["max_evals"],
        timeout_in_seconds=table["seconds"],
        random_state=table["seed"],
        deterministic=True,
        parallelism="serial",
        output_directory=table["folder"],
        run_id="run",
        verbosity=0,
        progress=False,
    )
    model.fit(np.array(table["inputs"]), np.array(table["values"]), variable_names=list(table["columns"]))


if __name__ == "__main__":
    main(sys.argv[1])
