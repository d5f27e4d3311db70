"""Load a victim from MLflow, from safetensors and its recipe. MLflow calls `_load_pyfunc`.

``mlflow.pyfunc.load_model("models:/MODEL_ID").predict(images)`` returns logits. Nothing is unpickled. A recipe may name
its architecture by import path; with ``EADBENCH_NO_CODE`` set, such a model is refused.

Shape letters: N images, C channels, H rows, W columns, K classes.
"""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eadbench import models
from eadbench.harness.results.model_files import load_victim
from eadbench.harness.storage import located
from eadbench.models.store import WEIGHTS

MOST_BYTES = 64 * 2**20
"""Largest size of weights that are copied."""
ELSEWHERE = "elsewhere.json"
AT_ONCE = 256


def write(stored: Path, data: Path) -> None:
    """Write the input of `_load_pyfunc` to the folder `data`: a copy of the stored model, or its location."""
    if (stored / WEIGHTS).stat().st_size <= MOST_BYTES:
        models.copy(stored, data)
    else:
        models.replace_file(data / ELSEWHERE, json.dumps({"folder": str(stored)}).encode())


def _load_pyfunc(data: str) -> "Victim":
    """Load the victim that :func:`write` wrote, on the GPU if there is one.

    Raises
    ------
    UserError, ValueError
        The weights are missing or do not fit, or the recipe names code although code is refused.
    """
    folder = Path(data)
    if (folder / ELSEWHERE).is_file():
        folder = located(json.loads((folder / ELSEWHERE).read_bytes())["folder"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, _, _ = load_victim(folder, device)
    return Victim(model, device)


class Victim:
    """A victim with the interface that MLflow expects."""

    def __init__(self, model: nn.Module, device: str) -> None:
        self._model, self._device = model, device

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (N, K) of images (N, C, H, W) in [0, 1].

        Raises
        ------
        ValueError
            Images are outside [0, 1].
        """
        if images.size and not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(f"images must be in [0, 1], got {images.min()} to {images.max()}")
        parts = (torch.tensor(images[start : start + AT_ONCE]) for start in range(0, max(len(images), 1), AT_ONCE))
        return torch.cat([self._model(part.to(self._device)).cpu() for part in parts]).numpy()
