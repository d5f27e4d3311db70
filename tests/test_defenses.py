"""Defences: what each trains on, and that the victims it gives are what the literature says."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import models
from attacks import IFGM
from defenses import DEFENSES
from defenses.distillation import Distillation, DistillationTeacher, SoftLabels
from defenses.pgd_training import PGDTraining
from harness import datasets
from models import Recipe, Training
from tests.test_training import recipe

BRIEF = Training(epochs=2, batch_size=64, learning_rate=3e-3)


@pytest.fixture(scope="module")
def digits() -> datasets.DataSet:
    return datasets.load("digits")


def made(of: Recipe, data: datasets.DataSet) -> nn.Module:
    """The model of a recipe, and of what it needs, trained here."""
    parameters = {name: value for name, value in of.defense.items() if name != "name"}
    defense = DEFENSES[of.defense["name"]](**parameters)
    needed = {part: made(other, data) for part, other in defense.needs(of).items()}
    return defense.train(of, data.train, needed=needed, examples=None, device="cpu", on_batch=None, checkpoint=None)


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
        """Its cross-entropy with them at T = 20 nears their entropy, the least there is."""
        training = replace(BRIEF, epochs=20)
        student = recipe(training, defense={"name": "distillation", "temperature": 20.0})
        teacher = made(Distillation(temperature=20).needs(student)["teacher"], digits)
        model = made(student, digits)
        soft = SoftLabels(digits.train, teacher, 20.0)
        images, labels = (torch.stack(part) for part in zip(*(soft[i] for i in range(300)), strict=True))
        least = -(labels * labels.clamp_min(1e-12).log()).sum(1).mean()
        with torch.no_grad():
            at_t, at_1 = (functional.cross_entropy(model(images) / t, labels) for t in (20.0, 1.0))
        assert at_t - least < 0.05
        assert at_1 - least > 2 * (at_t - least)
        assert models.accuracy(model, digits.test) > 0.85

    def test_a_high_temperature_makes_logits_large(self, digits: datasets.DataSet) -> None:
        """Why its softmax at T = 1 gives no gradient (Carlini and Wagner 2017), while its logits do."""
        spread = {}
        for temperature in (1.0, 50.0):
            model = made(recipe(BRIEF, defense={"name": "distillation", "temperature": temperature}), digits)
            with torch.no_grad():
                spread[temperature] = model(digits.test.images(range(100))).std().item()
        assert spread[50.0] > 3 * spread[1.0]


class TestAdversarialTraining:
    def test_learns_the_examples_with_their_labels(self, digits: datasets.DataSet) -> None:
        """Images that only the examples have get the class that only the examples give them."""
        adversarial = DEFENSES["adversarial_training"](attacks=[{"name": "cw"}])
        generator = torch.Generator().manual_seed(0)
        patterns = (torch.rand(1, 1, 8, 8, generator=generator) > 0.5).float().expand(200, -1, -1, -1)
        examples = datasets.Split([3] * 200, lambda indices: patterns[list(indices)])
        training = replace(BRIEF, epochs=10, batch_size=32)
        of = recipe(training, defense={"name": "adversarial_training", "attacks": [{"name": "cw"}]})
        common: Mapping[str, Any] = {"needed": {}, "device": "cpu", "on_batch": None, "checkpoint": None}
        model = adversarial.train(of, digits.train, examples=examples, **common)
        assert model(patterns[:1]).argmax().item() == 3
        assert models.accuracy(model, digits.test) > 0.8

    def test_needs_the_undefended_network(self) -> None:
        of = recipe(BRIEF, defense={"name": "adversarial_training", "attacks": [{"name": "cw"}]})
        assert DEFENSES["adversarial_training"](attacks=[{"name": "cw"}]).needs(of) == {"undefended": recipe(BRIEF)}


class TestPGD:
    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_stays_in_the_ball_and_raises_the_loss(self, digits: datasets.DataSet, norm: Any) -> None:
        model = made(recipe(replace(BRIEF, epochs=8)), digits)
        images, labels = digits.test.images(range(64)), digits.test.labels[:64]
        epsilon = {"linf": 0.2, "l2": 1.0}[norm]
        torch.manual_seed(0)
        x = PGDTraining(norm=norm, epsilon=epsilon, steps=7).perturb(model.train(), images, labels)
        assert model.training
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
        delta = (x - images).flatten(1)
        lengths = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
        assert x.min() >= 0 and x.max() <= 1
        assert (lengths <= epsilon * (1 + 1e-5)).all() and lengths.max() > 0.9 * epsilon
        model.eval()
        before, after = (functional.cross_entropy(model(of), labels).item() for of in (images, x))
        assert after > 3 * before

    def test_a_flat_loss_moves_nothing_out_of_bounds(self) -> None:
        flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        for parameter in flat.parameters():
            nn.init.zeros_(parameter)
        images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        for norm, length in (("linf", lambda d: d.abs().amax(1)), ("l2", lambda d: d.norm(dim=1))):
            x = PGDTraining(norm=norm, epsilon=0.1, steps=3).perturb(flat, images, torch.zeros(4, dtype=torch.long))  # type: ignore[arg-type]
            assert x.isfinite().all()
            assert (length((x - images).flatten(1)) <= 0.1 + 1e-6).all()

    def test_the_victim_is_more_robust(self, digits: datasets.DataSet) -> None:
        """I-FGM at ε = 0.1 breaks most of the undefended network's images, and far fewer of the trained one's."""
        training = replace(BRIEF, epochs=15, batch_size=32)
        plain = made(recipe(training), digits)
        hard = made(recipe(training, defense={"name": "pgd_training", "epsilon": 0.1, "steps": 5}), digits)
        images, labels = digits.test.images(range(100)), digits.test.labels[:100]
        broken = {}
        for name, model in (("plain", plain), ("hard", hard)):
            right = model(images).argmax(1) == labels
            attack = IFGM(norm="linf", epsilons=[0.1], targeted=False)
            broken[name] = attack(model, images[right], labels[right])["linf"].success.double().mean().item()
        assert broken["hard"] < 0.6 * broken["plain"]
        assert models.accuracy(hard, digits.test) > 0.85

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"epsilon": 0.0, "steps": 1}, "epsilon must be above 0"),
            ({"epsilon": 0.1, "steps": 0}, "steps must be at least 1"),
            ({"epsilon": 0.1, "steps": 1, "step_size": 0.0}, "step_size must be above 0"),
            ({"epsilon": 0.1, "steps": 1, "norm": "l1"}, "norm must be"),
        ],
        ids=str,
    )
    def test_refuses(self, wrong: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            PGDTraining(**wrong)


class TestInterrupted:
    """A training that was cut off and begun again ends with the weights of one that was not."""

    @staticmethod
    def cut(after: int) -> Any:
        seen = 0

        def on_batch(*_: object) -> None:
            nonlocal seen
            seen += 1
            if seen == after:
                raise KeyboardInterrupt

        return on_batch

    @pytest.mark.parametrize("optimizer", ["adam", "sgd"])
    @pytest.mark.parametrize("perturbed", [False, True], ids=["plain", "perturbed"])
    def test_same_weights(self, tmp_path: Any, optimizer: Any, perturbed: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        data = TensorDataset(
            torch.rand(90, 1, 8, 8, generator=generator), torch.randint(10, (90,), generator=generator)
        )
        training = Training(epochs=4, batch_size=20, learning_rate=1e-2, optimizer=optimizer)
        perturb = PGDTraining(epsilon=0.1, steps=2).perturb if perturbed else None

        def trained(**options: Any) -> list[Tensor]:
            with models.seeded(1):
                model = models.build("digits", num_classes=10)
            models.train(model, data, training, perturb=perturb, **options)
            return [*model.state_dict().values()]

        whole, file = trained(), tmp_path / "models" / "checkpoint.safetensors"
        for batches in (12, 3):  # in the third epoch; then in the same one again, two batches in
            with pytest.raises(KeyboardInterrupt):
                trained(checkpoint=file, on_batch=self.cut(batches))
            assert file.is_file()
        seen: list[int] = []
        resumed = trained(checkpoint=file, on_batch=lambda done, total, _: seen.append(done))
        assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
        assert seen[0] > 2 * 90 and seen[-1] == 4 * 90
        assert not file.exists()

        file.write_bytes(b"half a file")
        assert all(torch.equal(a, b) for a, b in zip(whole, trained(checkpoint=file), strict=True))

    def test_another_training_is_passed_over(self, tmp_path: Any) -> None:
        data, file = TensorDataset(torch.zeros(20, 1, 8, 8), torch.zeros(20, dtype=torch.long)), tmp_path / "c"
        training = Training(epochs=3, batch_size=10)
        with pytest.raises(KeyboardInterrupt):
            models.train(models.build("digits", num_classes=10), data, training, checkpoint=file, on_batch=self.cut(3))
        seen: list[int] = []
        other = replace(training, seed=1)
        report = lambda done, total, _: seen.append(done)  # noqa: E731
        models.train(models.build("digits", num_classes=10), data, other, checkpoint=file, on_batch=report)
        assert seen[0] == 10
