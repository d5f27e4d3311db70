"""Search for planted examples on the victims of a sweep; see :mod:`eadbench.attacks.planted`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eadbench.attacks import Attack
from eadbench.attacks.planted import Search, search_planted
from eadbench.harness.errors import UserError
from eadbench.harness.execution.recomputing import idle_worker
from eadbench.harness.labels import Labels
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["LEAST_FOUND", "OnVictim", "planted_on_victims"]

LEAST_FOUND = 0.95
"""The share of planted examples that an attack must find to be trusted, as in the paper."""


@dataclass(frozen=True, kw_only=True)
class OnVictim:
    """What an attack found of the planted examples on a victim."""

    victim: str
    """The victim's label."""
    search: Search

    @property
    def found(self) -> float:
        """Share of the planted examples that the attack found; 0 if none could be planted."""
        return self.search.found.float().mean().item() if len(self.search.found) else 0.0

    @property
    def by_chance(self) -> float:
        """Share that random points found."""
        return self.search.by_chance.float().mean().item() if len(self.search.found) else 0.0

    @property
    def passed(self) -> bool:
        """Whether the attack found enough."""
        return self.found >= LEAST_FOUND


def planted_on_victims(
    snapshot: Snapshot, attack: Attack, *, norm: str, epsilon: float, count: int, allow_code: bool = False
) -> Iterator[OnVictim]:
    """Plant an adversarial example beside each of the first images that a sweep attacks on each victim, and search.

    Raises
    ------
    UserError
        The sweep has no victims yet, or one has no linear layer; the data set is not on this machine, or the results
        name code that is not allowed.
    """
    victims = [victim for victim in snapshot.victims if victim.attacked and victim.images]
    if not victims:
        raise UserError(f"{snapshot.folder.root}: its victims are not ready; run its spec there first")
    worker = idle_worker(snapshot, allow_code=allow_code)
    labels = Labels.of_victims(snapshot.victims).victim
    split = getattr(worker.data, snapshot.spec.images.split)
    for victim in victims:
        chosen: Sequence[int] = victim.images[:count]
        images = split.images(list(chosen)).to(worker.device)
        try:
            search = search_planted(attack, worker.victim(victim.digest), images, norm=norm, epsilon=epsilon)
        except ValueError as error:
            raise UserError(f"{labels[victim.digest]}: {error}") from error
        yield OnVictim(victim=labels[victim.digest], search=search)
