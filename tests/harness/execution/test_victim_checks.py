"""Victims that are broken are refused before work begins; those that are doubtful are said to be so, everywhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench import models
from eadbench.harness import api, datasets, spec
from eadbench.harness.errors import UserError
from eadbench.harness.frames import Results
from eadbench.harness.reporting import report
from tests.sweeps import rows, run, small

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8 * 64, 10)
        self.before, self.after = before, after

    def forward(self, x):
        x = torch.relu(self.conv(self.before(x)))
        return self.after(self.head(x.view(x.size(0), -1)))


def view():
    return Net()


def softmax():
    return Net(after=lambda z: (4 * z).softmax(1))


def positive():
    return Net(after=lambda z: z.exp())


def nan():
    return Net(after=lambda z: z / 0)


def in_place():
    return Net(before=lambda x: x.sub_(0.5))


def nan_on_some():
    return Net(after=lambda z: torch.where(z.argmax(1, keepdim=True) == 3, torch.nan, z))


def stopping():
    raise SystemExit(7)


def ending():
    import os
    os._exit(7)


def hanging():
    import time
    time.sleep(3600)


def asserting():
    def check(z):
        assert False, "not\\nlike this"
    return Net(after=check)


def missing():
    return Net(after=lambda z: {}["key"])
"""
forks = pytest.mark.usefixtures("forks")
TRAINING = {"epochs": 6, "batch_size": 32, "learning_rate": 3e-3}


def module(folder: Path, patch: pytest.MonkeyPatch) -> str:
    """Write a module of the user's, make its folder the working folder, and return its name."""
    name = f"mynets_{folder.name.replace('-', '_')}"
    (folder / f"{name}.py").write_text(CODE)
    patch.chdir(folder)
    return name


