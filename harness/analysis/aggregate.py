"""Aggregate result rows to the figures of the paper's tables: best, average and worst case, with their intervals.

Shape letters used below:
    R  rows of one line (examples), sorted by image, then by target class
    N  images of one line
    G  groups: the three cases and all targets
    F  figures of a group: ASR and the distortions of ``METRICS``
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.harness.analysis.draws import image_hashes
from eadbench.harness.analysis.planned import Planned, PlannedImages
from eadbench.harness.analysis.totals import (
    CASES,
    FIGURES,
    GROUPS,
    METRICS,
    ImagesOfLine,
    figures_of,
    image_totals,
    means_of,
)
from eadbench.harness.errors import UserError
from eadbench.harness.labels import DATASETS, series_of
from eadbench.harness.registry import ATTACKS, DEFENSES

__all__ = [
    "ALL_TARGETS",
    "CASES",
    "COLUMNS",
    "COUNTED",
    "COUNTS",
    "FIGURES",
    "GROUPS",
    "IDENTITY",
    "INTERVALS",
    "METRICS",
    "QUANTISED",
    "ROUNDED",
    "ROUNDED_COLUMNS",
    "SETTING",
    "TRANSFER",
    "after_rounding",
    "summarise",
    "summarise_lines",
]

QUANTISED = ("quantised", *(f"quantised_{metric}" for metric in METRICS))
"""The columns of the rows that say how an example fares after rounding to 8 bits."""
COUNTED = ("split", "image", "target", "success", *METRICS, *QUANTISED)
"""The columns of the rows from which figures are computed; there need not be those of ``QUANTISED``."""
ALL_TARGETS = tuple(f"all_targets_{figure}" for figure in FIGURES)
ROUNDED = {figure: f"quantised_{figure}" for figure in (*FIGURES, *ALL_TARGETS)}
"""The names of the figures after rounding to 8 bits."""
IDENTITY = ("cell", "model", "evaluated_on", "series")
"""Digests that identify a line: its cell, the victim attacked, the victim tested on, the attack without β and κ."""
SETTING = (
    *("dataset", "arch", "defense", "defense_parameters", "temperature"),
    *("attack", "norm", "decision_rule", "beta", "kappa", "parameters"),
)
"""The settings that the identities stand for, copied from the rows."""
INTERVALS = tuple(f"{figure}_{end}" for figure in (*FIGURES, *ALL_TARGETS) for end in ("lo", "hi"))
COUNTS = ("targets", "targets_per_image", "images", "missing")
"""What the figures of a line are over: how target classes are chosen, how many of an image, and of how many images."""
TRANSFER = ("all_images_asr", "clean_error")
"""Of a transfer, in percent: the ASR over every target on all images, and how many images the victim tested on gets
wrong without an attack."""
ROUNDED_COLUMNS = tuple(f"{name}{end}" for name in ROUNDED.values() for end in ("", "_lo", "_hi"))
COLUMNS = (
    *("table", *SETTING, "case", *FIGURES, *COUNTS, *TRANSFER, *ALL_TARGETS, *INTERVALS),
    *(*ROUNDED_COLUMNS, "indicators", *IDENTITY),
)

_NUMBERS = ("temperature", "beta", "kappa")
_TEXTS = tuple(name for name in SETTING if name not in _NUMBERS)
_UNTARGETED = -1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def summarise(rows: pd.DataFrame, *, seed: int, planned: Planned | None = None) -> pd.DataFrame:
    """Aggregate result rows to one line per cell, victim tested on, and case.

    The cases are taken per image over its target classes ("Evaluation Metrics" of the paper):

    - best: a success if any target succeeded; each metric is the least over the successful targets;
    - average: one target per image, drawn from the seed and the image's name alone;
    - worst: a success only if every target succeeded; each metric is the greatest over the targets.

    ``all_targets`` is the mean over every row. Distortions are means over successes, NaN without a success. An
    untargeted attack has one row per image, so all cases coincide. An image that lacks rows is left out of the three
    cases, and counted in the column `missing`. In a transfer, an image that the victim tested on gets wrong without an
    attack counts in `all_images_asr` alone, unless the sweep counts all images.

    Parameters
    ----------
    rows
        Result rows, in any order; with `planned`, also the column `targets`: how each row's were chosen, in words.
    seed
        The spec's seed. It draws the targets of the average case.
    planned
        The examples that the sweep plans. Unless given, the rows are taken for complete.

    Returns
    -------
    DataFrame with the columns ``COLUMNS`` and three lines (``CASES``) per cell, ordered by data set, architecture,
    defence, temperature, victim, attack, norm, decision rule, beta and kappa. ASR is in percent; distortions and
    settings are as in the rows, NaN if missing. The 95 % intervals are those of ``harness.analysis.intervals``, with
    images as clusters; a distortion with successes on one image has none (NaN). `images` counts the images of the three
    cases; without one, their figures are NaN. The caller fills in ``table`` and ``indicators``.

    Raises
    ------
    UserError
        An example occurs twice.
    """
    cell, _ = pd.factorize(rows["cell"])
    tested, victims = pd.factorize(rows["evaluated_on"])
    _, first, line = np.unique(cell * len(victims) + tested, return_index=True, return_inverse=True)
    lines = rows.take(first).reset_index(drop=True)
    return summarise_lines(lines, [rows.assign(line=line)], seed=seed, planned=planned)


def summarise_lines(
    lines: pd.DataFrame,
    batches: Iterable[pd.DataFrame],
    *,
    seed: int,
    planned: Planned | None = None,
    order: Mapping[str, int] = MappingProxyType({}),
) -> pd.DataFrame:
    """Aggregate rows that come in batches, as :func:`summarise` does.

    Parameters
    ----------
    lines
        One line per cell and victim tested on, with the identity and setting columns of the rows.
    batches
        Frames with the columns ``COUNTED`` and `line`, an index label of `lines`. A batch holds all rows of its lines.
    order
        The places of victims and cells in the spec, by digest: of those that the paper's order does not tell apart.
    """
    settings = _settings(lines)
    keyed_records = []
    for batch in batches:
        for line, splits, rows in _rows_by_line(batch):
            setting = settings[line] | {"splits": splits}
            records = list(_line_records(setting, rows, seed=seed, planned=planned))
            keyed_records.append((_sort_key(setting, order), records))
    ordered = [record for _, records in sorted(keyed_records, key=itemgetter(0)) for record in records]
    return pd.DataFrame(ordered, columns=list(COLUMNS)).astype(dict.fromkeys(_TEXTS, "str"))


def _settings(lines: pd.DataFrame) -> dict[Hashable, dict[str, Any]]:
    """Return the identity and the setting of every line: texts or None, and numbers that may be NaN."""
    texts = [*_TEXTS, *(["targets"] if "targets" in lines else [])]
    settings = lines[["cell", "model", "evaluated_on", *_NUMBERS, *texts]].astype(dict.fromkeys(_NUMBERS, "float64"))
    settings[texts] = settings[texts].astype(object).where(settings[texts].notna(), None)
    settings = settings.assign(series=series_of(settings))
    return {
        line: {str(name): value for name, value in setting.items()}
        for line, setting in zip(settings.index, settings.to_dict("records"), strict=True)
    }


def _rows_by_line(rows: pd.DataFrame) -> Iterator[tuple[Hashable, list[str], pd.DataFrame]]:
    """Yield every line with the names of the splits and its sorted rows: ``COUNTED``, a split by its index."""
    if rows.empty:
        return
    split_code, splits = pd.factorize(rows["split"].astype(str), sort=True)
    line, split = rows["line"].to_numpy(), split_code.astype(np.int64)
    image = rows["image"].to_numpy(dtype=np.int64)
    target = rows["target"].to_numpy(dtype=np.float64, na_value=_UNTARGETED).astype(np.int64)
    order = np.lexsort((target, image, split, line))
    success = rows["success"].to_numpy(dtype=np.bool_)
    distances = {metric: rows[metric].to_numpy(dtype=np.float64, na_value=np.nan) for metric in METRICS}
    distances |= {
        name: rows[name].to_numpy(dtype=np.float64, na_value=np.nan) if name in rows else np.full(len(rows), np.nan)
        for name in QUANTISED
    }
    lines, starts = np.unique(line[order], return_index=True)
    for label, indices in zip(lines.tolist(), np.split(order, starts[1:]), strict=True):
        columns = {"split": split, "image": image, "target": target, "success": success, **distances}
        yield label, list(splits), pd.DataFrame({name: values[indices] for name, values in columns.items()})


def _sort_key(setting: dict[str, Any], order: Mapping[str, int]) -> tuple[Any, ...]:
    """Return the key that sorts lines as the paper's tables do; a missing value comes first."""
    datasets = list(DATASETS)
    dataset = setting["dataset"]
    numbers = {name: (False, 0.0) if math.isnan(setting[name]) else (True, setting[name]) for name in _NUMBERS}
    victim = (
        (datasets.index(dataset) if dataset in datasets else len(datasets), dataset),
        setting["arch"],
        *DEFENSES.order(setting["defense"]),
        *numbers["temperature"],
        setting["defense_parameters"],
        order.get(setting["model"], len(order)),
        setting["model"],
    )
    tested = (setting["evaluated_on"] != setting["model"], setting["evaluated_on"])
    texts = [setting[name] or "" for name in ("norm", "decision_rule", "parameters")]
    place = order.get(setting["cell"], len(order)), texts[2], setting["cell"]
    attack = (*ATTACKS.order(setting["attack"]), *texts[:2], *numbers["beta"], *numbers["kappa"])
    return (*victim, *tested, *attack, *place)


