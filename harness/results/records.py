"""Records beside the rows: the costs of a shard, the failure of a task, and the evaluation of a victim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """The costs of a shard, and the worker that ran it: `DIR/shards/SHARD.json`."""

    shard: str
    split: str
    victim: str
    attack: str
    examples: int
    successes: Mapping[str, int]
    """Counts by decision rule, or by the attack's name if it has no rules; likewise in `unconfirmed`."""
    unconfirmed: Mapping[str, int]
    """Successes of the search that failed when they were tested again, in float32."""
    precision: str
    gradient_evaluations: int
    """Gradient evaluations that the examples needed."""
    gradient_evaluations_computed: int
    """All gradient evaluations, including rows that only filled up a batch."""
    gradient_evaluations_per_second: float
    started: str
    """Time in ISO 8601, UTC."""
    seconds: float
    worker: str
    node: str
    visible_devices: str | None
    device: str
    threads: int
    batch_size: int
    torch: str
    cuda: str | None
    """Version of CUDA, and of the GPU's driver; None on a CPU."""
    random: bool = False
    """Whether the victim gave other logits for the same images, so that a success may not last."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The failure of an abandoned task: `DIR/failures/TASK.json`."""

    task: str
    """Name of the task for messages."""
    ended: str
    """Time in ISO 8601, UTC."""
    workers: Sequence[str]
    """Workers on which the task failed."""
    error: str
    """The last traceback."""
    victim: str | None = None
    """Digest of the victim. Only shards have `victim`, `attack`, `split` and `examples`."""
    attack: str | None = None
    split: str | None = None
    examples: Sequence[Mapping[str, float | None]] = ()

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return last_line(self.error)


def last_line(text: str) -> str:
    """Return the last line of a text. In a traceback, this is the error and its message."""
    return text.strip().rpartition("\n")[2]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The accuracy of a victim on a split of a data set."""

    dataset: str
    """The data set's identity."""
    size: int
    wrong: Sequence[int]
    """Indices of the misclassified images, with those whose logits are not finite."""
    nonfinite: int = 0
    """Images whose logits are not finite."""
    warnings: Sequence[str] = ()
    """What is suspicious about the victim, each in one line."""
    examples: Sequence[int] = ()
    """How many adversarial examples it learned from, and how many its training asked for; empty for other trainings."""
    held_out: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """The accuracy or robust accuracy on held-out images after each epoch, in [0, 1]; empty if none were held out."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What :func:`eadbench.attacks.figures_of` measured on some images of the split; empty for earlier evaluations."""

    @property
    def accuracy(self) -> float:
        """Share of correctly classified images, in [0, 1]."""
        return 1 - len(self.wrong) / self.size
