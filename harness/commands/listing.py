"""Commands that list the names a spec can use: attacks, datasets, models, defenses."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape

from eadbench.harness.commands.options import out
from eadbench.harness.datasets import DATASETS
from eadbench.harness.registry import ATTACKS, DEFENSES, MODELS, Registry
from eadbench.harness.spec.parameters import parameters_of
from eadbench.models import search as architectures

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
    _print_entries(ATTACKS, names, leave_out=("targeted",))


def datasets(names: Names = None) -> None:
    """List data sets with their parameters."""
    _print_entries(DATASETS, names)


Search = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="List every name that contains TEXT: ours, torchvision's, and installed hubs'."),
]


def models(names: Names = None, search: Search = None) -> None:
    """List model architectures with their parameters."""
    if search is not None:
        for name in architectures(search):
            out.print(escape(name), highlight=False, soft_wrap=True)
        return
    _print_entries(MODELS, names, leave_out=("num_classes",))
    if not names:
        for line in OTHER_MODELS:
            out.print(line, highlight=False, markup=False)


def defenses(names: Names = None) -> None:
    """List defences with their parameters."""
    _print_entries(DEFENSES, names)


def _print_entries(registry: Registry, names: Sequence[str] | None, leave_out: Sequence[str] = ()) -> None:
    """Print each entry: its name, summary, and parameters with defaults; mark the axes."""
    for name in names or registry.table:
        thing: Any = registry.look_up(name)
        summary = (thing.__doc__ or "").strip().splitlines()
        out.print(f"[bold]{escape(name)}[/]  {escape(summary[0] if summary else '')}", highlight=False)
        axes = getattr(thing, "AXES", ())
        for parameter, field in parameters_of(thing, leave_out=leave_out).model_fields.items():
            default = "needed" if field.is_required() else repr(field.default)
            axis = "  (may be a list)" if parameter in axes else ""
            out.print(escape(f"    {parameter}: {default}{axis}"), highlight=False)
        if rules := getattr(thing, "RULES", ()):
            default_rules = ", ".join(getattr(thing, "DEFAULT_RULES", rules))
            out.print(escape(f"    decision_rules: {', '.join(rules)}; by default {default_rules}"), highlight=False)
