"""Attack shards without the harness, in two processes."""

import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from eadbench.harness import datasets
from eadbench.harness.execution.allocator import keep_freed_memory
from eadbench.harness.plan.grid import Shard
from eadbench.harness.spec import Spec
from eadbench.models import load

STATE: dict[str, Any] = {}
"""The data and the model of this process."""


def initialise(folder: Path, spec: Spec, barrier: Any) -> None:
    """Load the data and the model, and wait for the other process."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as workers do
    model, _, _ = load(next((folder / "models").glob("*/recipe.json")).parent)
    data = datasets.load(spec.dataset.name, **spec.dataset.parameters)
    STATE.update(data=data, model=model.to(memory_format=torch.channels_last))
    barrier.wait()


def attack(shard: Shard) -> None:
    """Attack the examples of a shard."""
    images = STATE["data"].test.images([example.image for example in shard.examples])
    targets = torch.tensor([example.target for example in shard.examples])
    shard.setting.build(shard.examples)(STATE["model"], images, targets, batch_size=128)


def measure(shards: Sequence[Shard], folder: Path, spec: Spec) -> float:
    """Return the seconds that two warm processes take for the shards of a sweep with its results in `folder`."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, initialise, (folder, spec, context.Barrier(2))) as pool:
        pool.map(attack, shards[:4], chunksize=1)
        started = time.perf_counter()
        pool.map(attack, shards, chunksize=1)
        return time.perf_counter() - started
