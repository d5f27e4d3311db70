"""Shards attacked without the harness, in two processes."""

import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from eadbench.harness import datasets
from eadbench.harness.execution.allocator import keep_freed_memory
from eadbench.harness.plan.grid import Shard
from eadbench.harness.spec.schema import Spec
from eadbench.models import load

STATE: dict[str, Any] = {}
"""What a bare process has loaded."""


def get_ready(folder: Path, what: Spec, together: Any) -> None:
    """Load what attacks take, and wait until the other process has too."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as workers do
    model, _, _ = load(next((folder / "models").glob("*/recipe.json")).parent)
    STATE.update(data=datasets.load(**what.dataset), model=model.to(memory_format=torch.channels_last))
    together.wait()


def bare(shard: Shard) -> None:
    """Attack a shard's examples."""
    images = STATE["data"].test.images([example.image for example in shard.examples])
    targets = torch.tensor([example.target for example in shard.examples])
    shard.setting.build(shard.examples)(STATE["model"], images, targets, batch_size=128)


def seconds_of(shards: Sequence[Shard], folder: Path, what: Spec) -> float:
    """How long two processes take for the shards of a sweep with its results in a folder, once both are warm."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, get_ready, (folder, what, context.Barrier(2))) as pool:
        pool.map(bare, shards[:4], chunksize=1)
        clock = time.perf_counter()
        pool.map(bare, shards, chunksize=1)
        return time.perf_counter() - clock
