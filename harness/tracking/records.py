"""Records of an invocation for MLflow, and the outcome of logging one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ParamValue = str | float | int | None
Curve = Sequence[tuple[int, float]]
"""Ascending steps, and the metric at each."""


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """A finished cell of a sweep, for MLflow.

    Attributes
    ----------
    digest
        Digest of the cell: its identity within the invocation.
    name
        Name of the run, such as ``EAD (L1), β = 1e-3, κ = 0``.
    params
        Parameters of the cell. A value of None does not apply to this cell, and is left out.
    metrics
        Figures such as ``best.asr`` or ``average.l1``. None, NaN and infinities are left out.
    dataset, dataset_digest
        Name and digest of the attacked data set.
    victim
        Digest of the attacked victim, which is in the sweep's record.
    """

    digest: str
    name: str
    params: Mapping[str, ParamValue]
    metrics: Mapping[str, float | None]
    dataset: str
    dataset_digest: str
    victim: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VictimRecord:
    """A victim of a sweep: a run and a logged model in MLflow.

    Attributes
    ----------
    digest
        Digest of the recipe: the identity of the model within the experiment, and of the run within the invocation.
    name
        Name of the run and of the model.
    params
        The recipe.
    metrics
        Metrics of the run and of the model: accuracy, and robustness to the attacks.
    dataset, dataset_digest
        Name and digest of the data set on which the victim was attacked and tested.
    image_shape, classes
        (C, H, W) of an image, and K, the number of logits.
    """

    digest: str
    name: str
    params: Mapping[str, ParamValue]
    metrics: Mapping[str, float | None]
    tags: Mapping[str, str]
    dataset: str
    dataset_digest: str
    image_shape: Sequence[int]
    classes: int


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """One invocation of a sweep, finished or running.

    Attributes
    ----------
    experiment
        Name of the spec.
    invocation
        Unique id of this invocation (letters, digits, dashes): the identity of the parent run.
    name
        Name of the parent run.
    tags, params, metrics
        Values of the parent run. The newest tags and metrics win; a param keeps its first value.
    artifacts
        Texts by file name, such as ``spec.yaml``. A table as CSV becomes an MLflow table too.
    cells
        The complete cells.
    finished
        True if no further cell will follow.
    files
        Source file of each copied artifact, by the artifact's name.
    curves
        Metrics of the parent run with steps, written once.
    victims
        The victims attacked or tested on.
    covered
        A digest of the parts whose rows the record is of.
    """

    experiment: str
    invocation: str
    name: str
    tags: Mapping[str, str]
    artifacts: Mapping[str, str]
    params: Mapping[str, ParamValue]
    metrics: Mapping[str, float | None]
    cells: Sequence[CellRecord]
    finished: bool
    files: Mapping[str, Path] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    victims: Sequence[VictimRecord] = ()
    covered: str = ""


@dataclass(frozen=True, kw_only=True)
class Logged:
    """The outcome of `log_sweep`.

    Attributes
    ----------
    run_id, experiment_id
        Ids of the parent run and its experiment.
    cells_written
        Number of child runs that this call created or completed.
    cells_found
        Number of child runs that were complete before.
    """

    run_id: str
    experiment_id: str
    cells_written: int
    cells_found: int
