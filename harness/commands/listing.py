"""Commands that list the names a spec can use: attacks, datasets, models, defenses."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape

from eadbench.harness.commands.options import out
from eadbench.harness.datasets import DATASETS
from eadbench.harness.registry import ATTACKS, DEFENSES, MODELS, Registry
from eadbench.harness.spec.parameters import parameters_of

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Names, or import paths of your own code; all built-ins unless given."),
]


def attacks(names: Names = None) -> None:
    """List attacks with their hyperparameters."""
    _print_entries(ATTACKS, names, leave_out=("targeted",))


def datasets(names: Names = None) -> None:
    """List data sets with their parameters."""
    _print_entries(DATASETS, names)


def models(names: Names = None) -> None:
    """List model architectures with their parameters."""
    _print_entries(MODELS, names, leave_out=("num_classes",))
    if not names:
        out.print("Also any classification model of torchvision by its name (resnet18, inception_v3, …), and any")
        out.print("function package.module:function that returns a torch.nn.Module.")


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
