"""Victims are made once, also between sweeps, and mistakes in them are found before workers are started."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from eadbench import models
from eadbench.harness import spec
from eadbench.harness.errors import UserError
from eadbench.harness.results.folder import Results
from tests.harness.execution.test_studies import STUDY, study
from tests.sweeps import rows, run, small


class TestMistakes:
    def test_too_few_images_for_adversarial_training(self, tmp_path: Path) -> None:
        many = [dict(victim) for victim in yaml.safe_load(STUDY)["victims"]]
        many[2]["defense"]["adversarial_training"]["images"] = 1397
        with pytest.raises(UserError, match=r"adversarial_training\.images: 1397 asked for, but the undefended"):
            run(study(victims=[many[0] | {"evaluated_on": []}, many[2]]), tmp_path / "many")

    def test_a_network_that_does_not_take_the_images(self, tmp_path: Path) -> None:
        wrong = [{"arch": "cw_mnist", "training": {"epochs": 1}}]
        with pytest.raises(UserError, match=r"cw_mnist: it does not take 8 images of 1x8x8: ValueError: the network"):
            run(study(victims=wrong), tmp_path / "wrong")


class TestSharedModels:
    def test_are_not_trained_again(self, tmp_path: Path) -> None:
        attacks = [{"name": "fgm", "norm": "linf", "epsilons": [0.1]}]
        what = study(victims=yaml.safe_load(STUDY)["victims"][1:2], attacks=attacks, images={"count": 1})

        def weights(name: str) -> bytes:
            folder = Results(tmp_path / name)
            run(what, folder.root, models=tmp_path / "store")
            [*_, victim] = folder.victims()[1]
            return (folder.model(victim.digest) / "weights.safetensors").read_bytes()

        def stored() -> dict[str, int]:
            return {path.parent.name: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*/recipe.json")}

        first, before = weights("one"), stored()
        assert weights("two") == first and stored() == before and before


def test_inception_on_a_folder_of_images(tmp_path: Path) -> None:
    """As for ImageNet, but with random weights and small images: RGB, random targets of many classes."""
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in range(4):
            (tmp_path / "images" / split / f"n{label:02d}").mkdir(parents=True)
            pixels = generator.integers(0, 256, (310, 330, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / split / f"n{label:02d}" / "one.png")
    torch.manual_seed(0)
    network = models.build("inception_v3", num_classes=4, init_weights=False)
    torch.save(network.state_dict(), tmp_path / "inception.pt")
    what = spec.parse(
        {
            "name": "inception",
            "dataset": {"name": "folder", "path": str(tmp_path / "images"), "called": "imagenet", "size": 107},
            "images": {"count": 1},
            "targets": {"random": 2},
            "victims": [
                {
                    "arch": "inception_v3",
                    "parameters": {"init_weights": False},  # torchvision's initial weights take ten seconds
                    "weights": str(tmp_path / "inception.pt"),
                }
            ],
            "attacks": [
                {"name": "fgm", "norm": "linf", "epsilons": [0.01, 0.1]},
                {"name": "ead", "binary_search_steps": 1, "max_iterations": 2, "initial_const": 10},
            ],
        }
    )
    done = run(what, tmp_path / "results")
    assert not done.failures
    frame = rows(tmp_path / "results")
    assert len(frame) == 2 * (1 + 2)
    assert frame["target"].nunique() == 2 and set(frame["dataset"]) == {"imagenet"}
    [victim] = Results(tmp_path / "results").victims()[1]
    assert victim.accuracy is not None and 0 < victim.accuracy <= 1


def test_a_low_accuracy_is_said(tmp_path: Path) -> None:
    """A wrong preprocessing of given weights looks like a weak network."""
    network = models.build("digits", num_classes=10)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    victims = [
        {"name": "given", "arch": "digits", "weights": str(tmp_path / "w.pt")},
        {"name": "trained", "arch": "digits", "training": {"epochs": 1, "learning_rate": 1e-6}},
        {"name": "good", "arch": "digits", "training": {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}},
    ]
    attacks = [{"name": "fgm", "norm": "linf", "epsilons": [0.1]}]
    run(small(victims=victims, attacks=attacks, images={"count": 1}), tmp_path / "sweep")
    [given, trained, good] = Results(tmp_path / "sweep").victims()[1]
    assert given.warnings[0].startswith(
        "its accuracy is 10.0 %: if its weights are sound, it was trained on other inputs"
    )
    assert trained.warnings[0].endswith(" %, below the usual 50 %: train it longer") and not good.warnings
