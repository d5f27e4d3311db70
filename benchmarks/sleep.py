"""An attack that only sleeps, and logs when."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from eadbench.attacks import AttackResult
from eadbench.attacks.result import confirmed


@dataclass(frozen=True, kw_only=True)
class Sleep:
    """An attack without successes that sleeps for some seconds.

    If `log_folder` is not empty, it logs its start and end in a file per process there.
    """

    AXES = ("kappa",)
    most_passes = 1

    seconds: float = 0
    log_folder: str = ""
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *, batch_size: int) -> AttackResult:
        started, zeros = time.time(), torch.zeros(len(images), dtype=torch.int64)
        kept = confirmed(
            model, images, targets, zeros.bool(), images, kappa=zeros.float(), targeted=True, batch_size=batch_size
        )
        if self.log_folder:
            time.sleep(max(0, started + self.seconds - time.time()))
            with (Path(self.log_folder) / str(os.getpid())).open("a") as file:
                file.write(f"{started} {time.time()}\n")
        return AttackResult(kept={"none": kept}, iterations=zeros, forward_passes=zeros, computed=0)
