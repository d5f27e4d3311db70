"""The table that `plan --time` prints: how long a sweep will take, and what it will cost."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from eadbench.harness.commands.plan_table import training
from eadbench.harness.execution.pace import span_text
from eadbench.harness.labels import Labels, attack_label

if TYPE_CHECKING:
    from eadbench.harness.execution.estimate import Estimate, Part
    from eadbench.harness.execution.sweep import Plan

__all__ = ["table"]


def table(estimate: "Estimate", plan: "Plan", price: float | None) -> Group:
    """Return a line per victim and kind of work, with the time of one worker, and the sums below."""
    lines = Table("victim", "work", "one worker", "at most", "told by", box=None)
    for column in lines.columns[2:4]:
        column.justify = "right"
    names = _names(plan)
    for part in estimate.parts:
        lines.add_row(
            Text(names.get(part.victim, part.victim)),
            Text(_work(part)),
            span_text(part.seconds.likely),
            span_text(part.seconds.most),
            "earlier shards" if part.measured else "a trial here",
        )
    sums = [Text.assemble((_sum_text(estimate, price), "bold"))]
    if any(not part.measured for part in estimate.parts):
        sums.append(
            Text(
                f"Trials of seconds on {estimate.device}. Attacks on networks that are not trained yet were tried "
                "after some seconds of training, so they may take another time, up to the most.",
                style="dim",
            )
        )
    return Group(Text(), lines, *sums)


def _names(plan: "Plan") -> Mapping[str, str]:
    """Return the labels of victims, and of the networks that they are trained from."""
    networks = {recipe.digest: f"{recipe.arch}, {training(recipe)}" for recipe in plan.unmade}
    return networks | dict(Labels.of_victims(plan.victims).victim)


def _work(part: "Part") -> str:
    return part.what if part.what in ("training", "testing", "crafting", "transfer") else attack_label(part.what)


def _sum_text(estimate: "Estimate", price: float | None) -> str:
    """Return the time from start to end, and the cost: ``about 12 min (at most 31 min) on 4 workers``."""
    seconds = estimate.seconds
    workers = f"{estimate.workers} worker{'s' if estimate.workers > 1 else ''}"
    text = f"about {span_text(seconds.likely)} (at most {span_text(seconds.most)}) on {workers}"
    if price is None:
        return text
    cost = estimate.cost(price)
    return f"{text}; {cost.likely:.2f} (at most {cost.most:.2f}) at {price:g} per GPU-hour"
