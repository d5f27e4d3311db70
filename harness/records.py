"""What is kept of an invocation for MLflow, and what became of it there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ParamValue = str | float | int | None
Curve = Sequence[tuple[int, float]]
"""Steps, ascending, and the metric at each."""


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """One finished cell of a sweep, as MLflow is to show it.

    Attributes
    ----------
    digest
        The cell's digest: its identity within the invocation.
    name
        The run's name, such as ``EAD-EN beta=0.001 kappa=0``.
    params
        The cell's parameters. Those that are None do not apply to this cell and are left out.
    metrics
        For example ``best.asr`` or ``average.l1``. None, NaN and infinities are left out.
    dataset, dataset_digest
        Name and digest of the data set that was attacked.
    victim
        Digest of the victim that was attacked, which is one of the sweep's.
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
    """A victim of a sweep, which is a run and a logged model in MLflow.

    Attributes
    ----------
    digest
        Of its recipe: the identity of the model within the experiment, and of the run within the invocation.
    name
        Of the run and the model.
    params
        The recipe.
    metrics
        Of the run and the model: its accuracy, and how it withstood the attacks.
    dataset, dataset_digest
        Name and digest of the data set that it was attacked and tested on.
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
    """One invocation of a sweep, as far as it has come.

    Attributes
    ----------
    experiment
        The spec's name.
    invocation
        Unique id of this invocation (letters, digits, dashes): the identity of the parent run.
    name
        Name of the parent run.
    tags, params, metrics
        Of the parent run. The newest tags and metrics win; a param keeps the value it was first given.
    artifacts
        File name to text, such as ``spec.yaml``; of a table as CSV, MLflow is given a table too.
    cells
        The cells that are complete.
    finished
        True once no further cell will come.
    files
        Name of an artifact to the file that it is a copy of.
    curves
        Metrics of the parent run that have steps, written once.
    victims
        Those that cells attacked, or were tested on.
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


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What `log_sweep` left in the store.

    Attributes
    ----------
    run_id, experiment_id
        Of the parent run.
    cells_written
        Child runs created or completed by this call.
    cells_found
        Child runs that were complete before it.
    """

    run_id: str
    experiment_id: str
    cells_written: int
    cells_found: int
