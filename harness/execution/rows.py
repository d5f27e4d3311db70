"""Rows and images of results, from what an attack returns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eadbench.attacks import Adversarial, AttackResult, Quantised, quantised
from eadbench.attacks import survival as survival_of
from eadbench.attacks.criterion import margin, succeeds
from eadbench.harness.execution.box import Outside
from eadbench.harness.parquet.rows import Key, keys_of
from eadbench.harness.plan.grid import Shard, other_parameters
from eadbench.models import canonical_json

_QUANTISED = ("quantised", *(f"quantised_{norm}" for norm in ("l0", "l1", "l2", "linf")))
_SEARCH_COLUMNS = (
    *("iterations", "forward_passes", "margin", "const_end", "nonfinite", "survival", "trace"),
    *("found_by", "outside", *_QUANTISED),
)
"""Columns that say how an example was found on its own victim; null where it is tested on another."""

_BATCH = 256
"""Batch size of tests on another victim."""


CONST_ENDS = {-1: "least", 0: None, 1: "greatest"}
"""The column `const_end` by :attr:`AttackResult.const_end`."""


def survivals(
    shard: Shard, victim: nn.Module, rules: Mapping[str | None, Adversarial], *, times: int, batch_size: int
) -> dict[str | None, Tensor | None]:
    """Test the successes on a random victim again; return by rule the share of the tests that each passes."""
    targeted = shard.examples[0].target is not None
    labels = [example.label if example.target is None else example.target for example in shard.examples]
    kappas = [example.kappa for example in shard.examples]
    return {
        rule: survival_of(
            victim,
            kept,
            torch.tensor(labels, device=kept.images.device),
            kappa=torch.tensor(kappas, device=kept.images.device),
            targeted=targeted,
            times=times,
            batch_size=batch_size,
        )
        for rule, kept in rules.items()
    }


def roundings(
    shard: Shard, victim: nn.Module, images: Tensor, rules: Mapping[str | None, Adversarial], *, batch_size: int
) -> dict[str | None, Quantised]:
    """Round to 8 bits what each rule keeps, with a search for a rounding that succeeds if the spec asks for it."""
    device = images.device
    labels = [example.label if example.target is None else example.target for example in shard.examples]
    return {
        rule: quantised(
            victim,
            kept,
            images,
            torch.tensor(labels, device=device),
            kappa=torch.tensor([example.kappa for example in shard.examples], device=device),
            targeted=shard.examples[0].target is not None,
            batch_size=batch_size,
            search=bool(shard.setting.parameters.get("quantised")),
        )
        for rule, kept in rules.items()
    }


def crafted_rows(
    shard: Shard,
    dataset: str,
    rules: Mapping[str | None, Adversarial],
    result: AttackResult,
    survival: Mapping[str | None, Tensor | None],
    rounded: Mapping[str | None, Quantised],
    outside: Outside,
) -> list[dict[str, Any]]:
    """Return the rows of a shard: one for each example and decision rule, in this order.

    `survival` holds by rule what :func:`eadbench.attacks.survival` returns, `rounded` what :func:`roundings` does, and
    `outside` what :func:`eadbench.harness.execution.box.in_box` does.
    """
    victim, cells = shard.victim, shard.cell_digests
    shared = {
        "dataset": dataset,
        "split": shard.split,
        "model": victim.digest,
        "arch": victim.arch,
        "defense": victim.defense,
        "temperature": victim.temperature,
        "trained_on": victim.trained_on,
        "evaluated_on": victim.digest,
        "defense_parameters": canonical_json(victim.defense_parameters),
        "attack": shard.setting.attack,
        "norm": shard.setting.parameters.get("norm"),
        "parameters": other_parameters(shard.setting.parameters),
        "precision": shard.setting.precision,
        "shard": shard.digest,
    }
    figures = {
        rule: _figures(kept, survival.get(rule))
        | _rounded(rounded[rule])
        | {"outside": [left or None for left in outside[rule].tolist()]}
        for rule, kept in rules.items()
    }
    searches = _searches(result, len(shard.examples))
    passes = zip(shard.examples, result.iterations.tolist(), result.forward_passes.tolist(), strict=True)
    return [
        shared
        | example._asdict()
        | {name: values[i] for name, values in figures[rule].items()}
        | {
            "decision_rule": rule,
            "iterations": iterations,
            "forward_passes": forward_passes,
            **searches[i],
            "cell": cells[example.beta, example.kappa, rule],
        }
        for i, (example, iterations, forward_passes) in enumerate(passes)
        for rule in rules
    ]


def _searches(result: AttackResult, count: int) -> list[dict[str, Any]]:
    """Return what each example's search says of itself; None where the attack does not tell."""
    ends = [0] * count if result.const_end is None else result.const_end.tolist()
    broken = [None] * count if result.nonfinite_gradients is None else result.nonfinite_gradients.tolist()
    members = [None] * count if result.found_by is None else result.found_by
    return [
        {"const_end": CONST_ENDS[end], "nonfinite": number, "found_by": member}
        for end, number, member in zip(ends, broken, members, strict=True)
    ]


