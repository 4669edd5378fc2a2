"""The command line in processes that have it imported already: what a person gives, without the wait for torch.

Each call is a process of its own, with its own folder, arguments, output and exit code, forked from one that has
imported what the commands need. What must hold of a start, too, is tested with `python -m lossml`.
"""

import multiprocessing
import os
import sys
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

_SERVED = multiprocessing.get_context("forkserver")
_SERVED.set_forkserver_preload(["lossml.cli.main", "lossml.search.runs", "lossml.card", "lossml.benchmark.full"])
OUTPUT, ERRORS = "stdout", "stderr"
PATIENCE = 120.0  # seconds


def lossml(*arguments: object, folder: Path) -> CompletedProcess[str]:
    """Run a command in a folder."""
    words = [str(argument) for argument in arguments]
    with TemporaryDirectory() as kept:
        process = _SERVED.Process(target=_run, args=(words, str(folder), kept))
        process.start()
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
        said, complained = ((Path(kept) / name).read_text() for name in (OUTPUT, ERRORS))
    return CompletedProcess(words, process.exitcode, said, complained)


def _run(words: list[str], folder: str, kept: str) -> None:
    os.chdir(folder)
    for number, name in ((1, OUTPUT), (2, ERRORS)):
        os.dup2(os.open(Path(kept) / name, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["lossml", *words]
    sys.path.insert(0, "")  # a module in the folder is found, as it is by `python -m lossml`
    from lossml.cli.main import main

    main()
