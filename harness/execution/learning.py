"""What attacks and detectors learn of a victim before it is attacked: learnt once, and stored in `DIR/learnt`."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from eadbench import models
from eadbench.attacks.budgeted import ACCOUNTING
from eadbench.attacks.learning import learner, with_learnt
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.plan.grid import Shard
from eadbench.harness.results.folder import Results
from eadbench.models.digest import canonical_json, digest_of
from eadbench.models.files import replace_file
from eadbench.models.weights import read_safetensors

__all__ = ["learnt", "ready"]


def ready(
    attack: Any, shard: Shard, victim: nn.Module, data: DataSet, results: Results, notice: Callable[[str], None]
) -> Any:
    """Return a shard's attack, which has learnt what it learns from images of the training split.

    Parameters
    ----------
    notice
        Called with a text while another process learns the same.

    Raises
    ------
    UserError
        The data set has no training split.
    """
    own = learner(attack)
    if own is None:
        return attack
    parameters = {name: value for name, value in shard.setting.parameters.items() if name not in ACCOUNTING}
    recipe = {
        "attack": shard.setting.attack,
        "parameters": parameters,
        "victim": shard.victim.digest,
        "dataset": data.identity,
    }
    device = next((weight.device for weight in victim.parameters()), torch.device("cpu"))

    def learn() -> Mapping[str, Tensor]:
        if not len(data.train):
            raise UserError(f"{shard.setting.attack} learns from training images, and {data.name} has none")
        order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(own.seed))
        images = data.train.images(order[: own.images].tolist()).to(device)
        tensors: Mapping[str, Tensor] = own.learn(victim, images)
        return tensors

    tensors = learnt(recipe, learn, results, notice)
    return with_learnt(attack, {name: values.to(device) for name, values in tensors.items()})


def learnt(
    recipe: Mapping[str, Any],
    learn: Callable[[], Mapping[str, Tensor]],
    results: Results,
    notice: Callable[[str], None],
) -> Mapping[str, Tensor]:
    """Return what a recipe gives, by name: as it is stored under the recipe's digest, or learnt now and stored."""
    path = results.root / "learnt" / f"{digest_of(recipe)}.safetensors"
    with models.lock(path, notice):
        if not path.is_file():
            tensors = {name: values.cpu().contiguous() for name, values in learn().items()}
            figures = {name: values.item() for name, values in tensors.items() if not values.ndim}
            metadata = {"recipe": canonical_json(recipe), "figures": json.dumps(figures)}
            replace_file(path, safetensors.torch.save(tensors, metadata))
    return read_safetensors(str(path), path.read_bytes())