def _figures(kept: Adversarial, survival: Tensor | None) -> dict[str, Sequence[Any]]:
    """Return the columns that an attack measures as Python values, with None for NaN."""
    names = ("l0", "l1", "l2", "linf", "margin", "const", "epsilon")
    shares = torch.full_like(kept.l1, torch.nan) if survival is None else survival
    values = {name: getattr(kept, name) for name in names} | {"survival": shares}
    columns = {name: _without_nan(column) for name, column in values.items()}
    return columns | {"success": kept.success.tolist(), "trace": _traces(kept)}


def _rounded(rounded: Quantised) -> dict[str, Sequence[Any]]:
    """Return the columns about the images rounded to 8 bits."""
    distances = (_without_nan(getattr(rounded, norm)) for norm in ("l0", "l1", "l2", "linf"))
    return dict(zip(_QUANTISED, (rounded.success.tolist(), *distances), strict=True))


def _without_nan(column: Tensor) -> Sequence[Any]:
    return [None if math.isnan(value) else value for value in column.tolist()]


def _traces(kept: Adversarial) -> Sequence[list[float | None] | None]:
    """Return each example's trace, with None for NaN; None where there is no budget."""
    if kept.trace is None:
        return [None] * len(kept.success)
    return [[None if math.isnan(value) else value for value in values] for values in kept.trace.tolist()]


def crafted_images(
    shard: Shard, rules: Mapping[str | None, Adversarial | Quantised]
) -> tuple[list[Key], NDArray[np.float32]]:
    """Return the keys and the adversarial images (N, C, H, W) of a shard's successes."""
    cells = shard.cell_digests
    keys: list[Key] = []
    images: list[Tensor] = []
    for i, example in enumerate(shard.examples):
        for rule, kept in rules.items():
            if kept.success[i]:
                keys.append((cells[example.beta, example.kappa, rule], example.image, example.target))
                images.append(kept.images[i].cpu())
    shape = next(iter(rules.values())).images.shape[1:]
    return keys, (torch.stack(images) if images else torch.empty(0, *shape)).numpy()


@torch.no_grad()
def transferred_rows(
    rows: pd.DataFrame,
    keys: pd.DataFrame,
    images: NDArray[np.float32],
    model: nn.Module,
    digest: str,
    device: torch.device | str,
) -> list[dict[str, Any]]:
    """Return a shard's rows as tested on another victim.

    An example succeeds if the other victim predicts its target class (untargeted: any class but the label), by any
    margin: κ was a requirement of the search only. An example that failed on its own victim fails here too, and so does
    one whose logits are not finite, which is counted.

    Parameters
    ----------
    rows
        The shard's rows.
    keys, images
        The cell, image and target of each stored image, and the images (N, C, H, W).
    model, digest
        The other victim, and its digest.
    """
    positions = {key: i for i, key in enumerate(keys_of(keys))}
    parts = torch.split(torch.from_numpy(images), _BATCH) if positions else ()
    logits = [model(part.to(device)).cpu() for part in parts]
    tested_rows: list[dict[str, Any]] = []
    for crafted, key in zip(rows.drop(columns="trace").to_dict("records"), keys_of(rows), strict=True):
        row: dict[str, Any] = {str(name): None if pd.isna(value) else value for name, value in crafted.items()}
        row |= dict.fromkeys(_SEARCH_COLUMNS) | {"evaluated_on": digest}
        success = False
        if (i := positions.get(key)) is not None:
            targeted = row["target"] is not None
            labels = torch.tensor([row["target"] if targeted else row["label"]])
            answer = logits[i // _BATCH][i % _BATCH, None]
            lead = margin(answer, labels, targeted=targeted)
            row["nonfinite"] = int(not answer.isfinite().all())
            success = not row["nonfinite"] and bool(succeeds(lead, torch.zeros(1)))
            row["margin"] = lead.item() if success else None
        if not success:
            row |= dict.fromkeys(("l0", "l1", "l2", "linf", "const", "epsilon"))
        tested_rows.append(row | {"success": success})
    return tested_rows
