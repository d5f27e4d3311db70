"""Robust accuracy at a fixed ε: the share of images that an attack, or every attack, fails to break within ε.

An image is broken by a success whose distance is at most ε, whichever attack found it, towards whichever class. So the
worst case over every attack of some sweeps is an upper bound of robustness that each further attack can only lower.
Shape letters: N images.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.harness.analysis.intervals import rate_interval
from eadbench.harness.analysis.norms import NORMS, minimised
from eadbench.harness.errors import UserError
from eadbench.harness.labels import Labels, dataset_label, norm_label, series_of
from eadbench.harness.numbers import figure_text
from eadbench.harness.plan.cells import Victim
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["EVERY", "Robustness", "fixed_epsilon", "of_sweep", "robustness"]

AT_ONCE = 2**21
"""Rows in memory at once."""
EVERY = "worst case of all attacks"
"""The label of the line for all attacks together."""
WITHIN = 1 + 1e-5
"""How much longer than ε a perturbation may be by rounding, as a factor."""
_SETTING = ("attack", "norm", "decision_rule", "parameters")


@dataclass(frozen=True, kw_only=True, eq=False)
class Robustness:
    """Robust accuracy of victims at one ε."""

    dataset: str
    split: str
    norm: str
    epsilon: float
    lines: pd.DataFrame
    """A line for each victim and attack, the worst case last: `victim` and `attack`, labels; `correct` and `all`,
    robust accuracy over the images that were attacked, which the victim classifies correctly, and over all, in percent,
    each with the ends `_lo` and `_hi` of its 95 % interval; `accuracy` without an attack, in percent; `images`; and
    `passes`, the mean of an image. `all` is NaN if the images are no sample of the split, or of those that were chosen.
    """
    left_out: Mapping[str, int]
    """By victim, images that some attack has no row of."""

    @property
    def title(self) -> str:
        """What it is about: ``Robust accuracy on MNIST, test split, within L∞ 0.3``."""
        radius = f"{norm_label(self.norm)} {figure_text(self.epsilon)}"
        return f"Robust accuracy on {dataset_label(self.dataset)}, {self.split} split, within {radius}"

    def of_cells(self, cells: Collection[str]) -> "Robustness":
        """Return the lines of some cells alone, without the worst case."""
        return replace(self, lines=self.lines[self.lines["cell"].isin(cells)])


def fixed_epsilon(parameters: Any) -> float | None:
    """Return the ε at which an attack with these hyperparameters, as JSON, runs; None if it minimises a distance."""
    epsilon = json.loads(parameters or "{}").get("epsilon")
    return float(epsilon) if isinstance(epsilon, int | float) else None


def robustness(
    snapshots: Sequence[Snapshot], *, norm: str | None = None, epsilon: float | None = None
) -> list[Robustness]:
    """Return robust accuracy at each norm and ε of the attacks at a fixed ε, or at the given ones.

    The attacks that are lines of their own run at this ε, or minimise this norm. Any other attack's successes within ε
    count in the worst case too. On each victim, the images count that all lines have rows of.

    Parameters
    ----------
    snapshots
        One sweep or several; attacks of several sweeps on the same victim meet.
    norm, epsilon
        Give both to choose; or one, to keep those attacks at a fixed ε that have it.

    Raises
    ------
    UserError
        The sweeps have no rows, or no attack at a fixed ε where none is given; or no victim has the attacks, or no
        image has rows of all of them.
    """
    cells = pd.concat([_cells(snapshot) for snapshot in snapshots], ignore_index=True)
    if cells.empty:
        places = ", ".join(str(snapshot.folder.root) for snapshot in snapshots)
        raise UserError(f"{places}: no rows yet; run the sweep first")
    fixed = cells[cells["fixed"].notna() & cells["norm"].isin(NORMS)]
    radii = [*dict.fromkeys(zip(fixed["norm"], fixed["fixed"], strict=True))]
    if norm and epsilon:
        radii = [(norm, epsilon)]
    chosen = [(n, e) for n, e in radii if norm in (None, n) and (epsilon is None or np.isclose(e, epsilon))]
    if not chosen:
        raise UserError("epsilon: no attack of the sweeps ran at a fixed ε; give --norm and --epsilon")
    least = _least(snapshots, cells)
    sets = cells.drop_duplicates(["dataset", "split"])[["dataset", "split"]].itertuples(index=False, name=None)
    labels = Labels(lines=cells, victims=_victims(snapshots))
    found = []
    for dataset, split in sets:
        own = cells[(cells["dataset"] == dataset) & (cells["split"] == split)]
        of_set = [each for each in snapshots if (each.dataset, each.spec.images.split) == (dataset, split)]
        accuracy = _accuracies(of_set)
        found += [_at(own, least, accuracy, labels, each) for each in chosen]
    tables = [table for table in found if len(table.lines)]
    if not tables:
        raise UserError("norm: no attack of the sweeps minimises this norm or runs at this ε")
    if not any(table.lines["images"].any() for table in tables):
        places = ", ".join(str(snapshot.folder.root) for snapshot in snapshots)
        raise UserError(f"{places}: no image has rows of all attacks on a victim; give folders with the same images")
    return tables


def _cells(snapshot: Snapshot) -> pd.DataFrame:
    """Return the cells of a sweep on the victims that they attack: their settings, `fixed` (ε), `norms`, and `run`."""
    lines = snapshot.stored_rows.lines
    own = lines[lines["model"] == lines["evaluated_on"]]
    norms = [minimised(*setting) for setting in own[[*_SETTING[:3]]].itertuples(index=False, name=None)]
    return own.assign(
        series=series_of(own),
        fixed=[np.nan if (each := fixed_epsilon(text)) is None else each for text in own["parameters"]],
        norms=pd.Series(norms, index=own.index, dtype=object),
        run=[replace(snapshot.cells[cell], decision_rule=None).digest for cell in own["cell"]],
        dataset=snapshot.dataset,
        split=snapshot.spec.images.split,
    )


def _least(snapshots: Sequence[Snapshot], cells: pd.DataFrame) -> pd.DataFrame:
    """Return by cell and image the least distance of its successes in each norm, infinite without one; and `passes`."""
    parts = []
    for snapshot in snapshots:
        stored = snapshot.stored_rows
        own = stored.lines[stored.lines["model"] == stored.lines["evaluated_on"]]
        columns = ["image", "success", *NORMS, "iterations", "forward_passes"]
        for batch in stored.batches(columns, at_most=AT_ONCE, lines=own.index):
            success = batch["success"].astype(bool)
            rows = batch[[*NORMS]].astype("float64").where(success, np.inf)
            rows["passes"] = (batch["iterations"] + batch["forward_passes"]).astype("float64")
            rows["cell"], rows["image"] = batch["line"].map(own["cell"]), batch["image"].astype("int64")
            how = dict.fromkeys(NORMS, "min") | {"passes": "sum"}
            parts.append(rows.groupby(["cell", "image"], as_index=False).agg(how))
    merged = pd.concat(parts, ignore_index=True)
    return merged.groupby(["cell", "image"]).agg(dict.fromkeys(NORMS, "min") | {"passes": "max"})


def _victims(snapshots: Sequence[Snapshot]) -> list[Victim]:
    return [*{victim.digest: victim for snapshot in snapshots for victim in snapshot.victims}.values()]


def _accuracies(snapshots: Sequence[Snapshot]) -> dict[str, float]:
    """Return the share of correctly classified images by victim, among those that its attacked images stand for.

    Attacked images are drawn from those that the victim classifies correctly: of the whole split, or of chosen images.
    Unless all of the chosen ones are attacked, or if they had to be correct on other victims too, they stand for none.
    Nor do those that several sweeps share, unless the images of each stand for the same ones.
    """
    found: dict[str, dict[frozenset[str] | None, float]] = {}
    unknown = set()
    for snapshot in snapshots:
        images = snapshot.spec.images
        for victim in (each for each in snapshot.victims if each.attacked):
            shares = found.setdefault(victim.digest, {})
            if snapshot.spec.target_file or (images.correct_on == "all" and len(snapshot.victims) > 1):
                unknown.add(victim.digest)
            elif images.indices is None and victim.accuracy is not None:
                shares[None] = victim.accuracy
            elif images.indices is not None and images.limit is None:
                shares[frozenset(map(str, images.indices))] = len(victim.images) / len(images.indices)
            else:
                unknown.add(victim.digest)
    known = {digest: [*shares.values()] for digest, shares in found.items() if digest not in unknown}
    return {digest: shares[0] for digest, shares in known.items() if len(shares) == 1}


def _at(
    cells: pd.DataFrame, least: pd.DataFrame, accuracy: Mapping[str, float], labels: Labels, radius: tuple[str, float]
) -> Robustness:
    """Return robust accuracy on every victim within one radius."""
    norm, epsilon = radius
    here = cells["fixed"].notna() & np.isclose(cells["fixed"].fillna(-1.0), epsilon) & (cells["norm"] == norm)
    minimum = cells["fixed"].isna() & np.array([norm in norms for norms in cells["norms"]], dtype=bool)
    rows, left_out = [], {}
    for digest, own in cells[cells["cell"].isin(least.index.get_level_values("cell"))].groupby("model", sort=False):
        lines = own[(here | minimum).loc[own.index]].drop_duplicates("cell")
        if lines.empty:
            continue
        table = least.loc[own["cell"].unique().tolist()]
        broken = (table[norm] <= epsilon * WITHIN).unstack("cell")
        counted = broken[lines["cell"]].notna().all(axis=1)
        broken, passes = broken[counted], table["passes"].unstack("cell")[counted]
        victim = labels.victim[str(digest)]
        left_out[victim] = int((~counted).sum())
        for line in lines.to_dict("records"):
            line["kappa"] = line["kappa"] or np.nan  # a κ of 0 goes without saying
            flags = ~broken[line["cell"]].to_numpy(dtype=bool)
            rows.append(
                {
                    "victim": victim,
                    "attack": labels.setting(line),
                    "model": digest,
                    "cell": line["cell"],
                    **_figures(flags, accuracy.get(str(digest), np.nan)),
                    "passes": float(passes[line["cell"]].mean()),
                }
            )
        if own["cell"].nunique() > 1:
            flags = ~broken.eq(True).any(axis=1).to_numpy(dtype=bool)
            figures = _figures(flags, accuracy.get(str(digest), np.nan))
            runs = passes.T.groupby(own.drop_duplicates("cell").set_index("cell")["run"]).max()  # rules share a run
            total = float(runs.sum().mean())
            rows.append({"victim": victim, "attack": EVERY, "model": digest, "cell": None, **figures, "passes": total})
    setting = cells.iloc[0]
    return Robustness(
        dataset=setting["dataset"],
        split=setting["split"],
        norm=norm,
        epsilon=epsilon,
        lines=pd.DataFrame(rows),
        left_out=left_out,
    )


def _figures(robust: NDArray[np.bool_], accuracy: float) -> dict[str, float]:
    """Return the figures of a line by which images (N,) are robust, and the share of clean images that are correct."""
    flags = robust.astype(np.float64)
    rate, (low, high) = float(flags.mean()) if len(flags) else np.nan, rate_interval(flags, np.ones_like(flags))
    correct = {"correct": 100 * rate, "correct_lo": 100 * float(low), "correct_hi": 100 * float(high)}
    every = {name.replace("correct", "all"): accuracy * value for name, value in correct.items()}
    return {**correct, **every, "accuracy": 100 * accuracy, "images": len(flags)}


def of_sweep(snapshot: Snapshot) -> list[Robustness]:
    """Return robust accuracy at each ε of a sweep's attacks at a fixed ε; nothing without such rows."""
    cells = _cells(snapshot)
    return robustness([snapshot]) if (cells["fixed"].notna() & cells["norm"].isin(NORMS)).any() else []
