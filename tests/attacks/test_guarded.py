"""Attacks on a victim with its detector: the loss by hand, and whole attacks against their transcriptions."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import COV, EAD, CarliniWagner
from eadbench.attacks.engine.inputs import Call
from eadbench.attacks.engine.minimise import Batch
from eadbench.attacks.engine.search import Objective, Search
from eadbench.attacks.guarded import Guarded
from tests.attacks import transcription
from tests.attacks.models import Linear, examples, smooth

SHORT: dict[str, Any] = {"binary_search_steps": 4, "max_iterations": 25, "learning_rate": 0.1, "initial_const": 0.1}


def mean_square(images: Tensor) -> Tensor:
    """The excess of a detector that rejects bright images."""
    return images.square().flatten(1).mean(1) - 0.34


def guarded(model: nn.Module, weight: float = 3.0) -> Guarded:
    return Guarded(model, mean_square, weight=weight, passes=2)


def test_the_loss_is_that_of_a_hand_calculation() -> None:
    """Z = (x₁, x₂, 0) at x = (0.8, 0.6): f = 0.2 and an excess of 0.5 - 0.34; the gradient is (1, -1) + 3x."""
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).view(3, 1, 1, 2)
    model, x = guarded(Linear(weight, torch.zeros(3))), torch.tensor([0.8, 0.6]).view(1, 1, 1, 2)
    one = torch.ones(1)
    torch.testing.assert_close(model.penalty(x), 3 * torch.tensor([0.16]))
    attack = EAD(beta=0.0, initial_const=2.0)
    call = Call(model.victim, x, torch.tensor([1]), torch.zeros(1), guard=model)
    search = Search.from_attack(attack)
    objective = Objective(call, search)
    batch = Batch(descent=attack, search=search, objective=objective, call=call, beta=0 * one, rules=("l2",))
    rows = batch.start_rows(torch.tensor([0]))
    torch.testing.assert_close(rows.start_loss, torch.tensor([0.2 + 0.48]))
    before = rows.forwards.clone()
    _, gradient = objective.gradient(x, rows)
    torch.testing.assert_close(gradient.flatten(), rows.const * (torch.tensor([1.0, -1.0]) + 3 * x.flatten()))
    assert (rows.forwards - before).tolist() == [1 + 2]


@pytest.mark.parametrize("name", ["EAD", "EAD, untargeted", "C&W", "COV"])
def test_agrees_with_the_transcription(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_f, plain_judge = transcription.f, transcription.judge

    def penalty(x: Tensor) -> Tensor:
        return 3 * mean_square(x.unsqueeze(0))[0].clamp(min=0)

    def f(model: nn.Module, x: Tensor, *others: Any) -> Tensor:
        return plain_f(model, x, *others) + penalty(x)

    def judge(outcome: Any, model: nn.Module, x: Tensor, *others: Any) -> Any:
        return plain_judge(outcome, model, x, *others) if penalty(x) <= 0 else None

    targeted = "untargeted" not in name
    model = smooth()
    batch = examples(model, targeted=targeted)
    own = {} if name == "C&W" else {"beta": batch.beta}
    algorithm: Any = {"C&W": CarliniWagner, "COV": COV}.get(name, EAD)
    attack = algorithm(kappa=batch.kappa, targeted=targeted, **own, **SHORT)
    step = transcription.ead_step if algorithm is EAD else transcription.tanh_step
    fixed: dict[str, Any] = {"beta": 0.0, "rules": ("l2",)} if name == "C&W" else {}
    oblivious = attack(model, batch.images, batch.labels, batch_size=3)["l2"]
    monkeypatch.setattr(transcription, "f", f)
    monkeypatch.setattr(transcription, "judge", judge)
    outcomes = [transcription.search(step, model, *row) for row in batch.rows(attack, **fixed)]
    result = attack(guarded(model), batch.images, batch.labels, batch_size=3)
    transcription.assert_agrees(result, outcomes, batch.images)
    kept = result["l2"]
    assert kept.success.sum() >= 4 and (mean_square(kept.images[kept.success]) <= 0).all()
    assert (mean_square(oblivious.images[oblivious.success]) > 0).any()


def test_a_detector_that_rejects_everything_leaves_no_success() -> None:
    model = smooth()
    batch = examples(model)
    everything = Guarded(model, lambda images: 1 + 0 * images.flatten(1).sum(1))
    assert not EAD(**SHORT)(everything, batch.images, batch.labels)["en"].success.any()


def test_a_detector_that_accepts_everything_changes_nothing() -> None:
    model = smooth()
    batch = examples(model)
    nothing = Guarded(model, lambda images: -1 + 0 * images.flatten(1).sum(1))
    plain, other = (EAD(**SHORT)(each, batch.images, batch.labels)["en"] for each in (model, nothing))
    assert torch.equal(plain.images, other.images) and torch.equal(plain.success, other.success)


@pytest.mark.parametrize("weight", [0, -1, float("inf")])
def test_refuses_a_weight_that_is_none(weight: float) -> None:
    with pytest.raises(ValueError, match="weight must be above 0"):
        Guarded(smooth(), mean_square, weight=weight)
