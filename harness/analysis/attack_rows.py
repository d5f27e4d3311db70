"""The rows of several sweeps, by attack and victim, with what a leaderboard needs of each."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.attacks.engine.ledger import SHARES
from eadbench.harness.analysis.norms import NORMS, minimised
from eadbench.harness.analysis.summary import AT_ONCE
from eadbench.harness.errors import UserError
from eadbench.harness.labels import Labels, series_of
from eadbench.harness.parquet.stored import contradictory
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["EXAMPLE", "NORMS", "WITHIN", "AttackRows", "minimised"]

Floats = NDArray[np.float64]

EXAMPLE = ["image", "target"]
"""What names an example of a victim."""
_SHARED = ["dataset", "split", "targeted", "kappa"]
"""What the attacks of a board have in common, beside the norm."""
_SETTING = ["attack", "norm", "decision_rule", "parameters"]
_ATTACK = ["series", "beta", "precision"]
_READ = (*EXAMPLE, "success", *NORMS, "iterations", "forward_passes", "shard", "precision", "trace")
WITHIN = tuple(f"within_{part}" for part in range(len(SHARES)))
"""Columns of the least distance within each share of a budget."""
_UNTARGETED = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackRows:
    """The attacks of several sweeps and their rows on the victims that they attacked.

    An attack is a norm or decision rule with all hyperparameters, β and κ, in one precision.
    """

    attacks: pd.DataFrame
    """A line per attack: its settings, its `label`, its `budget` (NaN without one), and `norms`, those that it
    minimises."""
    rows: pd.DataFrame
    """A row per attack, victim and example: the labels of `attack` and `victim`, the example, the distances (infinite
    where the attack failed), `passes`, `seconds`, and ``WITHIN``, NaN without a budget."""
    victims: Mapping[str, str]
    """The labels of the victims by their digests."""
    cells: Mapping[tuple[int, str], str]
    """The cell of each attack on each victim."""

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot]) -> "AttackRows":
        """Read the rows of some sweeps. If several have one example of an attack, the first counts.

        Raises
        ------
        UserError
            The sweeps have no rows, or two of them have contradictory rows for one example.
        """
        parts = [part for snapshot in snapshots for part in _parts(snapshot) if len(part)]
        if not parts:
            places = ", ".join(str(snapshot.folder.root) for snapshot in snapshots)
            raise UserError(f"{places}: no rows yet; run the sweep first")
        rows = pd.concat(parts, ignore_index=True)
        _refuse_contradictions(rows)
        columns = [*_SHARED, *_ATTACK]
        rows["number"] = rows.groupby(columns, sort=False, dropna=False).ngroup()
        attacks = rows.drop_duplicates("number").set_index("number")[[*columns, *_SETTING]]
        victims = {victim.digest: victim for snapshot in snapshots for victim in snapshot.victims}
        labels = Labels.of_victims([*victims.values()])
        norms = [minimised(*line) for line in attacks[_SETTING[:3]].itertuples(index=False, name=None)]
        rows = rows.drop(columns=[*columns, *_SETTING]).rename(columns={"number": "attack"})
        lines = rows.drop_duplicates(["attack", "victim"])
        keys = zip(lines["attack"].tolist(), lines["victim"].tolist(), strict=True)
        return cls(
            attacks=attacks.assign(
                norms=pd.Series(norms, index=attacks.index),
                label=pd.concat([_labels(part) for _, part in attacks.groupby("targeted", sort=False)]),
                budget=[float(json.loads(text or "{}").get("budget") or np.nan) for text in attacks["parameters"]],
            ),
            rows=rows.drop(columns=["cell", "folder"]).drop_duplicates(["attack", "victim", *EXAMPLE]),
            victims={digest: labels.victim[digest] for digest in victims},
            cells=dict(zip(keys, lines["cell"].tolist(), strict=True)),
        )

    def groups(self) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
        """Yield the attacks of each board, with what they have in common."""
        for key, attacks in self.attacks.groupby(_SHARED, sort=False):
            yield dict(zip(_SHARED, key, strict=True)), attacks


def _parts(snapshot: Snapshot) -> Iterator[pd.DataFrame]:
    """Yield the rows of a sweep on the victims that they attacked, with the settings of their lines."""
    stored = snapshot.stored_rows
    own = stored.lines[stored.lines["model"] == stored.lines["evaluated_on"]]
    own = own.drop(columns="targets")  # a board is over the examples of every choice of targets
    own = own.assign(series=series_of(own), kappa=own["kappa"].fillna(0.0))
    settings = own[["cell", "dataset", "split", "kappa", "series", "beta", *_SETTING]]
    seconds = {record.shard: record.seconds / max(record.examples, 1) for record in snapshot.shard_records}
    for batch in stored.batches(_READ, at_most=AT_ONCE, lines=own.index):
        target = batch["target"].fillna(_UNTARGETED).astype("int64")
        success = batch["success"].astype(bool)
        yield pd.DataFrame(
            {
                "victim": batch["line"].map(own["model"]),
                "image": batch["image"].astype("int64"),
                "target": target,
                "targeted": target != _UNTARGETED,
                "precision": batch["precision"],
                **{norm: batch[norm].astype("float64").where(success, np.inf) for norm in NORMS},
                "passes": (batch["iterations"] + batch["forward_passes"]).astype("float64"),
                "seconds": batch["shard"].map(seconds).astype("float64"),
                **dict(zip(WITHIN, _traces(batch["trace"]), strict=True)),
                "folder": str(snapshot.folder.root),
                "line": batch["line"],
            }
        ).join(settings, on="line")


def _refuse_contradictions(rows: pd.DataFrame) -> None:
    """Refuse rows of one cell and example, of several sweeps, that differ by more than rounding."""
    example = ["cell", *EXAMPLE]
    twice = rows[rows.duplicated(example, keep=False)].replace(np.inf, np.nan)
    twice = twice.assign(success=twice["l1"].notna())
    pairs = twice.merge(twice.drop_duplicates(example), on=example, suffixes=("", "_first"))
    differs = contradictory(pairs, "", "_first")
    if differs.any():
        pair = pairs[differs].iloc[0]
        raise UserError(
            f"results: image {pair['image']} of cell {pair['cell']} has contradictory rows in {pair['folder_first']} "
            f"and {pair['folder']}; give one of them"
        )


def _traces(traces: "pd.Series[Any]") -> Floats:
    """Return the traces (6, R) of rows: infinite before the first success, NaN without a budget."""
    values = np.full((len(traces), len(WITHIN)), np.nan)
    known = traces.notna().to_numpy()
    if known.any():
        found = np.array([[*trace] for trace in traces[known]], dtype=np.float64)
        values[known] = np.where(np.isnan(found), np.inf, found)
    return values.T


def _labels(attacks: pd.DataFrame) -> "pd.Series[str]":
    """Return the label of each attack with its β, and with its precision if that varies."""
    labels, several = Labels(lines=attacks, victims=()), attacks["precision"].nunique() > 1
    texts = [
        ", ".join([labels.setting({**line, "kappa": np.nan}), *([str(line["precision"])] if several else [])])
        for line in attacks.to_dict("records")
    ]
    return pd.Series(texts, index=attacks.index, dtype=object)
