"""Deliberately broken evaluations, each caught by its own indicator alone, and honest ones, which raise none."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import APGD, DDN, EAD, FGM, AutoAttack, Budgeted, CarliniWagner, figures_of
from eadbench.attacks.engine.inputs import ArgumentWarning
from eadbench.harness.analysis.aggregate import summarise
from eadbench.harness.analysis.evidence import Counts, Evidence, evidence_of
from eadbench.harness.analysis.indicators import INDICATORS, findings, raised
from eadbench.harness.datasets import load
from eadbench.harness.execution.box import in_box
from eadbench.harness.execution.rows import crafted_rows, roundings, survivals
from eadbench.harness.parquet.rows import as_stored
from eadbench.harness.parquet.stored import SETTING
from eadbench.harness.plan.cells import Example, Setting, Victim
from eadbench.harness.plan.grid import Shard

ROOT = Path(__file__).parents[3]
IMAGES = 64
SEARCH = {"binary_search_steps": 6, "max_iterations": 60, "initial_const": 0.1}


class Net(nn.Module):
    """A small network on the digits, with what a test puts before and after it."""

    def __init__(self, before: Callable[[Tensor], Tensor] = lambda x: x, after: Any = lambda z: z) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.after(self.layers(self.before(x)))
        return z


class StillTraining(Net):
    """Its dropout never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.layers.insert(3, nn.Dropout(0.3))

    def train(self, mode: bool = True) -> "StillTraining":
        return super().train(True)


class Detected(Net):
    """A detector in front: an image with a value that no digit has is rejected, as class 0."""

    def forward(self, x: Tensor) -> Tensor:
        levels = 16 * x.flatten(1)
        accepted = ((levels - levels.round()).abs() < 1e-3).all(1)[:, None]
        return torch.where(accepted, self.layers(x), 30 * torch.eye(10)[:1])


class Reversed(torch.autograd.Function):
    """The identity; its gradient points the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]


@dataclass(frozen=True, kw_only=True)
class Unclipped:
    """Someone's attack: it doubles the changes of some images that FGM finds, and does not clip them."""

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Any:
        result = FGM(norm="linf", epsilons=(0.1, 0.2, 0.3, 0.5), targeted=False)(model, images, labels)
        kept = result["linf"]
        kept.images[:5] = torch.where(kept.images[:5] > 0.5, kept.images[:5] + 1, kept.images[:5])
        return result


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Tensor]:
    """Weights of the network, trained for a second."""
    torch.manual_seed(0)
    train = load("digits").train
    images, labels = train.images(list(range(len(train)))), train.labels
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(150):
        loss = nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    return net.state_dict()


@dataclass(frozen=True)
class Case:
    """An evaluation: a victim, and an attack as a spec has it."""

    attack: Any
    name: str = "ead"
    victim: Callable[[], nn.Module] = Net
    parameters: dict[str, Any] = field(default_factory=dict)
    targeted: bool = False
    scale: float = 1.0
    """By which the last layer is multiplied."""
    noise: float = 0.0
    """Of what is added to its weights."""
    images: int = IMAGES


def evidence(case: Case, weights: Mapping[str, Tensor]) -> Evidence:
    """Attack digits as a worker does, and return the evidence on the cell."""
    torch.manual_seed(0)
    model = case.victim()
    names = [name for name in model.state_dict() if name.startswith("layers")]
    model.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(case.noise * torch.randn_like(parameter))
        for parameter in model.layers[-1].parameters():  # type: ignore[union-attr]
            parameter.mul_(case.scale)
    model.eval()
    test = load("digits").test
    images = test.images(list(range(len(test))))
    right = (model(images).argmax(1) == test.labels).nonzero().squeeze(1)
    accuracy, chosen = len(right) / len(test), right[: case.images].tolist()
    figures = figures_of(model, images[:32])
    victim = Victim(
        digest="a" * 16,
        name=None,
        arch="digits",
        defense="none",
        defense_parameters={},
        trained_on="digits",
        accuracy=accuracy,
        images=chosen,
        labels=test.labels[chosen].tolist(),
        figures=figures,
    )
    kappa = float(getattr(case.attack, "kappa", 0.0) if not isinstance(case.attack, Budgeted) else 0.0)
    labels = test.labels[chosen]
    aims = (labels + 1) % 10 if case.targeted else labels
    examples = [
        Example(image, int(label), int(aim) if case.targeted else None, None, kappa)
        for image, label, aim in zip(chosen, labels, aims, strict=True)
    ]
    rules: Sequence[str | None] = [None]
    setting = Setting(
        attack=case.name,
        parameters={"targeted": case.targeted, **case.parameters},
        betas=[None],
        kappas=[kappa],
        decision_rules=rules,
        precision="float32",
    )
    shard = Shard(dataset="digits", split="test", victim=victim, targets="x", setting=setting, examples=examples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ArgumentWarning)  # as a worker does
        result = case.attack(model, images[chosen], aims)
    kept, outside = in_box({None: result[next(iter(result))]}, images[chosen])
    shares = survivals(shard, model, kept, times=5, batch_size=64)
    rounded = roundings(shard, model, images[chosen], kept, batch_size=64)
    rows = as_stored(crafted_rows(shard, "digits", kept, result, shares, rounded, outside)).assign(line=0, targets="x")
    lines = rows.iloc[:1].set_index("line")[list(SETTING)]
    counts = Counts(lines)
    list(counts.watched([rows]))
    [found] = evidence_of(lines, counts, summarise(rows, seed=0), [victim]).values()
    return found


