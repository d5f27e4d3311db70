"""Training: its accuracy, that it repeats bit for bit, and that it leaves the random state alone."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

from eadbench import models
from eadbench.defenses import DEFENSES
from eadbench.harness import datasets
from eadbench.models import Recipe, Training
from eadbench.models.schedules import warm_up_and_decay


@pytest.fixture(scope="module")
def digits() -> datasets.DataSet:
    return datasets.load("digits")


def recipe(training: Training | None, **changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "arch": "digits",
        "parameters": {},
        "num_classes": 10,
        "trained_on": "digits",
        "defense": {"name": "none"},
        "training": training,
    }
    return Recipe(**{**fields, **changes})


def state(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def same(one: Sequence[Tensor], two: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


class TestDigits:
    def test_reaches_97_percent_in_20_seconds(self, digits: datasets.DataSet) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        started = time.process_time()
        try:
            training = Training(epochs=30, batch_size=32, learning_rate=3e-3)
            model = DEFENSES["none"]().train(recipe(training), digits.train)
        finally:
            torch.set_num_threads(threads)
        assert time.process_time() - started < 20
        assert not model.training
        predicted = models.predictions(model, digits.test, batch_size=77)
        accuracy = models.accuracy(model, digits.test)
        assert predicted.dtype == torch.int64 and predicted.shape == (400,)
        assert accuracy == (predicted == digits.test.labels).double().mean().item()
        assert accuracy >= 0.97


class TestTrain:
    SHORT = Training(epochs=1, batch_size=100, learning_rate=3e-3)

    def test_repeats_bit_for_bit(self, digits: datasets.DataSet) -> None:
        first, second = (state(DEFENSES["none"]().train(recipe(self.SHORT), digits.train)) for _ in range(2))
        assert same(first, second)
        other = DEFENSES["none"]().train(recipe(replace(self.SHORT, seed=1)), digits.train)
        assert not same(first, state(other))

    def test_leaves_the_random_state_alone(self, digits: datasets.DataSet) -> None:
        before = torch.get_rng_state()
        model = DEFENSES["none"]().train(recipe(self.SHORT), digits.train)
        models.accuracy(model, digits.test)
        assert torch.equal(torch.get_rng_state(), before)

    def test_leaves_the_model_as_attacks_want_it(self, digits: datasets.DataSet) -> None:
        model = DEFENSES["none"]().train(recipe(self.SHORT), digits.train)
        assert not any(module.training for module in model.modules())
        assert all(parameter.grad is None and parameter.is_contiguous() for parameter in model.parameters())

    def test_reports_every_batch(self, digits: datasets.DataSet) -> None:
        seen: list[tuple[int, int, float]] = []
        training = replace(self.SHORT, epochs=2, batch_size=698)  # 1397 images: two batches, and one image left over
        fit = partial(models.train, on_batch=lambda *report: seen.append(report))
        DEFENSES["none"]().train(recipe(training), digits.train, fit=fit)
        assert [done for done, _, _ in seen] == [698, 1396, 2094, 2792]
        assert {total for _, total, _ in seen} == {2792}
        assert all(isinstance(loss, float) and loss > 0 for _, _, loss in seen)

    def test_a_last_batch_of_one_suits_batch_normalisation(self) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
        data = TensorDataset(torch.rand(9, 1, 2, 2), torch.arange(9) % 2)
        models.train(model, data, Training(epochs=1, batch_size=4))

    def test_the_loss_may_take_soft_labels(self) -> None:
        """Distillation needs this."""
        images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        soft = torch.full((64, 10), 0.05)
        soft[:, 3] = 0.55

        def soft_loss(logits: Tensor, labels: Tensor) -> Tensor:
            return functional.cross_entropy(logits / 2, labels)

        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        training = Training(epochs=100, batch_size=16, learning_rate=1e-2)
        models.train(model, TensorDataset(images, soft), training, loss=soft_loss)
        given = functional.softmax(model(images) / 2, dim=1).mean(0)
        torch.testing.assert_close(given, soft[0], atol=0.03, rtol=0)

    @pytest.mark.parametrize("optimizer", ["adam", "sgd"])
    @pytest.mark.parametrize("weight_decay", [0.0, 0.1])
    def test_one_step_by_hand(self, optimizer: Any, weight_decay: float) -> None:
        """The loss is w*x with x = 1, so the gradient is 1. The only step is at the peak learning rate."""

        class Line(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.tensor(2.0))

            def forward(self, images: Tensor) -> Tensor:
                return self.weight * images.flatten(1)

        model = Line()
        data = TensorDataset(torch.ones(1, 1, 1, 1), torch.zeros(1))
        training = Training(epochs=1, learning_rate=0.1, optimizer=optimizer, momentum=0.0, weight_decay=weight_decay)
        models.train(model, data, training, loss=lambda logits, _: logits.sum())
        decayed = 2 * (1 - 0.1 * weight_decay)
        # Adam's first step is the learning rate's length whatever the gradient.
        assert model.weight.item() == pytest.approx(decayed - 0.1, abs=1e-6)

    def test_learning_rate(self) -> None:
        factor = warm_up_and_decay(100)
        rates = [factor(step) for step in range(100)]
        assert rates[0] == pytest.approx(0.1) and rates[50] == pytest.approx(0.5)
        assert rates.index(max(rates)) == 9 and max(rates) > 0.97
        assert all(later < earlier for earlier, later in itertools.pairwise(rates[9:]))
        assert 0 < rates[-1] < 0.001
        assert warm_up_and_decay(1)(0) == 1


class TestSeeded:
    def test_is_its_own_stream(self) -> None:
        before = torch.get_rng_state()
        with models.seeded(5):
            drawn = torch.rand(3)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))


class TestUndefended:
    def test_published_weights_are_taken_as_they_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def published(*, num_classes: int, weights: str) -> nn.Module:
            layer = nn.Linear(64, num_classes)
            nn.init.constant_(layer.weight, float(weights))
            return nn.Sequential(nn.Flatten(), layer)

        monkeypatch.setitem(models.MODELS, "published", published)
        given = recipe(None, arch="published", parameters={"weights": "7"})
        nothing: Dataset[Any] = TensorDataset()
        model = DEFENSES["none"]().train(given, nothing)
        assert (model.get_parameter("1.weight") == 7).all() and not model.training

    def test_given_weights_are_not_trained(self, digits: datasets.DataSet) -> None:
        with pytest.raises(ValueError, match="has given weights: there is nothing to train"):
            DEFENSES["none"]().train(recipe(None, weights="0" * 64), digits.train)
