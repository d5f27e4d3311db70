"""What an attack found, as rows of results and as images to store."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from eadbench.attacks import Adversarial, AttackResult
from eadbench.attacks.criterion import margin, succeeds
from eadbench.harness.parquet.rows import Key, keys_of
from eadbench.harness.plan.grid import Shard

_BATCH = 256
"""Images tested at a time on another victim."""


def crafted_rows(
    shard: Shard, dataset: str, rules: Mapping[str | None, Adversarial], result: AttackResult
) -> list[dict[str, Any]]:
    """The rows of a shard, example after example, each by every decision rule."""
    victim = shard.victim
    shared = {
        "dataset": dataset,
        "split": shard.split,
        "model": victim.digest,
        "arch": victim.arch,
        "defense": victim.defense,
        "temperature": victim.temperature,
        "trained_on": victim.trained_on,
        "evaluated_on": victim.digest,
        "attack": shard.setting.attack,
        "norm": shard.setting.parameters.get("norm"),
        "shard": shard.digest,
    }
    figures = {rule: _figures(kept) for rule, kept in rules.items()}
    passes = zip(shard.examples, result.iterations.tolist(), result.forward_passes.tolist(), strict=True)
    return [
        shared
        | example._asdict()
        | {name: values[i] for name, values in figures[rule].items()}
        | {
            "decision_rule": rule,
            "iterations": iterations,
            "forward_passes": forward_passes,
            "cell": shard.cell_digests[example.beta, example.kappa, rule],
        }
        for i, (example, iterations, forward_passes) in enumerate(passes)
        for rule in rules
    ]


def _figures(kept: Adversarial) -> dict[str, Sequence[Any]]:
    """The columns that an attack measures, as Python values, null for NaN."""
    names = ("l0", "l1", "l2", "linf", "margin", "const", "epsilon")
    columns: dict[str, Sequence[Any]] = {
        name: [None if math.isnan(value) else value for value in getattr(kept, name).tolist()] for name in names
    }
    return columns | {"success": kept.success.tolist()}


def crafted_images(shard: Shard, rules: Mapping[str | None, Adversarial]) -> tuple[list[Key], NDArray[np.float32]]:
    """The adversarial images of a shard's successes, (N, C, H, W), and what names each."""
    found = [
        ((shard.cell_digests[example.beta, example.kappa, rule], example.image, example.target), kept.images[i])
        for i, example in enumerate(shard.examples)
        for rule, kept in rules.items()
        if kept.success[i]
    ]
    shape = next(iter(rules.values())).images.shape[1:]
    images = [image.cpu() for _, image in found]
    return [key for key, _ in found], (torch.stack(images) if images else torch.empty(0, *shape)).numpy()


@torch.no_grad()
def transferred_rows(
    rows: pd.DataFrame,
    keys: pd.DataFrame,
    images: NDArray[np.float32],
    model: nn.Module,
    onto: str,
    device: torch.device | str,
) -> list[dict[str, Any]]:
    """A shard's rows, tested on another victim.

    A success is an image that the other victim gives the target class (or, untargeted, not its own), by whatever
    margin: κ is what the example was crafted with. An example that was not crafted fails here too.

    Parameters
    ----------
    rows, keys, images
        The shard's rows, its stored images (N, C, H, W), and the cell, image and target that name each of them.
    model, onto
        The other victim, and its digest.
    """
    at = {key: i for i, key in enumerate(keys_of(keys))}
    wanted = [at.get(key, -1) for key in keys_of(rows)]
    logits = [model(part.to(device)).cpu() for part in torch.split(torch.from_numpy(images), _BATCH)] if at else []
    found: list[dict[str, Any]] = []
    for given, i in zip(rows.to_dict("records"), wanted, strict=True):
        row: dict[str, Any] = {str(name): None if pd.isna(value) else value for name, value in given.items()}
        row |= {"evaluated_on": onto, "iterations": None, "forward_passes": None, "margin": None}
        success = False
        if i >= 0:
            targeted = row["target"] is not None
            labels = torch.tensor([row["target"] if targeted else row["label"]])
            lead = margin(logits[i // _BATCH][i % _BATCH, None], labels, targeted=targeted)
            success = bool(succeeds(lead, torch.zeros(1)))
            row["margin"] = lead.item() if success else None
        if not success:
            row |= dict.fromkeys(("l0", "l1", "l2", "linf", "const", "epsilon"))
        found.append(row | {"success": success})
    return found