def _line_records(
    setting: dict[str, Any], rows: pd.DataFrame, *, seed: int, planned: Planned | None
) -> Iterator[dict[str, Any]]:
    """Yield the three records of a line, one per case."""
    images = _images_of(setting, rows)
    choice = setting.get("targets") or ("untargeted" if (rows["target"] == _UNTARGETED).all() else "")
    images_planned = planned.images.get((setting["model"], choice)) if planned else None
    counted = complete = np.ones(len(images.image), dtype=np.bool_)
    missing, targets, clean_error = 0, images.counts, math.nan
    if planned is not None and images_planned is not None:
        targets = images_planned.targets
        if planned.both_correct:
            counted = ~planned.wrong_of(setting["evaluated_on"], images.image)
        complete = counted & (images.counts >= images_planned.targets_of(images.image))
        clean_error = planned.clean_error(images_planned.images, setting["evaluated_on"])
        missing = _countable(planned, images_planned, setting) - int(complete.sum())
    drawn = _draws(setting, images, seed=seed)
    totals = image_totals(images, rows, drawn)
    on_all_images = means_of(totals)[GROUPS.index("all_targets"), 0]
    totals[~counted] = 0.0
    totals[~complete, : len(CASES)] = 0.0
    figures = figures_of(totals)
    rounded = np.full_like(figures, np.nan)
    if rows["quantised"].notna().all():
        totals = image_totals(images, rows[list(QUANTISED)].set_axis(["success", *METRICS], axis=1), drawn)
        totals[~counted] = 0.0
        totals[~complete, : len(CASES)] = 0.0
        rounded = figures_of(totals)
    shared = {name: setting[name] for name in (*IDENTITY, *SETTING)} | {"table": "", "indicators": ""}
    counts = (choice, int(targets.max()), int(complete.sum()), missing)
    shared |= dict(zip((*COUNTS, *TRANSFER), (*counts, on_all_images, clean_error), strict=True))
    for case_index, case in enumerate(CASES):
        record = shared | {"case": case}
        for columns, group in ((FIGURES, case_index), (ALL_TARGETS, len(CASES))):
            for index, column in enumerate(columns):
                for name, values in ((column, figures), (ROUNDED[column], rounded)):
                    for end, each in zip(("", "_lo", "_hi"), values, strict=True):
                        record[name + end] = each[group, index]
        yield record


