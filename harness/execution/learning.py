"""What an attack learns of a victim before it attacks it: learnt once, and stored in `DIR/learnt`."""

from collections.abc import Callable
from typing import Any

import safetensors.torch
import torch
from torch import nn

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

__all__ = ["ready"]


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
    path = results.root / "learnt" / f"{digest_of(recipe)}.safetensors"
    device = next((weight.device for weight in victim.parameters()), torch.device("cpu"))
    with models.lock(path, notice):
        if not path.is_file():
            if not len(data.train):
                raise UserError(f"{shard.setting.attack} learns from training images, and {data.name} has none")
            order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(own.seed))
            images = data.train.images(order[: own.images].tolist()).to(device)
            learnt = own.learn(victim, images).cpu().contiguous()
            facts = {"recipe": canonical_json(recipe)}
            replace_file(path, safetensors.torch.save({"learnt": learnt}, facts))
    return with_learnt(attack, read_safetensors(str(path), path.read_bytes())["learnt"].to(device))
