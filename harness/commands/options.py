"""What several commands take, and where they print."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.storage import located

out = Console()
err = Console(stderr=True)


class Where(StrEnum):
    """What runs shards."""

    ray = "ray"
    serial = "serial"


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
        parser=located,
        help="Where the results go, a folder or a URI; results/NAME unless given.",
    ),
]
Runner = Annotated[Where, typer.Option("--executor", help="On a Ray cluster, or in this process.")]
Address = Annotated[
    str | None, typer.Option(help="Of a running Ray cluster; one is started on this machine unless given.")
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