@pytest.fixture(autouse=True)
def mynets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return module(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a sweep that trained and attacked `view`."""
    folder = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        name = module(folder, patch)
        done = run(sweep(arch=f"{name}:view", training=TRAINING, name="sound"), folder / "results")
    assert not done.failures
    return folder / "results"


def weights_in(results: Path) -> str:
    [file] = (results / "models").glob("*/weights.safetensors")
    return str(file)


def sweep(**victim: Any) -> spec.Spec:
    attacks = [{"name": "fgm", "norm": "linf", "epsilons": [0.1, 0.5]}]
    return small(victims=[victim], attacks=attacks, images={"count": 4}, targets={"random": 2})


@pytest.mark.parametrize(
    ("victim", "refusal"),
    [
        ({"arch": "nan"}, "its logits are not finite on 8 of 8 images; check its weights"),
        ({"arch": "in_place"}, "it writes to its input"),
        ({"arch": "stopping"}, "SystemExit: 7"),
        ({"arch": "ending"}, r"ended the process that built and probed it \(exit code 7\)"),
        ({"arch": "asserting"}, "AssertionError: not like this"),
        ({"arch": "missing"}, "KeyError: 'key'"),
    ],
)
def test_a_broken_victim_is_refused(
    victim: dict[str, Any], refusal: str, mynets: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if victim["arch"] != "ending":  # this one ends the process that eadbench starts
        request.getfixturevalue("forks")
    what = sweep(**{"training": TRAINING, **victim, "arch": f"{mynets}:{victim['arch']}"})
    with pytest.raises(UserError, match=refusal):
        run(what, tmp_path / "results")
    assert not list((tmp_path / "results").rglob("*.parquet"))


@forks
def test_a_network_that_hangs_is_refused_in_time(mynets: str, tmp_path: Path) -> None:
    what = sweep(arch=f"{mynets}:hanging", training=TRAINING)
    what = replace(what, resources=what.resources.model_copy(update={"timeout": 4.0}))
    with pytest.raises(UserError, match=r"^victims\[0\]: .*:hanging: was not built and probed within 4 s"):
        run(what, tmp_path / "results")


def test_a_network_of_torchvision_that_takes_no_such_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^victims\[0\]: .*vit_b_16") as refusal:
        run(sweep(arch="vit_b_16", training=TRAINING), tmp_path / "results")
    assert "\n" not in str(refusal.value)


def test_a_training_that_diverges_is_one_line(tmp_path: Path) -> None:
    training = {**TRAINING, "learning_rate": 1e6}
    with pytest.raises(
        UserError, match=r"digits, no defence: the training diverged: the loss of a batch is nan in epoch 1"
    ):
        run(sweep(arch="digits", training=training), tmp_path / "results")
    assert not list((tmp_path / "results").rglob("recipe.json"))


@forks
@pytest.mark.parametrize("name", ["nan", "stopping"])
def test_plan_refuses_what_run_does(name: str, mynets: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^victims\[0\]: "):
        api.plan(sweep(arch=f"{mynets}:{name}", training=TRAINING), results=str(tmp_path / "results"))
    assert not (tmp_path / "results").exists()


@forks
def test_weights_that_are_not_finite_are_refused(mynets: str, tmp_path: Path) -> None:
    network = models.build(f"{mynets}:view", num_classes=10)
    network.get_parameter("conv.bias").data[0] = torch.nan
    torch.save(network.state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"victims\[0\]: .*w.pt has values of conv.bias that are not finite"):
        run(sweep(arch=f"{mynets}:view", weights=str(tmp_path / "w.pt")), tmp_path / "results")


@forks
def test_an_image_without_finite_logits_is_misclassified_and_counted(mynets: str, sound: Path, tmp_path: Path) -> None:
    run(sweep(arch=f"{mynets}:nan_on_some", weights=weights_in(sound), name="unsound"), tmp_path / "results")
    [victim] = Results(tmp_path / "results").snapshot.victims
    data = datasets.load("digits")
    network, _, _ = models.load(Path(weights_in(sound)).parent)
    predicted = models.predictions(network, data.test)
    assert victim.accuracy is not None
    right = (predicted == data.test.labels) & (predicted != 3)
    assert victim.accuracy == pytest.approx(right.double().mean().item())
    expected = f"its logits are not finite on {int((predicted == 3).sum())} of 400 images"
    assert victim.warnings[0].startswith(expected)
    assert report.warnings(Results(tmp_path / "results").summary)[0].startswith(f"unsound: {expected}")


def test_a_network_that_flattens_by_view_is_trained_and_attacked(sound: Path) -> None:
    assert rows(sound)["success"].any()


@forks
def test_probabilities_are_said_and_their_logarithm_cures(mynets: str, sound: Path, tmp_path: Path) -> None:
    weights = weights_in(sound)

    def attacked(folder: str, **victim: Any) -> Results:
        attacks = [{"name": "ead", "beta": 1e-2, "kappa": 1, "binary_search_steps": 3, "max_iterations": 30}]
        attacks[0]["initial_const"] = 1
        run(small(victims=[victim], attacks=attacks, images={"count": 4}, targets={"random": 2}), tmp_path / folder)
        return Results(tmp_path / folder)

    plain = attacked("plain", arch=f"{mynets}:softmax", weights=weights, name="soft")
    assert report.warnings(plain.summary)[0].startswith("soft: it seems to return probabilities")
    assert "outputs: probabilities" in report.text(plain.summary, "markdown")
    assert "outputs: probabilities" in api.write_page(plain).read_text()
    for arch, what in (("view", "negative values"), ("positive", "rows that do not sum to 1")):
        with pytest.raises(UserError, match=f"outputs: probabilities, but the network returns {what}"):
            attacked("wrong", arch=f"{mynets}:{arch}", weights=weights, outputs="probabilities")
    cured = attacked("cured", arch=f"{mynets}:softmax", weights=weights, outputs="probabilities")
    assert all("few images" in text for text in report.warnings(cured.summary))
    assert plain.rows()["success"].sum() == 0 and cured.rows()["success"].all()


PHANTOM = """
from dataclasses import replace

from eadbench.harness import datasets


def phantom():
    # The digits with an eleventh class, which has no image.
    data = datasets.load("digits")
    names = (*data.class_names, "phantom")
    return replace(data, name="phantom", identity="phantom", classes=11, class_names=names)


def one_class():
    data = datasets.load("digits")
    ones = [index for index, label in enumerate(data.test.labels.tolist()) if label == 1]
    only = datasets.Split([1] * len(ones), lambda indices: data.test.images([ones[index] for index in indices]))
    return replace(data, name="ones", identity="ones", train=only, test=only)
"""


def test_no_example_is_aimed_at_a_class_without_images(mynets: str, tmp_path: Path) -> None:
    """No attack reaches a class that the network never saw: the worst case would be 0 % for every attack."""
    (tmp_path / f"{mynets}_data.py").write_text(PHANTOM)
    attack = {"name": "ead", "beta": 1e-2, "binary_search_steps": 4, "max_iterations": 60, "initial_const": 0.1}
    what = small(
        dataset={"name": f"{mynets}_data:phantom"},
        victims=[{"arch": "digits", "training": TRAINING}],
        attacks=[attack],
        images={"count": 2},
        targets="all",
    )
    text = "1 of 11 classes have no image (phantom); no example is aimed at them"
    assert any(text in warning for warning in api.plan(what, results=str(tmp_path / "results")).warnings)
    run(what, tmp_path / "results")
    results = Results(tmp_path / "results")
    assert set(results.rows()["target"]) <= set(range(10)) and len(results.rows()) == 2 * 9 * 2
    assert (results.table("worst")["asr"] == 100).all()
    assert text in report.warnings(results.summary)[0]
    one = small(
        dataset={"name": f"{mynets}_data:one_class"}, victims=[{"arch": "digits", "training": TRAINING}], targets="all"
    )
    with pytest.raises(UserError, match="targets: every image is of the class 1, so there is no other class to aim at"):
        run(one, tmp_path / "one")


class Slow(nn.Module):
    """Takes images that are contiguous only."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mul(2).view(len(x), -1)


def test_memory_formats() -> None:
    convolution = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    assert models.memory_format(convolution, (3, 8, 8)) == torch.channels_last
    assert models.memory_format(Slow(), (3, 8, 8)) == torch.contiguous_format
    assert convolution[0].weight.is_contiguous() and convolution.training
