"""Defences: what each trains on, and that its victims behave as in the literature."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from eadbench import models
from eadbench.attacks import IFGM
from eadbench.defenses import DEFENSES
from eadbench.defenses.distillation import Distillation, DistillationTeacher, SoftLabels
from eadbench.defenses.pgd_training import PGDTraining
from eadbench.defenses.trades import Trades
from eadbench.harness import datasets
from eadbench.models import Recipe, Training
from tests.models.test_training import recipe

BRIEF = Training(epochs=2, batch_size=64, learning_rate=3e-3)


@pytest.fixture(scope="module")
def digits() -> datasets.DataSet:
    return datasets.load("digits")


def trained(wanted: Recipe, data: datasets.DataSet) -> nn.Module:
    """Train the model of a recipe, after the models that it needs."""
    parameters = {name: value for name, value in wanted.defense.items() if name != "name"}
    defense = DEFENSES[wanted.defense["name"]](**parameters)
    needed = {part: trained(other, data) for part, other in defense.needs(wanted).items()}
    return defense.train(wanted, data.train, needed=needed, examples=None, fit=models.train)


class TestDistillation:
    def test_teacher_and_student_start_from_one_epoch_without_a_defence(self) -> None:
        student = recipe(BRIEF, defense={"name": "distillation", "temperature": 20.0})
        needs = Distillation(temperature=20).needs(student)
        assert set(needs) == {"initial", "teacher"}
        assert needs["initial"] == recipe(replace(BRIEF, epochs=1))
        assert needs["teacher"] == recipe(BRIEF, defense={"name": "distillation_teacher", "temperature": 20.0})
        assert DistillationTeacher(temperature=20).needs(needs["teacher"]) == {"initial": needs["initial"]}

    @pytest.mark.parametrize("temperature", [1.0, 20.0])
    def test_soft_labels_are_the_teacher_s_softmax_at_t(self, digits: datasets.DataSet, temperature: float) -> None:
        torch.manual_seed(0)
        teacher = models.build("digits", num_classes=10).eval()
        soft = SoftLabels(digits.train, teacher, temperature)
        assert len(soft) == len(digits.train)
        for index in (0, 700, len(soft) - 1):
            image, label = soft[index]
            logits = teacher(image[None])[0].double().tolist()
            powers = torch.tensor(logits, dtype=torch.float64).div(temperature).exp()
            assert torch.equal(image, digits.train[index][0])
            torch.testing.assert_close(label.double(), powers / powers.sum(), rtol=1e-5, atol=1e-7)

    def test_the_student_fits_the_soft_labels_at_t(self, digits: datasets.DataSet) -> None:
        """The cross-entropy with them at T = 20 is close to their entropy, which is the least possible."""
        training = replace(BRIEF, epochs=20)
        student = recipe(training, defense={"name": "distillation", "temperature": 20.0})
        teacher = trained(Distillation(temperature=20).needs(student)["teacher"], digits)
        model = trained(student, digits)
        soft = SoftLabels(digits.train, teacher, 20.0)
        images, labels = (torch.stack(part) for part in zip(*(soft[i] for i in range(300)), strict=True))
        least = -(labels * labels.clamp_min(1e-12).log()).sum(1).mean()
        with torch.no_grad():
            at_t, at_1 = (functional.cross_entropy(model(images) / t, labels) for t in (20.0, 1.0))
        assert at_t - least < 0.05
        assert at_1 - least > 2 * (at_t - least)
        assert models.accuracy(model, digits.test) > 0.85

    def test_a_high_temperature_makes_logits_large(self, digits: datasets.DataSet) -> None:
        """So the softmax at T = 1 gives no gradient (Carlini and Wagner 2017), but the logits do."""
        spread = {}
        for temperature in (1.0, 50.0):
            model = trained(recipe(BRIEF, defense={"name": "distillation", "temperature": temperature}), digits)
            with torch.no_grad():
                spread[temperature] = model(digits.test.images(range(100))).std().item()
        assert spread[50.0] > 3 * spread[1.0]


class TestAdversarialTraining:
    def test_learns_the_examples_with_their_labels(self, digits: datasets.DataSet) -> None:
        """Patterns that only the examples contain get the class of the examples."""
        adversarial = DEFENSES["adversarial_training"](attacks=[{"name": "cw"}])
        generator = torch.Generator().manual_seed(0)
        patterns = (torch.rand(1, 1, 8, 8, generator=generator) > 0.5).float().expand(200, -1, -1, -1)
        examples = datasets.Split([3] * 200, lambda indices: patterns[list(indices)])
        training = replace(BRIEF, epochs=10, batch_size=32)
        hardened = recipe(training, defense={"name": "adversarial_training", "attacks": [{"name": "cw"}]})
        model = adversarial.train(hardened, digits.train, needed={}, examples=examples, fit=models.train)
        assert model(patterns[:1]).argmax().item() == 3
        assert models.accuracy(model, digits.test) > 0.8

    def test_needs_the_undefended_network(self) -> None:
        hardened = recipe(BRIEF, defense={"name": "adversarial_training", "attacks": [{"name": "cw"}]})
        assert DEFENSES["adversarial_training"](attacks=[{"name": "cw"}]).needs(hardened) == {
            "undefended": recipe(BRIEF)
        }


class TestPGD:
    def test_the_victim_is_more_robust(self, digits: datasets.DataSet) -> None:
        """I-FGM at ε = 0.1 breaks most of the undefended network's images, and far fewer of the trained one's."""
        training = replace(BRIEF, epochs=8, batch_size=32)
        plain = trained(recipe(training), digits)
        hard = trained(recipe(training, defense={"name": "pgd_training", "epsilon": 0.1, "steps": 5}), digits)
        images, labels = digits.test.images(range(100)), digits.test.labels[:100]
        broken = {}
        for name, model in (("plain", plain), ("hard", hard)):
            right = model(images).argmax(1) == labels
            attack = IFGM(norm="linf", epsilons=[0.1], targeted=False)
            broken[name] = attack(model, images[right], labels[right])["linf"].success.double().mean().item()
        assert broken["hard"] < 0.6 * broken["plain"]
        assert models.accuracy(hard, digits.test) > 0.85


@pytest.mark.parametrize("held_out", [0.0, 0.2])
@pytest.mark.parametrize("defense", [PGDTraining(epsilon=0.1, steps=2), Trades(norm="l1", epsilon=1, steps=2)], ids=str)
def test_interrupted_training_ends_with_the_same_weights_and_figures(
    tmp_path: Path, defense: PGDTraining | Trades, held_out: float
) -> None:
    """The random starts of PGD, and the best epoch on held-out images, continue from the checkpoint."""
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.rand(90, 1, 8, 8, generator=generator), torch.randint(10, (90,), generator=generator))
    wanted = recipe(Training(epochs=4, batch_size=20, learning_rate=1e-2, held_out=held_out))
    file = tmp_path / "checkpoint.safetensors"

    def ended(**options: Any) -> tuple[list[Tensor], list[float]]:
        shares: list[float] = []
        fit = partial(models.train, on_epoch=lambda found: shares.__setitem__(slice(None), found), **options)
        return [*defense.train(wanted, data, fit=fit).state_dict().values()], shares

    def cut(done: int, total: int, _: float) -> None:
        if done > total * 2.5 / 4:
            raise KeyboardInterrupt

    weights, shares = ended()
    assert len(shares) == (4 if held_out else 0)
    with pytest.raises(KeyboardInterrupt):
        ended(checkpoint=file, on_batch=cut)
    assert file.exists()
    again, figures = ended(checkpoint=file)
    assert figures == shares and all(torch.equal(a, b) for a, b in zip(weights, again, strict=True))