EVALUATED = {"norm": "linf", "epsilon": 0.3, "ensemble": ["apgd-ce", "square"]}
CASCADE = AutoAttack(norm="linf", epsilon=0.3, ensemble=("apgd-ce", "square"), steps=10, queries=100)
UNTARGETED = EAD(**SEARCH, targeted=False)
BROKEN: dict[str, tuple[Case, str]] = {
    "masked gradients": (Case(UNTARGETED, victim=lambda: Net(lambda x: (8 * x).round() / 8)), "zero_gradient"),
    "softmax output": (Case(UNTARGETED, victim=lambda: Net(after=lambda z: z.softmax(1))), "probabilities"),
    "a stochastic layer": (
        Case(UNTARGETED, victim=lambda: Net(after=lambda z: z + 0.3 * torch.randn_like(z))),
        "random",
    ),
    "too few iterations": (
        Case(Budgeted(attack=DDN(steps=16, targeted=False), budget=32), name="ddn", parameters={"budget": 32}),
        "incomplete",
    ),
    "a search that never crosses the boundary": (
        Case(
            Budgeted(attack=DDN(steps=40, initial_norm=1e-6, gamma=1e-6, targeted=False), budget=80),
            name="ddn",
            parameters={"budget": 80},
        ),
        "spent",
    ),
    "κ too large": (Case(EAD(**SEARCH, kappa=200.0, targeted=False)), "kappa"),
    "train mode": (Case(UNTARGETED, victim=StillTraining), "training_mode"),
    "a batch-dependent victim": (Case(UNTARGETED, victim=lambda: Net(lambda x: x - 0.5 * x.mean(0))), "batch"),
    "a detector in front": (Case(EAD(**SEARCH), victim=Detected, targeted=True), "zero_gradient_near"),
    "a diverged model": (Case(UNTARGETED, noise=5.0, images=20), "weak_victim"),
    "an attack on the cross-entropy of saturated logits": (
        Case(FGM(norm="linf", epsilons=(0.3,), targeted=False), name="other:FGSM", scale=100.0),
        "foreign_zero_gradient",
    ),
    "a derivative that is not finite": (
        Case(UNTARGETED, victim=lambda: Net(lambda x: x + 0 * x.sqrt())),
        "nonfinite_gradient",
    ),
    "images that are not clipped": (Case(Unclipped(), name="fgm"), "outside"),
    "gradients that mislead": (
        Case(CASCADE, victim=lambda: Net(Reversed.apply), name="autoattack", parameters=EVALUATED),
        "black_box",
    ),
    "five images": (Case(UNTARGETED, images=5), "few_images"),
}
HONEST: dict[str, Case] = {
    "EAD": Case(UNTARGETED),
    "EAD to target classes": Case(EAD(**SEARCH), targeted=True),
    "C&W": Case(CarliniWagner(**SEARCH, learning_rate=0.05, targeted=False), name="cw"),
    "C&W on logits as after distillation": Case(
        CarliniWagner(**SEARCH, learning_rate=0.05, targeted=False), name="cw", scale=100.0
    ),
    "DDN on a budget": Case(
        Budgeted(attack=DDN(steps=100, targeted=False), budget=200), name="ddn", parameters={"budget": 200}
    ),
    "a cascade at a fixed ε": Case(CASCADE, name="autoattack", parameters=EVALUATED),
    "APGD": Case(APGD(norm="linf", epsilon=0.3, steps=20, targeted=False), name="apgd", parameters={"epsilon": 0.3}),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_evaluation_is_caught_by_its_own_indicator_alone(kind: str, weights: Mapping[str, Tensor]) -> None:
    case, own = BROKEN[kind]
    assert raised(evidence(case, weights)) == [own]


@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_evaluation_raises_none(kind: str, weights: Mapping[str, Tensor]) -> None:
    found = evidence(HONEST[kind], weights)
    assert raised(found) == [], [finding for finding in findings(found) if finding.raised]


def test_what_an_indicator_explains_is_an_indicator() -> None:
    assert {name for indicator in INDICATORS.values() for name in indicator.explains} <= set(INDICATORS)


def test_the_page_has_every_indicator() -> None:
    lines = [
        f"| `{name}` | {each.figure} | {100 * each.threshold:g} % | {each.cause} | {each.remedy} |"
        for name, each in INDICATORS.items()
    ]
    assert "\n".join(lines) in (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")


def known(**changes: Any) -> Evidence:
    counts = dict.fromkeys(
        (
            "successes",
            "greatest",
            "nonfinite",
            "random",
            "spent",
            "over_budget",
            "over_epsilon",
            "silent",
            "fall",
            "outside",
        ),
        0.0,
    )
    counts |= {"examples": 100.0, "traced": 100.0, **changes.pop("counts", {})}
    return Evidence(attack="ead", parameters={"kappa": 0.0, "budget": 100, "epsilon": 0.1}, counts=counts, **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"counts": {"silent": 1.0}}, []),
        ({"counts": {"silent": 2.0}}, ["silent"]),
        ({"counts": {"over_budget": 1.0}}, ["over_budget"]),
        ({"counts": {"over_epsilon": 1.0}}, ["over_epsilon"]),
        ({"counts": {"outside": 1.0}}, ["outside"]),
        ({"black_box": 0.05}, []),
        ({"black_box": 0.06}, ["black_box"]),
        ({"drop": 4.0}, []),
        ({"drop": 6.0}, ["monotone"]),
        ({"drop": 6.0, "interval": 30.0}, ["few_images"]),
        ({"transferred": 0.06}, ["transfer"]),
        ({"transferred": 0.06, "victim": {"zero_gradient": 0.5}}, ["zero_gradient"]),
        ({"accuracy": 0.95, "dataset": "mnist", "arch": "cw_mnist"}, []),
        ({"accuracy": 0.85, "dataset": "mnist", "arch": "cw_mnist"}, ["weak_victim"]),
        ({"accuracy": 0.85, "dataset": "mnist", "arch": "cw_mnist", "hardened": True}, []),
    ],
)
def test_an_indicator_is_raised_beyond_its_threshold(changes: dict[str, Any], expected: list[str]) -> None:
    assert raised(known(**changes)) == expected


