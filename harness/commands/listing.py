"""Commands that list the names a spec can use: attacks, datasets, models, defenses, detectors."""

from typing import Annotated

import typer
from rich.markup import escape

from eadbench.harness.commands.entries import built_in, described
from eadbench.harness.commands.options import out

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Names, or import paths of your own code; all built-ins unless given."),
]

OTHER_MODELS = (
    "Also any classification model of torchvision by its name (resnet18, …);",
    "models of hubs: timm:NAME, hf:REPOSITORY, robustbench:NAME, onnx:FILE and",
    "torchhub:FOLDER:ENTRY; and any function package.module:function that returns",
    "a torch.nn.Module. --search TEXT lists every name that contains TEXT.",
)


def attacks(names: Names = None) -> None:
    """List attacks with their hyperparameters."""
    _print_entries("attacks", names)


def datasets(names: Names = None) -> None:
    """List data sets with their parameters."""
    _print_entries("datasets", names)


Search = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="List every name that contains TEXT: ours, torchvision's, and installed hubs'."),
]


def models(names: Names = None, search: Search = None) -> None:
    """List model architectures with their parameters."""
    if search is not None:
        from eadbench.models import search as architectures

        for name in architectures(search):
            out.print(escape(name), highlight=False, soft_wrap=True)
        return
    _print_entries("models", names)
    if not names:
        for line in OTHER_MODELS:
            out.print(line, highlight=False, markup=False)


def defenses(names: Names = None) -> None:
    """List defences with their parameters."""
    _print_entries("defenses", names)


def detectors(names: Names = None) -> None:
    """List detectors with their parameters."""
    _print_entries("detectors", names)


def _print_entries(command: str, names: list[str] | None) -> None:
    """Print entries, built-in ones without importing them: name and summary, then a line for each parameter."""
    entries = built_in(command)
    for name in names or entries:
        summary, *details = entries.get(name) or described(command, name)
        out.print(f"[bold]{escape(name)}[/]  {escape(summary)}", highlight=False)
        for line in details:
            out.print(escape(f"    {line}"), highlight=False)
