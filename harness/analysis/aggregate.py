"""From result rows to the figures of the paper's tables: best, average and worst case, with their intervals.

Shape letters used below:
    R  rows of one line (examples), sorted by image, then by target class
    N  images of one line
    G  groups: the three cases and all targets
    F  figures of a group: ASR and the distortions of ``METRICS``
    B  bootstrap resamples
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.harness.errors import UserError

CASES = ("best", "average", "worst")
METRICS = ("l1", "l2", "linf")
FIGURES = ("asr", *METRICS)
GROUPS = (*CASES, "all_targets")

COUNTED = ("split", "image", "target", "success", *METRICS)
"""The columns of the rows that figures are made from."""
ALL_TARGETS = tuple(f"all_targets_{figure}" for figure in FIGURES)
IDENTITY = ("cell", "model", "evaluated_on", "arch")
TIDY = ("table", "dataset", "defense", "temperature", "attack", "decision_rule", "beta", "kappa", "case")
INTERVALS = tuple(f"{figure}_{end}" for figure in (*FIGURES, *ALL_TARGETS) for end in ("lo", "hi"))
COLUMNS = (*IDENTITY, *TIDY, *FIGURES, "images", *ALL_TARGETS, *INTERVALS)

# Order within a table: as the paper lists them. What is not named here comes after, by name.
_DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR10", "imagenet": "ImageNet"}
_DEFENSES = ("none", "distillation", "adversarial_training")
_ATTACKS = {"cw": "C&W", "fgm": "FGM", "ifgm": "I-FGM", "cov": "COV", "ead": "EAD"}
_ONE_RULE = frozenset({"cw", "fgm", "ifgm"})

_NUMBERS = ("temperature", "beta", "kappa")
_SETTING = [*IDENTITY, "dataset", "defense", "attack", "norm", "decision_rule", *_NUMBERS]
_UNTARGETED = -1
# Image draws held at once while resampling: some 30 MB.
_DRAWS = 2**20

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def attack_name(attack: str, norm: str | None) -> str:
    """Name an attack as the paper's tables do: ``C&W``, ``EAD``, ``I-FGM-Linf``.

    Parameters
    ----------
    attack
        ``cw``, ``ead``, ``cov``, ``fgm`` or ``ifgm``; any other name is kept.
    norm
        ``l1``, ``l2`` or ``linf``, or null for attacks that have none.
    """
    name = _ATTACKS.get(attack, attack)
    return name if pd.isna(norm) else f"{name}-{str(norm).capitalize()}"


def rule_name(attack: str, rule: str | None) -> str:
    """Name a decision rule (``EN``, ``L1``, ``L2``); empty for attacks that know only one."""
    return "" if attack in _ONE_RULE or pd.isna(rule) else str(rule).upper()


def dataset_name(dataset: str) -> str:
    """Name a data set as the paper does (``MNIST``); others are kept as they are."""
    return _DATASETS.get(dataset, dataset)


def summarise(rows: pd.DataFrame, *, seed: int, resamples: int = 1000) -> pd.DataFrame:
    """Aggregate result rows to one line per cell, victim tested on, and case.

    Per image over its target classes ("Evaluation Metrics" of the paper): the best case is a success if any
    target succeeded, and each metric is its least over the successful targets; the average case is one target
    drawn per image from the seed and the image's name alone; the worst case is a success only if every target
    succeeded, and each metric is its greatest. ``all_targets`` is the mean over every row. Distortions are
    means over successes, NaN where nothing succeeded. An untargeted row is its image's only one, so that all
    cases coincide. An image of which rows are still missing is computed from those that are there.

    Parameters
    ----------
    rows
        Result rows, in any order.
    seed
        The spec's seed, from which the average case's targets and the bootstrap are drawn.
    resamples
        Bootstrap resamples of the images (never of rows: an image's targets are not independent). The
        interval is the 95 % percentile interval; a resample without a success says nothing of a distortion
        and is left out of that distortion's interval. 0 leaves all intervals NaN.

    Returns
    -------
    DataFrame with the columns ``COLUMNS``, three lines (``CASES``) per cell, ordered by data set,
    architecture, defence, temperature, victim, attack, norm, decision rule, beta and kappa. ASR in percent,
    distortions as in the rows. ``table`` is empty, for the caller to fill in.

    Raises
    ------
    UserError
        If ``resamples`` is negative, or an example is there twice.
    """
    cell, _ = pd.factorize(rows["cell"])
    tested, victims = pd.factorize(rows["evaluated_on"])
    _, first, line = np.unique(cell * len(victims) + tested, return_index=True, return_inverse=True)
    lines = rows[_SETTING].take(first).reset_index(drop=True)
    return summarise_lines(lines, [rows.assign(line=line)], seed=seed, resamples=resamples)


def summarise_lines(
    lines: pd.DataFrame, batches: Iterable[pd.DataFrame], *, seed: int, resamples: int = 1000
) -> pd.DataFrame:
    """What :func:`summarise` gives, of rows that come in batches.

    Parameters
    ----------
    lines
        The setting of every cell and victim tested on: their columns in the rows, once.
    batches
        Frames of the columns ``COUNTED`` and `line`, which is the setting's label in `lines`. All rows of a line are
        in one batch.
    """
    if resamples < 0:
        raise UserError(f"resamples: must be 0 (no intervals) or more, not {resamples}")
    heads = lines[_SETTING].astype(dict.fromkeys(_NUMBERS, "float64"))
    settings = dict(zip(heads.index, heads.to_dict("records"), strict=True))
    found = []
    for batch in batches:
        for line, splits, part in _parts(batch):
            setting = {str(name): value for name, value in settings[line].items()} | {"splits": splits}
            found.append((_place(setting), list(_records(setting, part, seed=seed, resamples=resamples))))
    records = [record for _, of_line in sorted(found, key=itemgetter(0)) for record in of_line]
    return pd.DataFrame(records, columns=list(COLUMNS))


def _parts(rows: pd.DataFrame) -> Iterator[tuple[Hashable, list[str], pd.DataFrame]]:
    """Yield every line, the names of the splits, and its rows: COUNTED, split by number, sorted."""
    if rows.empty:
        return
    split_code, splits = pd.factorize(rows["split"].astype(str), sort=True)
    line, split = rows["line"].to_numpy(), split_code.astype(np.int64)
    image = rows["image"].to_numpy(dtype=np.int64)
    target = rows["target"].to_numpy(dtype=np.float64, na_value=_UNTARGETED).astype(np.int64)
    order = np.lexsort((target, image, split, line))
    success = rows["success"].to_numpy(dtype=np.bool_)
    distances = {metric: rows[metric].to_numpy(dtype=np.float64, na_value=np.nan) for metric in METRICS}
    names, starts = np.unique(line[order], return_index=True)
    for name, take in zip(names.tolist(), np.split(order, starts[1:]), strict=True):
        part = {"split": split[take], "image": image[take], "target": target[take], "success": success[take]}
        part |= {metric: values[take] for metric, values in distances.items()}
        yield name, list(splits), pd.DataFrame(part)


def _place(setting: dict[str, Any]) -> tuple[Any, ...]:
    """Key that puts a line where the paper's tables would have it; nulls come first."""
    orders = {"dataset": list(_DATASETS), "defense": _DEFENSES, "attack": list(_ATTACKS)}

    def key(name: str) -> tuple[Any, ...]:
        value, order = setting[name], orders.get(name, ())
        if pd.isna(value):
            return (False,)
        kind = value.partition(":")[0] if name == "defense" else value
        return (True, order.index(kind) if kind in order else len(order), value)

    victim = [key(name) for name in ("dataset", "arch", "defense", "temperature", "model")]
    tested = (setting["evaluated_on"] != setting["model"], setting["evaluated_on"])
    attack = [key(name) for name in ("attack", "norm", "decision_rule", "beta", "kappa")]
    return (*victim, tested, *attack, setting["cell"])


def _records(setting: dict[str, Any], part: pd.DataFrame, *, seed: int, resamples: int) -> Iterator[dict[str, Any]]:
    """Yield the summary's three lines of one cell."""
    totals = _image_totals(setting, part, seed=seed)
    figures = _figures(totals.sum(axis=0))
    name = f"{seed}/{setting['cell']}/{setting['evaluated_on']}"
    low, high = _intervals(totals, generator=np.random.default_rng(_digest(name)), resamples=resamples)
    shared = {name: setting[name] for name in (*IDENTITY, "defense", *_NUMBERS)}
    shared |= {
        "table": "",
        "dataset": dataset_name(setting["dataset"]),
        "attack": attack_name(setting["attack"], setting["norm"]),
        "decision_rule": rule_name(setting["attack"], setting["decision_rule"]),
        "images": len(totals),
    }
    for group, case in enumerate(CASES):
        record = shared | {"case": case}
        for names, of in ((FIGURES, group), (ALL_TARGETS, len(CASES))):
            for index, figure in enumerate(names):
                record[figure] = figures[of, index]
                record[f"{figure}_lo"], record[f"{figure}_hi"] = low[of, index], high[of, index]
        yield record


def _image_totals(setting: dict[str, Any], part: pd.DataFrame, *, seed: int) -> Floats:
    """What every image adds to every figure.

    Returns an (N, G, 1 + F) array: per image and group the number of trials, of successes, and the sum of
    each distortion over the successes. Summed over images, with any weights, this is all ``_figures`` needs.
    """
    split, image, target = (part[name].to_numpy() for name in ("split", "image", "target"))
    success = part["success"].to_numpy()
    new_image = np.append(True, (np.diff(image) != 0) | (np.diff(split) != 0))
    twice = np.flatnonzero(~new_image[1:] & (np.diff(target) == 0))
    if twice.size:
        raise UserError(
            f"results: image {image[twice[0]]} of cell {setting['cell']} has two rows for one target class; "
            "give the rows of one sweep, each once"
        )
    starts = np.flatnonzero(new_image)
    counts = np.diff(np.append(starts, len(part)))

    # (R, F - 1): zero where failed, so that sums and maxima are over successes.
    distances = np.where(success[:, None], part[list(METRICS)].to_numpy(), 0.0)
    least = np.minimum.reduceat(np.where(success[:, None], distances, np.inf), starts, axis=0)
    any_success = np.logical_or.reduceat(success, starts)
    all_success = np.logical_and.reduceat(success, starts)
    names = [f"{seed}/{setting['dataset']}/{name}" for name in setting["splits"]]
    hashes = _mix(np.array([_digest(name) for name in names], dtype=np.uint64)[split[starts]], image[starts])
    drawn = starts + (hashes % counts.astype(np.uint64)).astype(np.int64)

    totals = np.empty((len(starts), len(GROUPS), 1 + len(FIGURES)))
    totals[:, :, 0] = 1.0
    totals[:, 0, 1], totals[:, 0, 2:] = any_success, np.where(any_success[:, None], least, 0.0)
    totals[:, 1, 1], totals[:, 1, 2:] = success[drawn], distances[drawn]
    greatest = np.maximum.reduceat(distances, starts, axis=0)
    totals[:, 2, 1], totals[:, 2, 2:] = all_success, np.where(all_success[:, None], greatest, 0.0)
    totals[:, 3, 0], totals[:, 3, 1] = counts, np.add.reduceat(success.astype(np.float64), starts)
    totals[:, 3, 2:] = np.add.reduceat(distances, starts, axis=0)
    return totals


def _figures(totals: Floats) -> Floats:
    """Figures (..., G, F) of summed totals (..., G, 1 + F); a distortion without a success is NaN."""
    trials, successes, sums = totals[..., :1], totals[..., 1:2], totals[..., 2:]
    # A weighted sum of zeros is exactly zero, so that no successes is 0 / 0.
    with np.errstate(invalid="ignore"):
        return np.concatenate([100.0 * successes / trials, sums / successes], axis=-1)


def _intervals(totals: Floats, *, generator: np.random.Generator, resamples: int) -> tuple[Floats, Floats]:
    """Ends (G, F) of the figures' 95 % percentile intervals, images (N, G, 1 + F) drawn with replacement."""
    images = len(totals)
    flat = totals.reshape(images, -1)
    resampled = np.empty((resamples, len(GROUPS), len(FIGURES)))
    step = max(1, _DRAWS // images)
    for start in range(0, resamples, step):
        number = min(step, resamples - start)
        drawn = generator.integers(0, images, size=(number, images), dtype=np.uint32).astype(np.int64)
        # Counting draws gives multinomial weights (B, N), several times faster than Generator.multinomial.
        drawn += images * np.arange(number)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=number * images).reshape(number, images)
        summed = (weights.astype(np.float64) @ flat).reshape(number, *totals.shape[1:])
        resampled[start : start + number] = _figures(summed)

    low, high = np.full((2, len(GROUPS), len(FIGURES)), np.nan)
    for index in np.ndindex(low.shape):
        values = resampled[(slice(None), *index)]
        values = values[~np.isnan(values)]
        if values.size:
            low[index], high[index] = np.percentile(values, [2.5, 97.5])
    return low, high


def _digest(name: str) -> int:
    """64 bits of a name, the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _mix(bases: NDArray[np.uint64], images: Ints) -> NDArray[np.uint64]:
    """Hash every (base, image): the image-th output of SplitMix64 (Steele et al. 2014) seeded by the base."""
    state = (images.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = state + bases
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed
