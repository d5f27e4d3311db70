"""What a worker is told, and what it is asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from eadbench.attacks.engine.precision import Precision
from eadbench.harness.plan.grid import Shard
from eadbench.models import Recipe


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every worker of a sweep is told."""

    results: Path
    models: Path | None
    """A store of trained models that other sweeps share."""
    batch_size: int | Literal["auto"]
    threads: int
    precision: Precision
    """In which attacks search; successes are confirmed in float32."""


@dataclass(frozen=True, kw_only=True)
class VictimTask:
    """Make the model of a recipe ready: trained, or loaded from the user's weights file, and tested."""

    recipe: Recipe
    weights: str | None
    tested_on: Sequence[str]
    """The splits on which it is tested."""
    examples: Sequence[str]
    """The shards whose adversarial images it learns from."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Test the stored adversarial images of a shard on another victim."""

    shard: str
    onto: str
    """The other victim's digest."""


Task = VictimTask | Shard | Transfer


class Tally(NamedTuple):
    """What a task took; beside the seconds, of shards only."""

    seconds: float
    gradient_evaluations: int = 0
    computed: int = 0
    """Gradient evaluations, with those of rows that no example needed."""
    examples: int = 0
    successes: int = 0
    batch_size: int = 0
    unconfirmed: int = 0
    """Examples that the search had found and float32 did not confirm, of every decision rule."""
