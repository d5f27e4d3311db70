"""An attack that does nothing, and says when."""

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
    """An attack that finds nothing, and notes in a file of its process when it began and ended."""

    seconds: float = 0
    place: str = ""
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *, batch_size: int) -> AttackResult:
        began, none = time.time(), torch.zeros(len(images), dtype=torch.int64)
        kept = confirmed(
            model, images, targets, none.bool(), images, kappa=none.float(), targeted=True, batch_size=batch_size
        )
        if self.place:
            time.sleep(max(0, began + self.seconds - time.time()))
            with (Path(self.place) / str(os.getpid())).open("a") as file:
                file.write(f"{began} {time.time()}\n")
        return AttackResult(kept={"none": kept}, iterations=none, forward_passes=none, computed=0)