ROW = {
    **dict.fromkeys(("dataset", "split", "arch", "defense", "trained_on"), "x"),
    "defense_parameters": "{}",
    "temperature": None,
    "attack": "ead",
    "norm": None,
    "decision_rule": None,
    "beta": None,
    "kappa": 0.0,
    "label": 0,
    "target": None,
    "shard": "s",
    "iterations": 1,
    "forward_passes": 1,
}


def line(cell: str, model: str, tested: str, successes: Sequence[bool], **setting: Any) -> list[dict[str, Any]]:
    """The rows of a line, image after image."""
    shared = ROW | {"cell": cell, "model": model, "evaluated_on": tested, "parameters": "{}"} | setting
    return [shared | {"image": image, "success": success} for image, success in enumerate(successes)]


def counted(rows: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame, Counts]:
    frame = as_stored(rows).assign(targets="all")
    frame["line"] = frame.groupby(["cell", "evaluated_on"], sort=False).ngroup()
    lines = frame.drop_duplicates("line").set_index("line")[list(SETTING)]
    counts = Counts(lines)
    list(counts.watched([frame]))
    return frame, lines, counts


def test_transfers_that_break_what_no_attack_breaks_are_counted() -> None:
    rows = line("1", "a", "a", [True, False, False, False]) + line("2", "a", "a", [False, True, False, False])
    rows += line("3", "b", "a", [True, True, True, False]) + line("3", "b", "b", [True] * 4)
    rows += line("4", "b", "b", [False] * 4, kappa=5.0) + line("1", "a", "b", [True] * 4)
    _, _, counts = counted(rows)
    assert counts.transferred == {"a": 0.25, "b": 0.0}


