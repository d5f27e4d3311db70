"""The table that `plan` prints: what remains of a sweep, by victim and attack."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from rich.table import Table
from rich.text import Text

from eadbench.harness.labels import AXES, Labels, choice_text, defense_label, series_of
from eadbench.harness.numbers import counted, parameter_text
from eadbench.harness.plan.cells import Setting
from eadbench.harness.plan.grid import Population, Shard
from eadbench.harness.spec import Spec
from eadbench.harness.spec.resolved import target_text
from eadbench.models import Recipe, canonical_json

if TYPE_CHECKING:
    from eadbench.harness.execution.sweep import Plan

__all__ = ["left_out", "table", "training", "unmade"]


def table(blocks: Sequence[Shard], planned: "Plan") -> Table:
    """Return one line per victim and attack with the remaining work, and a line of totals."""
    shards: Counter[tuple[Population, Setting]] = Counter()
    examples: Counter[tuple[Population, Setting]] = Counter()
    for shard in planned.remaining:
        shards[shard.block] += 1
        examples[shard.block] += shard.size
    lines = Table("victim", "attack", "cells", "examples", "shards", "passes", box=None)
    victims = Labels.of_victims(planned.victims).victim
    attacks = _attack_labels(blocks)
    total_passes = 0
    for block, attack in zip(blocks, attacks, strict=True):
        key = block.block
        passes = examples[key] * block.setting.build(()).most_passes
        total_passes += passes
        lines.add_row(
            Text(victims[block.victim.digest]),
            Text(attack),
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


def _attack_labels(blocks: Sequence[Shard]) -> list[str]:
    """Return the label of every block's attack. Those of one attack and norm have the hyperparameters that differ."""
    lines = pd.DataFrame(map(_label_line, blocks))
    labels = Labels(lines=lines, victims=()).series
    return [labels[series] for series in series_of(lines)]


def _label_line(block: Shard) -> dict[str, str | None]:
    """Return a block as a line for `Labels`, with its grid and its decision rules among the hyperparameters."""
    setting = block.setting
    parameters = {name: value for name, value in setting.parameters.items() if name != "norm"}
    parameters["decision_rules"] = ", ".join(filter(None, setting.decision_rules))
    for name, values in (("beta", setting.betas), ("kappa", setting.kappas)):
        parameters[AXES[name]] = ", ".join(parameter_text(value) for value in values if value is not None)
    norm = setting.parameters.get("norm")
    return {
        "attack": setting.attack,
        "norm": norm,
        "decision_rule": None,
        "parameters": canonical_json(parameters),
        "targets": choice_text(block.targets),
    }


def left_out(spec: Spec) -> list[str]:
    """Return the attacks that do not run with every choice of targets, each in a sentence."""
    texts = []
    for entry in spec.attacks:
        if others := [target_text(targets) for targets in spec.targets if not entry.takes(targets)]:
            only = "untargeted" if entry.untargeted else "targeted"
            texts.append(f"{entry.name} with targets {', '.join(others)}, for it is {only} only")
    return texts


def unmade(planned: "Plan") -> list[str]:
    """Return a line for each model to make, such as ``digits, no defence, 6 epochs (4589a6d0d4e163df, sibling)``."""
    names = {victim.digest: victim.name for victim in planned.victims if victim.name}
    return [
        f"{recipe.arch}, {training(recipe)} ({', '.join(filter(None, (recipe.digest, names.get(recipe.digest))))})"
        for recipe in planned.unmade
    ]


def training(recipe: Recipe) -> str:
    """Return a recipe's defence and its number of epochs: ``no defence, 6 epochs``."""
    parameters = {name: value for name, value in recipe.defense.items() if name != "name"}
    label = defense_label(recipe.defense["name"], parameters)
    return label if recipe.training is None else f"{label}, {counted(recipe.training.epochs, 'epoch')}"
