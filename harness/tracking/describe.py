"""What MLflow is to say of the cells and the victims of a sweep."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from eadbench.harness.analysis.aggregate import ALL_TARGETS, FIGURES, attack_name, rule_name
from eadbench.harness.labels import defense_text, parameter_text
from eadbench.harness.plan.grid import Cell, Victim
from eadbench.harness.records import CellRecord, ParamValue, VictimRecord
from eadbench.harness.tracking.curves import plain_key
from eadbench.models import Recipe


def cell_record(cell: Cell, victim: Victim, lines: pd.DataFrame, tags: Mapping[str, str]) -> CellRecord:
    """What MLflow is to say of a cell, from its lines of the summary."""
    return CellRecord(
        digest=cell.digest,
        name=_name(cell),
        params={
            "model": victim.digest,
            "arch": victim.arch,
            "defense": victim.defense,
            "temperature": victim.temperature,
            "attack": attack_name(cell.attack, cell.parameters.get("norm")),
            "decision_rule": cell.decision_rule,
            "beta": cell.beta,
            "kappa": cell.kappa,
            **{name: value for name, value in cell.parameters.items() if not isinstance(value, list)},
        },
        metrics=_metrics(lines),
        dataset=cell.dataset,
        dataset_digest=dataset_digest(cell.dataset, cell.split),
        victim=victim.digest,
        tags={**tags, "eadbench.defense": victim.defense},
    )


def dataset_digest(dataset: str, split: str) -> str:
    """What tells MLflow the splits of a data set apart."""
    return f"{dataset}/{split}"


def _name(cell: Cell) -> str:
    """Such as ``EAD EN β=1e-3 κ=0``."""
    parts = [
        attack_name(cell.attack, cell.parameters.get("norm")),
        rule_name(cell.attack, cell.decision_rule),
    ]
    parts += [] if cell.beta is None else [f"β={parameter_text(cell.beta)}"]
    return " ".join([*filter(None, parts), f"κ={parameter_text(cell.kappa)}"])


def _metrics(lines: pd.DataFrame) -> dict[str, float | None]:
    """Such as ``average.l1``, of one cell's lines of the summary; None for what is not known.

    What it achieves on another victim is called ``on.<victim>.average.asr``.
    """
    found: dict[str, float | None] = {}
    for (model, tested), part in lines.groupby(["model", "evaluated_on"], sort=False):
        cases, where = part.set_index("case"), "" if model == tested else f"on.{tested}."
        figures: dict[str, Any] = {f"{case}.{name}": cases.at[case, name] for case in cases.index for name in FIGURES}
        figures |= {name.replace("all_targets_", "all_targets."): part[name].iloc[0] for name in ALL_TARGETS}
        found |= {where + name: None if pd.isna(value) else float(value) for name, value in figures.items()}
    return found


def victim_record(
    victim: Victim,
    recipe: Recipe,
    lines: pd.DataFrame,
    tags: Mapping[str, str],
    *,
    dataset: str,
    split: str,
    image_shape: Sequence[int],
) -> VictimRecord:
    """What MLflow is to say of a victim, from the lines of the summary of the cells that attacked it."""
    return VictimRecord(
        digest=victim.digest,
        name=f"{victim.arch}, {defense_text(victim.defense, victim.temperature)}",
        params={
            "model": victim.digest,
            "defense": victim.defense,
            "temperature": victim.temperature,
            **dict(_flat(recipe.to_json())),
        },
        metrics={"accuracy": victim.accuracy, **robustness(lines)},
        tags={
            **tags,
            "eadbench.defense": victim.defense,
            "mlflow.note.content": f"Its cells are the runs with `params.model = '{victim.digest}'`.",
        },
        dataset=dataset,
        dataset_digest=dataset_digest(dataset, split),
        image_shape=list(image_shape),
        classes=recipe.num_classes,
    )


def _flat(content: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, ParamValue]]:
    """Yield a recipe's values under dotted names, ``training.epochs``; a list is one value, as JSON."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{name}.")
        else:
            yield under + name, json.dumps(value) if isinstance(value, list) else value


def robustness(lines: pd.DataFrame) -> dict[str, float | None]:
    """How a victim withstood all attacks together, ``strongest.l1``, and each of them, ``EAD L1.l1``.

    Over all targets: the highest ASR of any β and κ, and of the cells that have it the least mean distortion. The
    higher that distortion, the more robust the victim.
    """
    cases = lines.drop_duplicates("cell")
    found = _strongest("strongest", cases)
    for (attack, rule), part in cases.groupby(["attack", "decision_rule"], sort=False):
        found |= _strongest(plain_key(f"{attack} {rule}"), part)
    return found


def _strongest(name: str, cases: pd.DataFrame) -> dict[str, float | None]:
    asr, *distortions = ALL_TARGETS
    if cases.empty:
        return {}
    highest = cases[asr].max()
    top = cases[cases[asr] == highest]
    figures = [highest, *(top[distortion].min() for distortion in distortions)]
    return {
        f"{name}.{figure}": None if pd.isna(value) else float(value)
        for figure, value in zip(FIGURES, figures, strict=True)
    }
