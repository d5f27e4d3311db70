"""Models: architectures, recipes, training, and trained models on disk.

A model takes images (N, C, H, W) in [0, 1] and returns logits (N, K), never probabilities. It normalises its images
itself.
"""

from eadbench.models.digest import canonical_json, digest_of, sha256_of_file
from eadbench.models.files import replace_file
from eadbench.models.lock import lock
from eadbench.models.recipe import Recipe, Training
from eadbench.models.registry import MODELS, build, initial_parameters
from eadbench.models.store import Stored, copy, is_stored, load, load_weights, read, save
from eadbench.models.training import accuracy, predictions, seeded, train

__all__ = [
    "MODELS",
    "Recipe",
    "Stored",
    "Training",
    "accuracy",
    "build",
    "canonical_json",
    "copy",
    "digest_of",
    "initial_parameters",
    "is_stored",
    "load",
    "load_weights",
    "lock",
    "predictions",
    "read",
    "replace_file",
    "save",
    "seeded",
    "sha256_of_file",
    "train",
]
