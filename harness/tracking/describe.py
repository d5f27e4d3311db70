"""Build the MLflow records of a sweep's cells and victims."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from eadbench.harness.analysis.aggregate import ALL_TARGETS, FIGURES, ROUNDED
from eadbench.harness.labels import AXES, Labels, attack_label, choice_text
from eadbench.harness.numbers import parameter_text
from eadbench.harness.plan.cells import Cell, Victim
from eadbench.harness.tracking.curves import plain_keys, victim_names
from eadbench.harness.tracking.records import CellRecord, ParamValue, VictimRecord
from eadbench.models import Recipe

_OVER_ALL = dict(zip(FIGURES, ALL_TARGETS, strict=True))


def cell_record(cell: Cell, victim: Victim, lines: pd.DataFrame, tags: Mapping[str, str], labels: Labels) -> CellRecord:
    """Return the MLflow record of a cell, from its lines of the summary."""
    return CellRecord(
        digest=cell.digest,
        name=run_name(lines.iloc[0].to_dict(), labels),
        params={
            "model": victim.digest,
            "victim": labels.victim[victim.digest],
            "arch": victim.arch,
            "defense": victim.defense,
            **{f"defense.{name}": value for name, value in flat(victim.defense_parameters)},
            "temperature": victim.temperature,
            "targets": choice_text(cell.targets),
            "attack": attack_label(cell.attack, cell.parameters.get("norm")),
            "attack.name": cell.attack,
            "decision_rule": cell.decision_rule,
            "beta": cell.beta,
            "kappa": cell.kappa,
            "precision": cell.precision,
            **dict(flat(cell.parameters)),
        },
        metrics=_metrics(lines, victim_keys(labels)),
        dataset=cell.dataset,
        dataset_digest=dataset_digest(cell.dataset, cell.split),
        victim=victim.digest,
        tags={**tags, "eadbench.defense": labels.defense[victim.digest]},
    )


def run_name(line: Mapping[Any, Any], labels: Labels) -> str:
    """Return the name of a cell's run, from a line of it: ``EAD L1 β=1e-2 κ=5 · distillation T=100``."""
    series = labels.series[line["series"]].replace(" (", " ").replace(")", "")
    values = ((AXES[name], parameter_text(line[name])) for name in ("beta", "kappa"))
    attack = " ".join([series, *(f"{symbol}={text}" for symbol, text in values if text)])
    return f"{attack} · {victim_names(labels)[line['model']].replace(' = ', '=')}"


def victim_keys(labels: Labels) -> Mapping[str, str]:
    """Return a sweep's victims by digest, as the first part of a metric's name: ``distillation T 100``."""
    return plain_keys(victim_names(labels))


def dataset_digest(dataset: str, split: str) -> str:
    """Return a digest that tells MLflow the splits of a data set apart."""
    return f"{dataset}/{split}"


def _metrics(lines: pd.DataFrame, victims: Mapping[str, str]) -> dict[str, float | None]:
    """Return the figures of a cell by name, such as ``average.l1``, from its lines of the summary; None if unknown.

    Figures on another victim have its key first: ``distillation T 100/average.asr``. With one target per image, or
    none, there is the average case only.
    """
    metrics: dict[str, float | None] = {}
    for (model, tested), part in lines.groupby(["model", "evaluated_on"], sort=False):
        cases, prefix = part.set_index("case"), "" if model == tested else f"{victims.get(str(tested)) or tested}/"
        one = part["targets_per_image"].max() == 1  # every case is the same
        names = ["average"] if one else cases.index
        figures: dict[str, Any] = {f"{case}.{name}": cases.at[case, name] for case in names for name in FIGURES}
        if not one:
            figures |= {name.replace("all_targets_", "all_targets."): part[name].iloc[0] for name in ALL_TARGETS}
        if model == tested:
            figures |= {f"quantised.{name}": part[ROUNDED[all_of]].iloc[0] for name, all_of in _OVER_ALL.items()}
        figures |= {"images": part["images"].iloc[0], "images_missing": part["missing"].iloc[0]}
        metrics |= {prefix + name: None if pd.isna(value) else float(value) for name, value in figures.items()}
    return metrics


def victim_record(
    victim: Victim,
    recipe: Recipe,
    lines: pd.DataFrame,
    tags: Mapping[str, str],
    labels: Labels,
    *,
    dataset: str,
    split: str,
    image_shape: Sequence[int],
) -> VictimRecord:
    """Return the MLflow record of a victim, from the summary's lines of the cells that attacked it."""
    return VictimRecord(
        digest=victim.digest,
        name=labels.victim[victim.digest],
        params={
            "model": victim.digest,
            "defense": victim.defense,
            "temperature": victim.temperature,
            **dict(flat(recipe.to_json())),
        },
        metrics={"accuracy": percent(victim.accuracy), **robustness(lines, labels)},
        tags={
            **tags,
            "eadbench.defense": labels.defense[victim.digest],
            **({"eadbench.warnings": "; ".join(victim.warnings)} if victim.warnings else {}),
            "mlflow.note.content": f"Its cells are the runs with `params.model = '{victim.digest}'`.",
        },
        dataset=dataset,
        dataset_digest=dataset_digest(dataset, split),
        image_shape=list(image_shape),
        classes=recipe.num_classes,
    )


def percent(share: float | None) -> float | None:
    """Return a share in percent, the unit of every rate in MLflow."""
    return None if share is None else 100.0 * share


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, ParamValue]]:
    """Yield the values of nested mappings under dotted names, ``training.epochs``; a list is one value, as JSON."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, json.dumps(value) if isinstance(value, list) else value


def robustness(lines: pd.DataFrame, labels: Labels) -> dict[str, float | None]:
    """Return how a victim withstands all attacks together, ``strongest.l1``, and each attack, ``EAD L1.l1``.

    Both are over all targets: the highest ASR of any β and κ, and the least mean distortion of the cells with that ASR.
    The higher this distortion, the more robust the victim.
    """
    cases = lines.drop_duplicates("cell")
    metrics = _strongest("strongest", cases)
    names = plain_keys(labels.series)
    for series, part in cases.groupby("series", sort=False):
        metrics |= _strongest(names[str(series)], part)
    return metrics


def _strongest(name: str, cases: pd.DataFrame) -> dict[str, float | None]:
    """Return the highest ASR, and the least distortions of the cells with it."""
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