def test_what_an_attack_without_gradients_breaks_and_one_with_gradients_does_not_is_counted() -> None:
    fixed = {"norm": "linf", "parameters": '{"epsilon":0.1}'}
    rows = line("white", "a", "a", [False, False, False, True], attack="apgd", **fixed)
    rows += line("wider", "a", "a", [False, False, True, True], attack="apgd", norm="linf", parameters="{}")
    rows += line("other norm", "a", "a", [False] * 4, attack="fmn", norm="l2")
    rows += line("other κ", "a", "a", [False] * 4, attack="apgd", norm="linf", kappa=1.0)
    rows += line("other victim", "b", "b", [False] * 4, attack="apgd", norm="linf")
    rows += line("for all images", "a", "a", [False] * 4, attack="universal", norm="linf")
    rows += line("black", "a", "a", [True, True, True, False], attack="square", **fixed)
    for row in rows:
        row["linf"] = 0.1 if row["success"] else None
    for row, distance in zip(rows[-4:], (0.05, 0.1, 0.2, None), strict=True):
        row["linf"] = distance
    _, _, counts = counted(rows)
    assert counts.black_box == {"white": 0.5, "wider": 0.5}


def test_in_an_ensemble_square_counts_behind_a_member_with_gradients_only() -> None:
    rows = []
    for cell, members in (("late", '["fab","square"]'), ("first", '["square","fab"]'), ("standard", '"standard"')):
        parameters = f'{{"epsilon":0.1,"ensemble":{members}}}'
        rows += line(
            cell, "a", "a", [True, True, False, False], attack="autoattack", norm="linf", parameters=parameters
        )
        for row, member in zip(rows[-4:], ("square", "fab", None, None), strict=True):
            row["found_by"] = member
    _, _, counts = counted(rows)
    assert counts.black_box == {"late": 0.25, "first": 0.0, "standard": 0.25}


def victim(digest: str) -> Victim:
    fixed = {"arch": "x", "defense": "none", "defense_parameters": {}, "trained_on": "x", "accuracy": None}
    return Victim(digest=digest, name=None, images=[], labels=[], **fixed)


def test_a_cell_that_falls_behind_one_with_a_smaller_epsilon_has_a_drop() -> None:
    rates = {"1": 0.03, "2": 0.1, "3": 0.3}
    successes = {"1": 5, "2": 9, "3": 7}
    rows = [
        row
        for cell, epsilon in rates.items()
        for row in line(cell, "a", "a", [k < successes[cell] for k in range(10)], parameters=f'{{"epsilon":{epsilon}}}')
    ]
    frame, lines, counts = counted(rows)
    found = evidence_of(lines, counts, summarise(frame, seed=0), [victim("a")])
    assert {cell: each.drop for cell, each in found.items()} == {"1": None, "2": 0.0, "3": pytest.approx(20.0)}


def test_what_exceeds_a_budget_or_an_epsilon_is_counted_with_what_a_trace_tells() -> None:
    budget = {"parameters": '{"budget":100,"epsilon":0.1}', "norm": "l2"}
    spent = {"iterations": 50, "forward_passes": 46}
    traces = [[None] * 4 + [2.0, 1.0], [None] * 5 + [1.0], [None] * 6, [4.0, 3.0, 2.0, 2.0, 2.0, 2.0]]
    rows = line("1", "a", "a", [True, True, False, False], **budget, **spent)
    rows[0] |= {"l2": 0.2, "trace": traces[0]}
    rows[1] |= {"l2": 0.1, "trace": traces[1], "forward_passes": 51}
    rows[2] |= {"trace": traces[2]}
    rows[3] |= {"trace": traces[3], "iterations": 40}
    _, _, counts = counted(rows)
    [found] = counts.by_line.to_dict("records")
    expected = {"over_epsilon": 1, "over_budget": 1, "spent": 1, "silent": 1, "traced": 3, "fall": 0.5 + 1.0 + 0.0}
    assert {name: found[name] for name in expected} == expected
