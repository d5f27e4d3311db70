"""The command that checks an attack against the public contract: check."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from eadbench.attacks import Attack, breaches, contract, traits_of
from eadbench.attacks.contract import Outcome
from eadbench.harness.commands.options import AllowCode, out
from eadbench.harness.errors import UserError
from eadbench.harness.registry import ATTACKS
from eadbench.harness.spec.parameters import parameters_of, validated
from eadbench.harness.spec.yaml import parsed

FAILED = 1
"""Exit code if a check fails."""


def check(
    attack: Annotated[
        str, typer.Argument(metavar="ATTACK", help="Name of an attack, or its import path package.module:Attack.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a hyperparameter for the checks: epsilon=0.1."),
    ] = None,
    planted: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Instead, plant examples on the victims of a sweep, and see if it finds them.",
        ),
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(min=0, metavar="E", help="With --planted: the radius that they lie at.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, metavar="N", help="With --planted: images of each victim.")] = 20,
    allow_code: AllowCode = False,
) -> None:
    """Check an attack against the contract of all attacks.

    An attack that needs a norm is checked once for each norm that it minimises. With --planted it is run on victims
    whose last layer is refitted so that an adversarial example exists at the distance E in its norm (Zimmermann et al.
    2022). An attack that finds less than 95 % of them is not to be trusted on that victim.
    """
    thing: Any = ATTACKS.look_up(attack)
    changes = dict(map(_override, overrides or ()))
    if planted is not None:
        if epsilon is None:
            raise UserError("--planted: needs --epsilon, the radius that the examples lie at")
        _check_planted(attack, thing, changes, planted, epsilon=epsilon, count=images, allow_code=allow_code)
        return
    if breaches(thing):
        runs = [(attack, contract.check(thing))]
    else:
        runs = [(_title(attack, built, changes), contract.check(built)) for built in _instances(attack, thing, changes)]
    for title, outcomes in runs:
        out.print(_table(title, outcomes))
    outcomes = [outcome for _, run in runs for outcome in run]
    failed = sum(not outcome.passed for outcome in outcomes)
    if failed:
        out.print(f"[red]{failed} of {len(outcomes)} checks failed[/]")
        raise typer.Exit(FAILED)
    out.print(f"[green]all {len(outcomes)} checks passed[/]")


def _instances(name: str, thing: Any, changes: Mapping[str, Any]) -> Sequence[Attack]:
    """Return the attacks to check: one, or one per norm if the attack needs a norm and `changes` has none."""
    traits = traits_of(thing)
    model = parameters_of(thing, leave_out=("targeted",))
    norm = model.model_fields.get("norm")
    each_norm = norm is not None and norm.is_required() and "norm" not in changes and traits.norms
    content = {**traits.checked_with, **changes} | ({"norm": traits.norms[0]} if each_norm else {})
    values = validated(model, content, name).model_dump(exclude_unset=True)
    if each_norm:
        del values["norm"]
    try:
        return contract.instances(thing, **values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}.{error}") from error


def _check_planted(
    name: str, thing: Any, changes: Mapping[str, Any], folder: Path, *, epsilon: float, count: int, allow_code: bool
) -> None:
    """Print how many planted examples an attack finds on each victim of a sweep; exit with `FAILED` if too few."""
    from eadbench.harness.execution.planting import LEAST_FOUND, planted_on_victims
    from eadbench.harness.results.folder import Results
    from eadbench.harness.results.snapshot import Snapshot

    traits = traits_of(thing)
    model = parameters_of(thing, leave_out=("targeted",))
    given = {"epsilon": epsilon} if "epsilon" in model.model_fields else {}
    values = validated(model, {**given, **changes}, name).model_dump(exclude_unset=True)
    attack = thing(**values, targeted=traits.targeted)
    norm = getattr(attack, "norm", None) or next(iter(traits.norms), "linf")
    title = f"{name}, {norm} within {epsilon:g}"
    table = Table(
        "victim", "found", "by chance", "examples", title=title, title_justify="left", box=None, pad_edge=False
    )
    passed = True
    snapshot = Snapshot(Results(folder), allow_code=allow_code)
    for on in planted_on_victims(snapshot, attack, norm=norm, epsilon=epsilon, count=count, allow_code=allow_code):
        passed &= on.passed
        figures = (f"{100 * on.found:.1f} %", f"{100 * on.by_chance:.1f} %", f"{len(on.search.found)}")
        table.add_row(Text(on.victim), Text(figures[0], "green" if on.passed else "red"), *figures[1:])
    out.print(table)
    if not passed:
        out.print(f"[red]it must find {100 * LEAST_FOUND:.0f} % of them to be trusted[/]")
        raise typer.Exit(FAILED)


def _title(name: str, built: Attack, changes: Mapping[str, Any]) -> str:
    """Return the name of an attack with its norm and its changed hyperparameters: ``fgm, norm l1``."""
    parts = {"norm": getattr(built, "norm", None), **changes}
    return ", ".join([name, *(f"{key} {value}" for key, value in parts.items() if value is not None)])


def _override(text: str) -> tuple[str, Any]:
    """Split ``epsilon=0.1`` into a name and a value, read as YAML."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: must be name=value, such as epsilon=0.1")
    return name, parsed(value)


def _table(title: str, outcomes: Sequence[Outcome]) -> Table:
    table = Table("check", "result", "why", title=title, title_justify="left", box=None, pad_edge=False)
    for outcome in outcomes:
        result = Text("passed", "green") if outcome.passed else Text("failed", "red")
        table.add_row(outcome.name, result, Text(outcome.why))
    return table
