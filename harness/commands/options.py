"""What several commands take, and where they print."""

import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from eadbench.harness.errors import EnvironmentFault, UserError
from eadbench.harness.storage import is_local, located

out = Console()
err = Console(stderr=True)


def print_place(what: str, where: object) -> None:
    """Say where something is."""
    out.print(escape(f"{what:<8} {where}"), soft_wrap=True, highlight=False)


class Where(StrEnum):
    """What runs shards."""

    ray = "ray"
    serial = "serial"


ANSWER_WITHIN = 10.0
"""Seconds in which what listens at an address must take a connection."""


def results_folder(text: str) -> Path:
    """The place of the results, which a file must not be, nor stand above.

    Raises
    ------
    UserError
        It is a file, or in one.
    """
    place = located(text)
    if is_local(place):
        file = next((path for path in (place, *place.parents) if path.is_file()), None)
        if file is not None:
            raise UserError(f"--results {text}: must be a folder, but {file} is a file")
    return place


def answering(address: str) -> str:
    """The address of a cluster, at which something takes connections: Ray itself would wait for minutes.

    Raises
    ------
    EnvironmentFault
        Nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_WITHIN).close()
        except (OSError, OverflowError) as error:
            raise EnvironmentFault(f"--address {address}: nothing answers there: {error}") from error
    return address


SpecFile = Annotated[
    Path, typer.Argument(metavar="SPEC", parser=located, help="The YAML file that describes the sweep.")
]
Folder = Annotated[
    Path, typer.Argument(metavar="DIR", parser=located, help="The results of a sweep: a folder or a URI.")
]
Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", parser=located, help="The results of sweeps.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change the spec: images.count=10.")
]
ResultsFolder = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="DIR",
        parser=results_folder,
        help="Where the results go, a folder or a URI; results/NAME unless given.",
    ),
]
Runner = Annotated[Where, typer.Option("--executor", help="On a Ray cluster, or in this process.")]
Address = Annotated[
    str | None,
    typer.Option(parser=answering, help="Of a running Ray cluster; one is started on this machine unless given."),
]
ModelStore = Annotated[
    Path | None,
    typer.Option(
        "--models", metavar="DIR", parser=located, help="Trained models that sweeps share; none there is trained again."
    ),
]
Scale = Annotated[
    str | None, typer.Option(help="One of the spec's scales, such as tiny; full, as it stands, unless given.")
]