def after_rounding(lines: pd.DataFrame) -> pd.DataFrame:
    """Return lines of a summary with the figures after rounding to 8 bits in place of their own."""
    ends = ("", "_lo", "_hi")
    return lines.assign(**{own + end: lines[theirs + end] for own, theirs in ROUNDED.items() for end in ends})


def _countable(planned: Planned, of_victim: PlannedImages, setting: dict[str, Any]) -> int:
    """Return the number of images that count in a line once all of its rows are there."""
    images = of_victim.images
    wrong = planned.wrong_of(setting["evaluated_on"], images) if planned.both_correct else np.zeros_like(images)
    return len(images) - int(wrong.sum())


def _images_of(setting: dict[str, Any], rows: pd.DataFrame) -> ImagesOfLine:
    """Return the images of a line's sorted rows; refuse an example that occurs twice."""
    split, image, target = (rows[name].to_numpy() for name in ("split", "image", "target"))
    new_image = np.append(True, (np.diff(image) != 0) | (np.diff(split) != 0))
    duplicates = np.flatnonzero(~new_image[1:] & (np.diff(target) == 0))
    if duplicates.size:
        raise UserError(
            f"results: image {image[duplicates[0]]} of cell {setting['cell']} has two rows for one target class; "
            "give the rows of one sweep, each once"
        )
    starts = np.flatnonzero(new_image)
    return ImagesOfLine(split[starts], image[starts], starts, np.diff(np.append(starts, len(rows))))


def _draws(setting: dict[str, Any], images: ImagesOfLine, *, seed: int) -> Ints:
    """Return the row of each image (N,) that the average case draws."""
    names = [f"{seed}/{setting['dataset']}/{name}" for name in setting["splits"]]
    hashes = image_hashes(names, images.split, images.image)
    return images.starts + (hashes % images.counts.astype(np.uint64)).astype(np.int64)
