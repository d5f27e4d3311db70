"""The sweep of `benchmarks/chaos.py`, the faults that it meets, and a disk that is soon full."""

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
    """A sweep on a cluster of some size, and how many faults of each kind it meets."""

    size: int = 3
    workers: Sequence[int] = (2, 3, 4)
    shards: int = 200
    kills: int = 50
    nodes: int = 5
    drivers: int = 5
    full_disk: bool = True
    seed: int = 0
    epochs: int = 60
    iterations: int = 60


def spec_of(asked: Asked) -> str:
    """The sweep, as YAML."""
    images = -(-asked.shards // SHARDS_PER_IMAGE)
    return SPEC.format(images=images, epochs=asked.epochs, iterations=asked.iterations)


class Fault(NamedTuple):
    """A fault, and how many parts there must be before it."""

    due: float
    kind: str


def schedule(asked: Asked, draw: random.Random) -> deque[Fault]:
    """A tenth of the kills and a driver's in training, a few kills in transfers, and all else in attacks."""
    early, late, driver = asked.kills // 10, asked.kills // 25, min(1, asked.drivers // 2)
    found = [Fault(0, "kill")] * early + [Fault(0, "driver")] * driver
    found += [Fault(draw.uniform(0.02, 0.9), "kill") for _ in range(asked.kills - early - late)]
    found += [Fault(draw.uniform(1.02, 1.5), "kill") for _ in range(late)]
    found += [Fault(draw.uniform(0.1, 0.9), "driver") for _ in range(asked.drivers - driver)]
    for i in range(asked.nodes):
        at = (i + draw.uniform(0.2, 0.8)) / asked.nodes * 0.85
        found += [Fault(at, "remove"), Fault(at + 0.05, "add")]
    found += [Fault(0.5, "fill")] * asked.full_disk
    draw.shuffle(found)
    return deque(sorted((Fault(due * asked.shards, kind) for due, kind in found), key=lambda fault: fault.due))


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[str]:
    """A tmpfs of that many bytes at a place, which is made; yields why there is none, if so."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "eadbench-chaos", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        yield str(getattr(error, "stderr", None) or error).strip()
        return
    try:
        yield ""
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(ballast: Path) -> None:
    """Write a file until its disk is full."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
