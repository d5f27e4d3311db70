"""Arguments and options that commands share, and the consoles they print to."""

import socket
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

import eadbench
from eadbench.harness.errors import EnvironmentFault, UserError
from eadbench.harness.messages import one_line, printable
from eadbench.harness.storage import is_local, located, writable

SHARDS_FAILED = 3
"""Exit code of a sweep with failed or missing shards."""


class PrintingConsole(Console):
    """A console whose texts hold no control characters but the console's own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments of a renderable, printable ones."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control or text.isprintable() else Segment(printable(text), style)


out = PrintingConsole()
err = PrintingConsole(stderr=True)


def write_text(text: str) -> None:
    """Write a text to the standard output, without control characters."""
    sys.stdout.write(printable(text))


def print_place(name: str, place: object) -> None:
    """Print the location of an output."""
    out.print(escape(f"{name:<8} {place}"), soft_wrap=True, highlight=False)


def warn(text: str) -> None:
    """Print a warning on one line, whatever a stranger's file put into it."""
    line = Text.assemble(("warning:", "yellow"), " ", one_line(printable(text)))
    err.print(line, soft_wrap=True, highlight=False)


def end_incomplete(missing: Mapping[str, str]) -> NoReturn:
    """Print how many rows each folder lacks, and exit with `SHARDS_FAILED`."""
    for folder, text in missing.items():
        warn(f"{folder}: {text}")
    raise typer.Exit(SHARDS_FAILED)


class ExecutorName(StrEnum):
    """The executor of shards: a Ray cluster, or this process."""

    ray = "ray"
    serial = "serial"


SPECS = Path(eadbench.__file__).parent / "sweeps"
"""The specs that come with eadbench."""

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection to a cluster."""


def results_folder(text: str) -> Path:
    """Return the folder or URI of the results.

    Raises
    ------
    UserError
        The path, or a parent of it, is a file.
    """
    place = writable(text)
    if is_local(place):
        file = next((path for path in (place, *place.parents) if path.is_file()), None)
        if file is not None:
            raise UserError(f"--results {text}: must be a folder, but {file} is a file")
    return place


def local_folder(text: str) -> Path:
    """Return the path of a folder on this machine.

    Raises
    ------
    UserError
        The text is a URI of an object store.
    """
    place = located(text)
    if not is_local(place):
        raise UserError(f"{text}: must be a folder on this machine, not a URI")
    return place


def spec_path(text: str) -> Path:
    """Return the path of a spec: a file, or one that comes with eadbench, by its name without the ending."""
    path, shipped = located(text), SPECS / f"{text}.yaml"
    inside = is_local(path) and not path.is_absolute() and ".." not in path.parts
    return shipped if inside and not path.exists() and shipped.is_file() else path


def reachable_address(address: str) -> str:
    """Return a cluster's address after a test connection, because Ray itself would wait for minutes.

    Raises
    ------
    EnvironmentFault
        Nothing answers at the address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()
        except (OSError, OverflowError) as error:
            raise EnvironmentFault(f"--address {address}: nothing answers there: {error}") from error
    return address


SpecFile = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC",
        parser=spec_path,
        help="YAML file that describes the sweep, or a spec that comes with eadbench: digits, mnist, paper/table_08.",
    ),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", parser=located, help="Results of a sweep: a folder or a URI.")]
Folders = Annotated[
    list[Path], typer.Argument(metavar="DIR...", parser=located, help="Results of sweeps: folders or URIs.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change a value of the spec, such as images.count=10; repeatable."
    ),
]
ResultsFolder = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="DIR",
        parser=results_folder,
        help="Folder or URI for the results; results/NAME unless given.",
    ),
]
Executor = Annotated[ExecutorName, typer.Option("--executor", help="Run on a Ray cluster, or in this process.")]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        parser=reachable_address,
        help="Address of a running Ray cluster; unless given, one starts on this machine.",
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code", help="Import the code that the results name, such as a data set of your own for its pictures."
    ),
]
ModelStore = Annotated[
    Path | None,
    typer.Option(
        "--models", metavar="DIR", parser=located, help="Store of trained models that sweeps share and do not retrain."
    ),
]
Scale = Annotated[
    str | None, typer.Option(help="A scale of the spec, such as tiny; full, the unchanged spec, unless given.")
]
