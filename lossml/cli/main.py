"""`lossml`: the commands, imported when they are used, and the exit codes.

0 is success, 1 a failure, 2 wrong usage, 130 an interruption. A person never sees a traceback for
something that they gave.
"""

import os
import sys
from importlib import import_module

import click

from lossml import __version__
from lossml.cli.formula import marked
from lossml.errors import LossMLError, UsageError

COMMANDS = {
    "search": "Search for a loss, and confirm what was found, on other tasks too.",
    "show": "Show the best losses and the verdict of a run.",
    "report": "Write a run as one HTML file to send to a colleague.",
    "dashboard": "Show a run in optuna-dashboard, with formulas and curves.",
    "inspect": "Say what is known of a loss before it is trained.",
    "export": "Write a loss for torch, JAX or ONNX, as a file that needs nothing else, or as LaTeX, sympy or JSON.",
    "distill": "Find the shortest program that is the same loss as a given one, to a tolerance.",
    "benchmark": "Compare losses by full training, with statistics.",
    "losses": "List the published losses that can be used by name.",
    "data": "List the data sets: what is there and how to get the rest.",
}


class LazyGroup(click.Group):
    """Knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"lossml.cli.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lossml")
def cli() -> None:
    """LossML searches for loss functions and says honestly what it found.

    Begin with:  lossml search --dataset digits --budget 24
    """


def arguments_of(words: list[str]) -> list[str]:
    """Mark formulas that begin with a minus sign, so that they are not taken for options."""
    if words[:1] not in (["export"], ["inspect"], ["distill"]) or "--" in words:
        return words
    return [marked(word) for word in words]


def _say(message: str) -> None:
    click.echo(f"Error: {message}", err=True)


def main() -> None:
    """Run the command line and exit."""
    try:
        code = cli.main(arguments_of(sys.argv[1:]), standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except UsageError as error:
        _say(str(error))
        code = 2
    except LossMLError as error:
        _say(str(error))
        code = 1
    except KeyboardInterrupt:
        _say("interrupted")
        code = 130
    except BrokenPipeError:  # the reader, `head` say, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:  # a full disk, most likely
        _say(f"cannot write: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
