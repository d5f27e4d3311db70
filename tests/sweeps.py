"""Small sweeps on the digits, and ways to run them."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console

from eadbench.harness import frames, spec
from eadbench.harness.datasets import DataSet
from eadbench.harness.execution import sweep
from eadbench.harness.execution.executor import Executor
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.serial import SerialExecutor
from eadbench.harness.plan.tasks import Setup
from eadbench.harness.results.folder import Results
from eadbench.harness.results.owner import Owner
from tests import MODELS

SMALL = """
name: small
dataset: {name: digits}
images: {count: 3}
victims: [{arch: digits, training: {epochs: 4, batch_size: 32, learning_rate: 3e-3}}]
attacks:
  - {name: cw, binary_search_steps: 3, max_iterations: 20}
  - {name: fgm, norm: [l1, linf], epsilons: [0.1, 0.3, 2]}
  - {name: ifgm, norm: l2, steps: 3, epsilons: [0.1, 0.5, 1, 2]}
  - {name: ead, beta: [1e-3, 1e-2], binary_search_steps: 4, max_iterations: 30}
shard_size: 20
batch_size: 16
"""


def small(**changes: Any) -> spec.Spec:
    """Return the small sweep with top-level keys changed."""
    return spec.parse(yaml.safe_load(SMALL) | changes)


def run(what: spec.Spec, folder: Path, *, ray_workers: int | None = None, models: Path | None = None) -> sweep.Done:
    """Run a sweep in this process, or by a number of Ray workers.

    Unless `models` is given, the sweeps of all tests share the models that they train.
    """
    models = Path(os.environ[MODELS]) if models is None else models

    def executor(setup: Setup, data: DataSet, progress: Progress) -> Executor:
        if ray_workers is None:
            return SerialExecutor(setup, data, progress)
        from eadbench.harness.execution.ray import RayExecutor

        resources = what.resources.model_copy(update={"workers": ray_workers})
        with_workers = replace(what, resources=resources)
        return RayExecutor(setup, data, progress, address=None, spec=with_workers)

    with Progress(Console(quiet=True)) as progress, Owner(folder, progress.warn) as owner:
        return sweep.run(what, Results(folder), executor, progress, owner=owner, models=models)


def rows(folder: Path, *, without: Sequence[str] = ()) -> pd.DataFrame:
    """Return the rows of a sweep, sorted."""
    frame = frames.Results(folder).rows().drop(columns=list(without))
    return frame.sort_values(["cell", "image", "target"], ignore_index=True)
