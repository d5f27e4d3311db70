"""Models: architectures, recipes, training, and trained models on disk.

A model takes images (N, C, H, W) in [0, 1] and returns logits (N, K), never probabilities. It normalises its images
itself.
"""

from eadbench.models.adapted import build_network, outputs_breach
from eadbench.models.digest import canonical_json, digest_of, sha256_of_file
from eadbench.models.ensemble import Ensemble
from eadbench.models.files import replace_file
from eadbench.models.hubs import is_hub, pin
from eadbench.models.hyperparameters import Training
from eadbench.models.initial import default_init, initialise
from eadbench.models.lock import lock
from eadbench.models.memory_format import memory_format
from eadbench.models.normalised import size_suspicion
from eadbench.models.recipe import Recipe
from eadbench.models.registry import MODELS, build, search
from eadbench.models.store import Stored, check_weights, copy, input_facts, is_stored, load, read, save
from eadbench.models.training import Diverged, accuracy, predictions, seeded, train
from eadbench.models.weights import load_weights

__all__ = [
    "MODELS",
    "Diverged",
    "Ensemble",
    "Recipe",
    "Stored",
    "Training",
    "accuracy",
    "build",
    "build_network",
    "canonical_json",
    "check_weights",
    "copy",
    "default_init",
    "digest_of",
    "initialise",
    "input_facts",
    "is_hub",
    "is_stored",
    "load",
    "load_weights",
    "lock",
    "memory_format",
    "outputs_breach",
    "pin",
    "predictions",
    "read",
    "replace_file",
    "save",
    "search",
    "seeded",
    "sha256_of_file",
    "size_suspicion",
    "train",
]
