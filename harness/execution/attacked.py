"""What the attack of a shard gives: its rows, and the record of what it cost."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import torch

from eadbench.attacks import Adversarial, AttackResult, Quantised
from eadbench.harness.execution.versions import cuda_version, device_name
from eadbench.harness.plan.grid import Shard
from eadbench.harness.results.records import ShardRecord

__all__ = ["Attacked", "shard_record"]


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """What the attack of a shard gives."""

    rows: Sequence[dict[str, Any]]
    rules: Mapping[str | None, Adversarial]
    """What each decision rule keeps."""
    rounded: Mapping[str | None, Quantised]
    """The same, rounded to 8 bits."""
    record: ShardRecord


def shard_record(
    shard: Shard,
    rules: Mapping[str | None, Adversarial],
    result: AttackResult,
    batch_size: int,
    started: datetime,
    seconds: float,
    *,
    random: bool,
    worker: str,
    device: str,
) -> ShardRecord:
    """Return the record of a shard that a worker has attacked."""
    gradient_evaluations = int(result.iterations.sum())
    return ShardRecord(
        shard=shard.digest,
        split=shard.split,
        victim=shard.victim.digest,
        attack=shard.setting.attack,
        examples=len(shard.examples),
        successes={rule or shard.setting.attack: int(kept.success.sum()) for rule, kept in rules.items()},
        unconfirmed={rule or shard.setting.attack: int(kept.unconfirmed.sum()) for rule, kept in rules.items()},
        precision=shard.setting.precision,
        gradient_evaluations=gradient_evaluations,
        gradient_evaluations_computed=result.computed,
        gradient_evaluations_per_second=round(gradient_evaluations / seconds, 1),
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        worker=worker,
        node=socket.gethostname(),
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        device=device_name(device),
        threads=torch.get_num_threads(),
        batch_size=batch_size,
        torch=torch.__version__,
        cuda=cuda_version() if device == "cuda" else None,
        random=random,
    )
