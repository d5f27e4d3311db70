"""The table that `plan` prints: what remains of a sweep, by victim and attack."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from rich.table import Table
from rich.text import Text

from eadbench.harness.labels import AXES, Labels, defense_label, series_of
from eadbench.harness.numbers import parameter_text
from eadbench.harness.plan.cells import Setting
from eadbench.harness.plan.grid import Shard
from eadbench.models import Recipe, canonical_json

if TYPE_CHECKING:
    from eadbench.harness.execution.sweep import Plan

__all__ = ["table", "training"]


def table(blocks: Sequence[Shard], planned: "Plan") -> Table:
    """Return one line per victim and attack with the remaining work, and a line of totals."""
    shards: Counter[tuple[str, Setting]] = Counter()
    examples: Counter[tuple[str, Setting]] = Counter()
    for shard in planned.remaining:
        shards[shard.victim.digest, shard.setting] += 1
        examples[shard.victim.digest, shard.setting] += shard.size
    lines = Table("victim", "attack", "cells", "examples", "shards", "passes", box=None)
    victims = Labels.of_victims(planned.victims).victim
    attacks = _attack_labels([block.setting for block in blocks])
    total_passes = 0
    for block in blocks:
        key = block.victim.digest, block.setting
        passes = examples[key] * block.setting.build(()).most_passes
        total_passes += passes
        lines.add_row(
            Text(victims[block.victim.digest]),
            Text(attacks[block.setting]),
            str(len(block.cells())),
            f"{examples[key]:,}",
            f"{shards[key]:,}",
            f"≤ {passes:,}",
        )
    lines.add_section()
    totals = f"{examples.total():,}", f"{shards.total():,}", f"≤ {total_passes:,}"
    lines.add_row("all", "", "", *totals, style="bold")
    for column in lines.columns[2:]:
        column.justify = "right"
    return lines


def _attack_labels(settings: Sequence[Setting]) -> Mapping[Setting, str]:
    """Return the label of every setting. Labels of one attack and norm include the hyperparameters that differ."""
    lines = pd.DataFrame(map(_label_line, settings))
    labels = Labels(lines=lines, victims=()).series
    return {setting: labels[series] for setting, series in zip(settings, series_of(lines), strict=True)}


def _label_line(setting: Setting) -> dict[str, str | None]:
    """Return a setting as a line for `Labels`, with its grid and its decision rules among the hyperparameters."""
    parameters = {name: value for name, value in setting.parameters.items() if name != "norm"}
    parameters["decision_rules"] = ", ".join(filter(None, setting.decision_rules))
    for name, values in (("beta", setting.betas), ("kappa", setting.kappas)):
        parameters[AXES[name]] = ", ".join(parameter_text(value) for value in values if value is not None)
    norm = setting.parameters.get("norm")
    return {"attack": setting.attack, "norm": norm, "decision_rule": None, "parameters": canonical_json(parameters)}


def training(recipe: Recipe) -> str:
    """Return a recipe's defence and its number of epochs."""
    parameters = {name: value for name, value in recipe.defense.items() if name != "name"}
    label = defense_label(recipe.defense["name"], parameters)
    return label if recipe.training is None else f"{label}, {recipe.training.epochs} epochs"
