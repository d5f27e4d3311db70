"""Commands that list what a spec can name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eadbench.attacks import ATTACKS
from eadbench.defenses import DEFENSES
from eadbench.harness.commands.options import out
from eadbench.harness.datasets import DATASETS
from eadbench.harness.spec.parameters import parameters_of
from eadbench.models import MODELS


def attacks() -> None:
    """List the attacks that a spec can name, with their parameters."""
    _print_entries(ATTACKS, leave_out=("targeted",))


def datasets() -> None:
    """List the data sets that a spec can name, with their parameters."""
    _print_entries(DATASETS)


def models() -> None:
    """List the architectures that a spec can name."""
    _print_entries(MODELS, leave_out=("num_classes",))
    out.print("Also any classification model of torchvision by its name (resnet18, inception_v3, …), and any function")
    out.print("package.module:function that returns a torch.nn.Module.")


def defenses() -> None:
    """List the defences that a spec can name, with their parameters."""
    _print_entries(DEFENSES)


def _print_entries(table: Mapping[str, Callable[..., Any]], leave_out: Sequence[str] = ()) -> None:
    """Name after name, what it is and which parameters it takes, with their defaults."""
    for name, thing in table.items():
        out.print(f"[bold]{name}[/]  {(thing.__doc__ or '').strip().splitlines()[0]}", highlight=False)
        for parameter, field in parameters_of(thing, leave_out=leave_out).model_fields.items():
            default = "needed" if field.is_required() else repr(field.default)
            out.print(f"    {parameter}: {default}", highlight=False)
