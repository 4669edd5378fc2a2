"""How long a loss card takes: each loss of the zoo in one process, and `lossml inspect ngl` from start to end.

    python benchmarks/cards.py

Run it with OMP_NUM_THREADS=1 on a machine that does nothing else: wall-clock seconds are what a user waits. Processor
seconds leave out sympy's own process. The first card of a process also starts that one.
"""

import tempfile
from pathlib import Path
from time import monotonic, process_time

import common

from lossml import zoo
from lossml.card import inspect


def timed(name: str) -> dict[str, object]:
    wall, processor = monotonic(), process_time()
    card = inspect(name)
    found = {"seconds": round(monotonic() - wall, 2), "processor_seconds": round(process_time() - processor, 2)}
    return {"loss": name, **found, "derivative": bool(card.formula and card.formula.derivative)}


def main() -> None:
    first = timed("ngl")
    again = timed("ngl")
    rows = [timed(name) for name in zoo.names()]
    with tempfile.TemporaryDirectory() as folder:
        _, whole, memory = common.lossml("inspect", "ngl", folder=Path(folder))
    result = {
        "ngl_after_import": {"first": first, "again": again},
        "lossml_inspect_ngl": {"seconds": round(whole, 2), "gib": round(memory, 2)},
        "zoo_seconds": round(sum(float(str(row["seconds"])) for row in rows), 1),
        "zoo_processor_seconds": round(sum(float(str(row["processor_seconds"])) for row in rows), 1),
        "zoo": rows,
    }
    common.write("cards", "python benchmarks/cards.py", result)


if __name__ == "__main__":
    main()
