"""The results of a sweep as pandas frames and tensors."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from torch import Tensor

from eadbench.harness.analysis import summary as summaries
from eadbench.harness.analysis import transfer
from eadbench.harness.analysis.aggregate import ALL_TARGETS, FIGURES, GROUPS, after_rounding
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.errors import UserError
from eadbench.harness.labels import dataset_label
from eadbench.harness.parquet.adversarial import read_images
from eadbench.harness.parquet.rows import SCHEMA
from eadbench.harness.results.folder import Results as ResultsFolder
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.spec import Spec
from eadbench.harness.storage import located

__all__ = ["Results"]

Case = Literal["best", "average", "worst", "all_targets"]
_SETTING = ["dataset", "victim", "tested_on", "attack", "beta", "kappa"]


class Results:
    """The results of a sweep, as they are when they are first asked for.

    Parameters
    ----------
    folder
        What `run` wrote: a folder, or a URI such as ``s3://bucket/sweep``.
    allow_code
        Whether the code that the results name may be imported, for pictures of a data set of your own.
    spec
        The spec that the results answer; the one in the folder unless given.

    Raises
    ------
    UserError
        The folder has no results, or a file in it is damaged, which shows when it is read: by a method.
    """

    def __init__(
        self, folder: str | Path | ResultsFolder, *, allow_code: bool = False, spec: Spec | None = None
    ) -> None:
        place = located(folder) if isinstance(folder, str) else folder
        results = place if isinstance(place, ResultsFolder) else ResultsFolder(place)
        self.snapshot = Snapshot(results, allow_code=allow_code, spec=spec)

    def __repr__(self) -> str:
        return f"Results({str(self.folder)!r})"

    @property
    def folder(self) -> Path:
        """Where the results are."""
        return self.snapshot.folder.root

    @property
    def spec(self) -> Spec:
        """The spec that the results answer."""
        return self.snapshot.spec

    @cached_property
    def summary(self) -> Summary:
        """The figures of every cell and case, with the labels of victims and attacks."""
        return summaries.read(self.snapshot)

    def rows(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return a row per example and decision rule, with all columns or some.

        Raises
        ------
        UserError
            A column does not exist.
        """
        unknown = [name for name in columns or () if name not in SCHEMA.names]
        if unknown:
            raise UserError(f"columns: there is none called {unknown[0]!r}; there are {', '.join(SCHEMA.names)}")
        return self.snapshot.frame(columns)

    def cells(self) -> pd.DataFrame:
        """Return a line per cell of the spec: its digest, its victim, and all its hyperparameters."""
        return self.snapshot.settings.drop(columns="series")

    def table(self, case: Case = "average", *, quantised: bool = False) -> pd.DataFrame:
        """Return a line per cell and victim tested on, with the figures of one case.

        Parameters
        ----------
        case
            "best", "average" or "worst": per image over its target classes; "all_targets": the mean over every target.
        quantised
            Whether the figures are those after rounding to 8 bits; NaN in a transfer.

        Returns
        -------
        DataFrame with the labels of data set, victim, victim tested on and attack; β and κ; ASR in percent, and the
        distortions, each with the ends of its 95 % interval; the number of images; the cell.
        """
        if case not in GROUPS:
            raise UserError(f"case: must be one of {', '.join(GROUPS)}, got {case!r}")
        group = case == "all_targets"
        lines, labels = self.summary.lines, self.summary.labels
        lines = after_rounding(lines) if quantised else lines
        lines = lines[lines["case"] == ("best" if group else case)]  # the mean over all targets is in each case's line
        figures = dict(zip(ALL_TARGETS if group else FIGURES, FIGURES, strict=True))
        table = lines.assign(
            dataset=lines["dataset"].map(dataset_label),
            victim=lines["model"].map(labels.victim),
            tested_on=[labels.victim.get(digest, digest) for digest in lines["evaluated_on"]],
            attack=lines["series"].map(labels.series),
        )[_SETTING]
        for source, name in figures.items():
            for end in ("", "_lo", "_hi"):
                table[name + end] = lines[source + end]
        return table.assign(images=lines["images"], cell=lines["cell"]).reset_index(drop=True)

    def transfer(self) -> pd.DataFrame:
        """Return the ASR over every target, in percent, of each cell (line) on each victim (column).

        Raises
        ------
        UserError
            Nothing was tested on another victim.
        """
        labels = self.summary.labels
        matrix = transfer.matrix(self.summary.lines, self.summary.victims)
        if matrix is None:
            raise UserError(f"{self.folder}: no example was tested on another victim; see `evaluated_on` of a victim")
        heads = {
            "crafted_on": matrix["model"].map(labels.victim),
            "attack": matrix["series"].map(labels.series),
            **{name: matrix[name] for name in ("beta", "kappa", "cell")},
        }
        tested = transfer.victims_tested_on(matrix)
        rates = matrix[tested].rename(columns={digest: labels.victim.get(digest, digest) for digest in tested})
        return pd.concat([pd.DataFrame(heads), rates], axis=1)

    def images(self, cell: str | None = None, *, images: Sequence[int] | None = None) -> tuple[pd.DataFrame, Tensor]:
        """Return the stored adversarial images of successes.

        Parameters
        ----------
        cell
            The digest of a cell, or its first digits; every cell unless given.
        images
            Indices of images; every image unless given.

        Returns
        -------
        DataFrame
            The cell, image and target of each: N rows.
        Tensor
            float32 (N, C, H, W) in [0, 1].
        """
        cells = None if cell is None else [digest for digest in self.snapshot.cells if digest.startswith(cell)]
        if cells is not None and len(cells) != 1:
            raise UserError(
                f"cell: {'none' if not cells else 'more than one'} of the sweep's cells begins with {cell!r}"
            )
        if self.spec.save_images == "none":
            raise UserError(f"{self.folder}: no images are stored there; run its spec with save_images: successes")
        parts = sorted(self.snapshot.folder.images.glob("[!.]*.parquet"))
        keys, pixels = read_images(parts, cells=cells or list(self.snapshot.cells), images=images)
        return keys, torch.from_numpy(pixels)
