"""A snapshot of a results folder: it reads every file once, when first needed."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import pandas as pd

from eadbench.harness import datasets
from eadbench.harness.labels import series_of
from eadbench.harness.parquet import rows as parquet
from eadbench.harness.parquet.stored import StoredRows, Wanted
from eadbench.harness.plan.cells import Cell, Victim
from eadbench.harness.plan.grid import blocks, examples_per_cell
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed, ShardRecord
from eadbench.harness.spec import Spec
from eadbench.models import Recipe, canonical_json

__all__ = ["Snapshot"]

SETTING = (
    *("cell", "model", "arch", "defense", "defense_parameters", "temperature"),
    *("attack", "norm", "decision_rule", "beta", "kappa", "parameters"),
)
"""Columns of a cell's line."""
_NUMBERS = ("temperature", "beta", "kappa")
_AT_ONCE = 16
"""Number of records read at the same time; this speeds up object stores."""


class Snapshot:
    """The contents of a results folder.

    Parameters
    ----------
    allow_code
        Whether the code that the results name may be imported, such as a data set of the user's own for pictures.
    spec
        The spec that the rows answer; the one in the folder unless given.

    Raises
    ------
    UserError
        Something in the folder leads out of it; or a file is damaged: then the property that reads it raises this.
    """

    def __init__(self, folder: Results, *, allow_code: bool = False, spec: Spec | None = None) -> None:
        folder.refuse_links_out()
        self.folder, self._allow_code, self._spec = folder, allow_code, spec

    @cached_property
    def spec(self) -> Spec:
        """The spec of the sweep."""
        return self.folder.spec(allow_code=self._allow_code) if self._spec is None else self._spec

    def data(self) -> datasets.DataSet | str:
        """Return the data set, or why it is not on this machine. Nothing is downloaded."""
        entry = self.spec.dataset
        return datasets.at_hand(entry.name, entry.parameters, allow_code=self._allow_code)

    @cached_property
    def _dataset_and_victims(self) -> tuple[str, Sequence[Victim]]:
        return self.folder.victims()

    @property
    def dataset(self) -> str:
        """Identity of the data set; empty before the victims are ready."""
        return self._dataset_and_victims[0]

    @property
    def victims(self) -> Sequence[Victim]:
        """Victims attacked or tested on, in the order of the spec; none before they are ready."""
        return self._dataset_and_victims[1]

    @cached_property
    def cells(self) -> Mapping[str, Cell]:
        """Cells of the spec by their digests, in the order of the spec."""
        parts = blocks(self.spec, self.dataset, self.victims)
        return {cell.digest: cell for block in parts for cell in block.cells()}

    @cached_property
    def settings(self) -> pd.DataFrame:
        """One line per cell of the spec, with the columns that all rows of the cell share."""
        victims = {victim.digest: victim for victim in self.victims}
        lines = [_setting(digest, cell, victims[cell.victim]) for digest, cell in self.cells.items()]
        settings = pd.DataFrame(lines, columns=[*SETTING]).astype(
            {"beta": "float64", "kappa": "float64", "temperature": "float64"}
        )
        settings["targets"] = settings["cell"].map(self.targets)
        return settings.assign(series=series_of(settings))

    @cached_property
    def stored_rows(self) -> StoredRows:
        """Rows that answer the spec: rows of its cells, its drawn images and its victims."""
        cells = {digest: cell.victim for digest, cell in self.cells.items()}
        drawn = {victim.digest: victim.images for victim in self.victims}
        wanted = Wanted(cells=cells, drawn=drawn, targets=self.targets)
        return StoredRows(sorted(self.folder.examples.glob("[!.]*.parquet")), wanted)

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows that answer the spec, with all columns or some."""
        return self.stored_rows.read(parquet.SCHEMA.names if columns is None else columns).drop(columns="line")

    @cached_property
    def recipes(self) -> Mapping[str, Recipe]:
        """Recipes of the stored models, by their digests."""
        digests = sorted(path.parent.name for path in (self.folder.root / "models").glob("*/recipe.json"))
        return {digest: self.folder.recipe(digest) for digest in digests}

    @cached_property
    def shard_records(self) -> Sequence[ShardRecord]:
        """Records of the finished shards of every split, in the order of their starts."""
        shards = sorted(path.stem for path in self.folder.shards.glob("[!.]*.json"))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return sorted(pool.map(self.folder.shard_record, shards), key=lambda record: record.started)

    @cached_property
    def failures(self) -> Sequence[Failed]:
        """Failures of abandoned tasks, the latest first."""
        return self.folder.failure_records()

    @cached_property
    def classes(self) -> int | None:
        """Number of classes that examples may be aimed at; None before the first victim is stored."""
        return len(self.folder.target_classes()) or None

    @cached_property
    def rows_per_line(self) -> Mapping[str, int]:
        """Number of rows of a complete cell on one victim, by the cell; none before the first victim is stored."""
        classes = self.classes
        if classes is None:
            return {}
        counts = examples_per_cell(self.spec, classes, self.victims)
        return {digest: counts[cell.victim, canonical_json(cell.targets)] for digest, cell in self.cells.items()}

    @cached_property
    def targets(self) -> Mapping[str, str]:
        """How each cell's target classes are chosen, in words."""
        texts = {canonical_json(each.target_choice): each.target_text for each in self.spec.by_targets()}
        return {digest: texts[canonical_json(cell.targets)] for digest, cell in self.cells.items()}


def _setting(digest: str, cell: Cell, victim: Victim) -> dict[str, Any]:
    """Return a cell's values of the columns `SETTING`."""
    return {
        "cell": digest,
        "model": victim.digest,
        "arch": victim.arch,
        "defense": victim.defense,
        "defense_parameters": canonical_json(victim.defense_parameters),
        "temperature": victim.temperature,
        "attack": cell.attack,
        "norm": cell.parameters.get("norm"),
        "decision_rule": cell.decision_rule,
        "beta": cell.beta,
        "kappa": cell.kappa,
        "parameters": cell.other_parameters,
    }
