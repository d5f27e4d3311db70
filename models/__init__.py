"""Models: architectures, recipes, training, and trained models on disk.

A model takes images (N, C, H, W) in [0, 1] and returns logits (N, K), never probabilities; whatever
normalisation it needs is inside.
"""

from models.claim import claim
from models.digest import digest_of, sha256_of_file
from models.files import replace_file
from models.recipe import Recipe, Training
from models.registry import MODELS, build, initial_parameters
from models.store import Stored, copy, is_stored, load, load_weights, read, save
from models.training import accuracy, predictions, seeded, train

__all__ = [
    "MODELS",
    "Recipe",
    "Stored",
    "Training",
    "accuracy",
    "build",
    "claim",
    "copy",
    "digest_of",
    "initial_parameters",
    "is_stored",
    "load",
    "load_weights",
    "predictions",
    "read",
    "replace_file",
    "save",
    "seeded",
    "sha256_of_file",
    "train",
]
