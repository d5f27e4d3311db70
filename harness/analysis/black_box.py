"""Where an attack without gradients breaks an example on which one with gradients fails.

Shape letters: R rows.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.attacks.autoattack import ENSEMBLES
from eadbench.harness.analysis.norms import NORMS, minimised

__all__ = ["BLACK_BOX", "BlackBox"]

BLACK_BOX = ("zoo", "hopskipjump", "square", "substitute")
"""The attacks that see the victim's outputs alone."""
_FOR_ALL_IMAGES = ("universal",)
"""Attacks with gradients that search for no image in particular: their failures say nothing of its gradients."""
_ROUNDING = 1.001
"""A distance may exceed an ε by this factor, in float32."""
_EXAMPLE = ["image", "target"]
_UNTARGETED = -1


class BlackBox:
    """The rows of attacks with and without gradients on the same victims, at the same κ.

    Parameters
    ----------
    lines
        The settings of the lines by their numbers, of cells on the victims that they attack.
    """

    def __init__(self, lines: pd.DataFrame) -> None:
        parameters = [json.loads(text or "{}") for text in lines["parameters"]]
        radii = [float(each["epsilon"]) if each.get("epsilon") else np.inf for each in parameters]
        setting = lines[["attack", "norm", "decision_rule"]].itertuples(index=False, name=None)
        self._lines = pd.DataFrame(
            {
                "cell": lines["cell"],
                "victim": lines["model"],
                "kappa": lines["kappa"].fillna(0.0),
                "black": lines["attack"].isin(BLACK_BOX),
                "for_all": lines["attack"].isin(_FOR_ALL_IMAGES),
                "norms": pd.Series([minimised(*each) for each in setting], index=lines.index, dtype=object),
                "radius": radii,
            },
            index=lines.index,
        )
        kinds = self._lines.groupby(["victim", "kappa"])["black"].transform("nunique")
        self._compared = set(self._lines.index[kinds > 1])
        self._ensembles = {
            line: [*names] for line, each in zip(lines.index, parameters, strict=True) if (names := _members(each))
        }
        self._parts: list[pd.DataFrame] = []
        self._within: list[pd.DataFrame] = []

    def watch(self, batch: pd.DataFrame) -> None:
        """Keep what is needed of a batch of rows."""
        rows = batch[batch["line"].isin(self._compared)]
        if len(rows):
            target = rows["target"].astype("Int64").fillna(_UNTARGETED).astype("int64")
            distances = rows[[*NORMS]].astype("float64").where(rows["success"].astype(bool), np.inf)
            self._parts.append(distances.assign(line=rows["line"], image=rows["image"].astype("int64"), target=target))
        if self._ensembles:
            marks = pd.DataFrame({"line": batch["line"], "late": self._late_squares(batch)})
            self._within.append(marks[marks["line"].isin(self._ensembles)])

    @property
    def shares(self) -> Mapping[str, float]:
        """By cell of an attack with gradients: the share of its examples on which it failed, and another did not.

        In an ensemble, they are those that Square broke after a member with gradients had failed.
        """
        found: dict[str, float] = {}
        if self._within:
            means = pd.concat(self._within).groupby("line")["late"].mean()
            found = dict(zip(self._lines["cell"].loc[means.index].tolist(), means.tolist(), strict=True))
        if not self._parts:
            return found
        rows = pd.concat(self._parts).set_index(_EXAMPLE)
        by_line = dict(iter(rows.groupby("line")))
        for line, own in by_line.items():
            if (share := self._beaten(line, own, by_line)) is not None:
                cell = str(self._lines["cell"][line])
                found[cell] = max(found.get(cell, 0.0), share)
        return found

    def _beaten(self, line: Any, own: pd.DataFrame, by_line: Mapping[Any, pd.DataFrame]) -> float | None:
        """Return the share of a line's examples that only attacks without gradients break; None if there are none."""
        lines = self._lines
        [white] = lines.loc[[line]].to_dict("records")
        if white["black"] or white["for_all"]:
            return None
        others = lines[lines["black"] & (lines["victim"] == white["victim"]) & (lines["kappa"] == white["kappa"])]
        beaten, met = (pd.Series(False, index=own.index) for _ in range(2))
        for other, norms in others["norms"].items():
            shared = [norm for norm in norms if norm in white["norms"]]
            if other in by_line and shared:
                distance = by_line[other][shared[0]].reindex(own.index)
                met |= distance.notna()
                near = np.isfinite(distance) & (distance <= _ROUNDING * white["radius"])
                beaten |= near & np.isinf(own[shared[0]])
        return float(beaten[met].mean()) if met.any() else None

    def _late_squares(self, batch: pd.DataFrame) -> NDArray[np.float64]:
        """Mark the rows (R,) that Square broke behind a member with gradients, by 1."""
        late = {line for line, names in self._ensembles.items() if "square" in names[1:]}
        return np.asarray((batch["found_by"] == "square") & batch["line"].isin(late), dtype=np.float64)


def _members(parameters: Mapping[str, object]) -> list[str]:
    """Return the members of an ensemble; none of another attack."""
    ensemble = parameters.get("ensemble")
    if isinstance(ensemble, str):
        return [*ENSEMBLES.get(ensemble, ())]
    return [str(name) for name in ensemble] if isinstance(ensemble, list) else []
