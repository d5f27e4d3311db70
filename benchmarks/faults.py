"""The sweep of `benchmarks/chaos.py`, its faults, and a small disk to fill."""

import random
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SPEC = """
name: chaos
dataset: {{name: digits}}
images: {{count: {images}}}
victims:
  - {{arch: digits, training: {{epochs: {epochs}, batch_size: 32, learning_rate: 3e-3}}, evaluated_on: all}}
  - {{arch: digits, training: {{epochs: {epochs}, batch_size: 32, learning_rate: 3e-3, seed: 1}}, evaluated_on: all}}
attacks:
  - {{name: ead, beta: [1e-3, 1e-2], max_iterations: {iterations}}}
  - {{name: cw, max_iterations: {iterations}}}
shard_size: 9
"""
SHARDS_PER_IMAGE = 6


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The size of the cluster and of the sweep, and the number of faults of each kind."""

    size: int = 3
    """Nodes of the cluster."""
    workers: Sequence[int] = (2, 3, 4)
    """Numbers of workers that drivers choose from."""
    shards: int = 200
    kills: int = 50
    nodes: int = 5
    drivers: int = 5
    full_disk: bool = True
    seed: int = 0
    epochs: int = 60
    iterations: int = 60


def spec_of(asked: Asked) -> str:
    """Return the sweep as YAML."""
    images = -(-asked.shards // SHARDS_PER_IMAGE)
    return SPEC.format(images=images, epochs=asked.epochs, iterations=asked.iterations)


class Fault(NamedTuple):
    """A fault, and the number of stored parts after which it happens."""

    due: float
    kind: str


def schedule(asked: Asked, draw: random.Random) -> deque[Fault]:
    """Return the faults in order: some in training, a few in transfers, most in attacks.

    A tenth of the kills, and one driver's, happen in training; one kill in 25 happens in transfers.
    """
    early, late, driver = asked.kills // 10, asked.kills // 25, min(1, asked.drivers // 2)
    faults = [Fault(0, "kill")] * early + [Fault(0, "driver")] * driver
    faults += [Fault(draw.uniform(0.02, 0.9), "kill") for _ in range(asked.kills - early - late)]
    faults += [Fault(draw.uniform(1.02, 1.5), "kill") for _ in range(late)]
    faults += [Fault(draw.uniform(0.1, 0.9), "driver") for _ in range(asked.drivers - driver)]
    for i in range(asked.nodes):
        share = (i + draw.uniform(0.2, 0.8)) / asked.nodes * 0.85
        faults += [Fault(share, "remove"), Fault(share + 0.05, "add")]
    faults += [Fault(0.5, "fill")] * asked.full_disk
    draw.shuffle(faults)
    return deque(sorted((Fault(share * asked.shards, kind) for share, kind in faults), key=lambda fault: fault.due))


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[str]:
    """Mount a tmpfs of `size` bytes at a new folder; yield why that failed, or an empty text."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "eadbench-chaos", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        yield str(getattr(error, "stderr", None) or error).strip()
        return
    try:
        yield ""
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Write a file until its disk is full."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
