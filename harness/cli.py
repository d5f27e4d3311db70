"""The command `eadbench`."""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from eadbench.harness.commands.group import CommandGroup
from eadbench.harness.commands.options import err
from eadbench.harness.commands.stopping import stopped_by_signals
from eadbench.harness.commands.streams import steady
from eadbench.harness.errors import EadbenchError, EnvironmentFault, Stopped, UserError
from eadbench.harness.messages import one_line, printable, redact

app = typer.Typer(
    cls=CommandGroup,
    help="Benchmark of adversarial attacks on image classifiers: EAD, C&W, FGM and I-FGM.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"eadbench {version('eadbench')}")
        raise typer.Exit


@app.callback()
def refuse_own_code(
    no_code: Annotated[
        bool,
        typer.Option("--no-code", help="Refuse specs and results that name code of their own: package.module:name."),
    ] = False,
    allow_files: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="With --no-code, specs may name files below the working folder, and below DIR; repeatable.",
        ),
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    """Benchmark of adversarial attacks on image classifiers: EAD, C&W, FGM and I-FGM."""
    if no_code:
        from eadbench.harness.places import FILES
        from eadbench.models.code import NO_CODE

        os.environ[NO_CODE] = "1"
        os.environ[FILES] = os.pathsep.join(str(folder.absolute()) for folder in allow_files or ())
    elif allow_files:
        raise UserError("--allow-files: needs --no-code, without which specs may name any file")


def main() -> None:
    """Run the command. After an error, print one line and exit with the error's code."""
    sys.stdout, sys.stderr = steady(sys.stdout), steady(sys.stderr)
    try:
        with stopped_by_signals():
            app()
    except Stopped as stop:
        _print_error(str(stop))
        sys.stdout.flush()
        os._exit(stop.exit_code)  # an interrupted library's threads can crash the interpreter's end
    except EadbenchError as error:
        _end(str(error), error.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _end(f"{place}{error.strerror or error}; what is committed stays", EnvironmentFault.exit_code)


def _end(message: str, exit_code: int) -> None:
    """Print an error on one line, and exit."""
    _print_error(message)
    sys.exit(exit_code)


def _print_error(message: str) -> None:
    """Print an error on one line, without secrets and control characters."""
    line = one_line(printable(redact(message)))
    err.print(Text.assemble(("error:", "red"), " ", line), soft_wrap=True)
