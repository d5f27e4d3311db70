"""Tasks: what a worker is asked to do. :class:`eadbench.harness.plan.grid.Shard` is one too."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from eadbench.models import Recipe

__all__ = ["Setup", "Task", "Transfer", "VictimTask"]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every worker of a sweep needs to know."""

    results: Path
    models: Path | None
    """A store of trained models that other sweeps share."""
    batch_size: int | Literal["auto"]
    threads: int
    confirmations: int = 0
    """How often the successes on a random victim are tested again."""


class Task(Protocol):
    """Anything that a worker can be asked to do."""

    @property
    def digest(self) -> str:
        """The task's id, which names its files in the results."""

    @property
    def name(self) -> str:
        """The task in words, for messages."""

    @property
    def title(self) -> str:
        """The name of the task on Ray's dashboard."""

    @property
    def kind(self) -> str:
        """What tasks share that take about equally long per example."""

    @property
    def victim_digest(self) -> str | None:
        """The stored victim that the task attacks or tests; None for a task that makes a victim."""

    @property
    def size(self) -> int:
        """How far the task moves a progress bar: its number of examples, or 1."""

    @property
    def reports_progress(self) -> bool:
        """Whether the worker reports the task's progress while it runs."""


@dataclass(frozen=True, kw_only=True)
class VictimTask:
    """Train the model of a recipe, or load its weights file, and test it."""

    recipe: Recipe
    weights: str | None
    strict: bool
    tested_on: Sequence[str]
    """The splits to test it on."""
    examples: Sequence[str]
    """Digests of the shards whose adversarial images it learns from."""

    victim_digest = None
    size = 1
    reports_progress = True

    @property
    def digest(self) -> str:
        """The digest of the recipe."""
        return self.recipe.digest

    @property
    def name(self) -> str:
        """The task in words, for messages."""
        return f"victim {self.digest}"

    @property
    def kind(self) -> str:
        """The task itself: no other takes equally long."""
        return self.name

    @property
    def title(self) -> str:
        """The name of the task on Ray's dashboard."""
        return f"make {self.recipe.arch}, {self.recipe.defense['name']} ({self.digest})"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Test the stored adversarial images of a shard on another victim."""

    shard: str
    victim_digest: str

    size = 1
    reports_progress = False

    @property
    def digest(self) -> str:
        """The digests of the shard and of the victim."""
        return f"{self.shard}-{self.victim_digest}"

    @property
    def name(self) -> str:
        """The task in words, for messages."""
        return f"shard {self.shard} on victim {self.victim_digest}"

    @property
    def kind(self) -> str:
        """The victim that examples are tested on."""
        return f"transfer to {self.victim_digest}"

    @property
    def title(self) -> str:
        """The name of the task on Ray's dashboard."""
        return f"transfer to {self.victim_digest}"
