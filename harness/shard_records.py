"""What is kept of shards beside their rows: what one took, and why one was given up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What a shard took, and where: `DIR/shards/SHARD.json`."""

    shard: str
    split: str
    victim: str
    attack: str
    examples: int
    successes: Mapping[str, int]
    """By decision rule, or by attack where it has none; so too `unconfirmed`."""
    unconfirmed: Mapping[str, int]
    """Examples that the search found, and that did not hold in float32."""
    precision: str
    gradient_evaluations: int
    """Those that some example needed."""
    gradient_evaluations_computed: int
    gradient_evaluations_per_second: float
    started: str
    """ISO 8601, in UTC."""
    seconds: float
    worker: str
    node: str
    visible_devices: str | None
    device: str
    threads: int
    batch_size: int
    torch: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Why a task was given up: `DIR/failures/TASK.json`."""

    task: str
    """In words."""
    ended: str
    """ISO 8601, in UTC."""
    workers: Sequence[str]
    """Those that it failed on."""
    error: str
    """The last traceback."""
    victim: str | None = None
    """Of a shard, as are `attack`, `split` and `examples`."""
    attack: str | None = None
    split: str | None = None
    examples: Sequence[Mapping[str, float | None]] = ()

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return self.error.strip().rpartition("\n")[2]
