"""The logits of a sweep's victims, from the weights that are stored with its results."""

import json

import streamlit as st
import torch
from numpy.typing import NDArray

from eadbench.dashboards.sources import allow_code
from eadbench.harness.errors import DamagedResults, UserError
from eadbench.harness.reporting.pixels import Floats
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import WRAPPED, WRAPPED_MEMBERS, load_victim, read_model
from eadbench.harness.storage import located
from eadbench.models import Stored
from eadbench.models.code import is_code

__all__ = ["logits"]


@torch.no_grad()
def logits(folder: str, digest: str, images: Floats) -> NDArray | str:  # type: ignore[type-arg]
    """Return a victim's logits (N, K) for images (N, C, H, W), in float32 on the CPU; or why it cannot be loaded."""
    victim = _victim(folder, digest)
    return victim if isinstance(victim, str) else victim(torch.from_numpy(images)).numpy()


@st.cache_resource(max_entries=16, show_spinner="Loading a victim …")
def _victim(folder: str, digest: str) -> torch.nn.Module | str:
    results = Results(located(folder))
    try:
        arch = results.recipe(digest).arch
        if is_code(arch) and not allow_code():
            return f"its architecture {arch} is code, which is not imported to look at results; --allow-code imports it"
        stored = read_model(results.model(digest))
        if _is_wrapped(stored) and not allow_code():
            return "its defence is code, which is not imported to look at results; --allow-code imports it"
        return load_victim(stored)[0]
    except (DamagedResults, UserError, ValueError) as error:
        return str(error)


def _is_wrapped(stored: Stored) -> bool:
    """Return whether code of the user's own stands in front of a stored network, or of a member of an ensemble."""
    facts = json.loads(stored.recipe)["facts"]
    return bool(facts.get(WRAPPED) or facts.get(WRAPPED_MEMBERS))
