"""Check the victims of a spec before workers start: each is built, given its weights, and probed on real images.

Attacks fool no network that is broken, so a broken network would look robust. What is wrong is one line now, not a
failed shard in an hour.
"""

from collections.abc import Sequence
from itertools import chain

from eadbench import models
from eadbench.harness.datasets import DataSet, Split
from eadbench.harness.errors import UserError
from eadbench.harness.execution.check_process import SECONDS, suspicions_apart
from eadbench.harness.execution.probing import sample, suspicions_of
from eadbench.harness.messages import listed
from eadbench.harness.plan.recipes import Planned
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import check_recipe
from eadbench.models.hubs import is_hub

__all__ = ["check_victims", "class_suspicions"]


def check_victims(
    planned: Sequence[Planned], data: DataSet, results: Results, split: Split, seconds: float | None = None
) -> list[str]:
    """Check the victims that are not stored yet. Return what is suspicious about the data, and given weights.

    Networks of other people's code are checked in a process of their own, which has some `seconds`.

    Raises
    ------
    UserError
        A network cannot be built, its weights do not fit, it does not map images of the data set to logits, or a
        training split is missing.
    """
    images = sample(split)
    networks: set[str] = set()
    here, apart = list[Planned](), list[Planned]()
    for victim in chain.from_iterable((*each.members, each) for each in planned):
        if victim.recipe.training is not None and not len(data.train):
            raise UserError(f"{victim.where}.training: the data set has no train split; give weights instead")
        if models.is_stored(folder := results.model(victim.recipe.digest)):
            check_recipe(folder / "recipe.json")
            continue
        if (network := _network(victim.recipe)) in networks:
            continue
        networks.add(network)
        (apart if _is_foreign(victim.recipe.arch) else here).append(victim)
    suspicions = class_suspicions(data) if networks else []  # a stored victim has its own
    for victim in here:
        suspicions += suspicions_of(victim, images)
    return suspicions + (suspicions_apart(apart, images, seconds or SECONDS) if apart else [])


def _is_foreign(arch: str) -> bool:
    """Return whether an architecture is code of neither this package nor an installed hub."""
    return arch.startswith("torchhub:") or (":" in arch and not is_hub(arch) and not arch.startswith("__main__:"))


def class_suspicions(data: DataSet) -> list[str]:
    """Return a warning about classes without an image; none if every class has one."""
    if not data.empty_classes:
        return []
    names = [data.class_names[label] for label in data.empty_classes]
    text = f"{len(names)} of {data.classes} classes have no image ({listed(names)}); no example is aimed at them"
    return [f"{text}. If they are no classes of the data, give it labels: remap"]


def _network(recipe: models.Recipe) -> str:
    """Return what identifies the network before its training: victims of several defences share it."""
    content = recipe.to_json()
    return models.canonical_json({name: content[name] for name in content if name not in ("defense", "training")})
