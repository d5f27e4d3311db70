"""How long a sweep will take: trials of seconds against whole runs, sums against closed forms, the command's words."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.harness import datasets
from eadbench.harness.execution.estimate import Estimate, Part
from eadbench.harness.execution.trials import Seconds, attack_seconds, forward_seconds, training_seconds
from eadbench.harness.plan import grid
from eadbench.harness.plan.cells import Example, Setting
from eadbench.models import Recipe, Training
from tests.command import eadbench
from tests.harness.commands.spec_files import spec_file
from tests.sweeps import run, small

SLEEP = 0.01
EXAMPLES = [Example(image, image % 3, None, 1e-3, 0.0) for image in range(4)]
IMAGES = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))

LONG: Mapping[str, dict[str, Any]] = {
    "search over c": {"name": "ead", "binary_search_steps": 3, "max_iterations": 50, "abort_early": False},
    "steps": {"name": "ddn", "steps": 120},
}


class Slow(nn.Module):
    """A network whose passes take a known time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(SLEEP)
        logits: Tensor = self.head(x.flatten(1))
        return logits


def setting_of(attack: dict[str, Any]) -> Setting:
    return grid.settings(small(attacks=[attack], targets="untargeted"))[0]


@pytest.mark.parametrize("attack", LONG.values(), ids=LONG)
def test_a_trial_tells_what_the_whole_attack_takes(attack: dict[str, Any]) -> None:
    setting, network = setting_of(attack), Slow()
    labels = torch.tensor([example.label for example in EXAMPLES])
    started = time.perf_counter()
    setting.build(EXAMPLES)(network, IMAGES, labels, batch_size=4)
    took = (time.perf_counter() - started) / len(EXAMPLES)
    tried = attack_seconds(network, setting, EXAMPLES, IMAGES, seconds=0.3, batch_size=4)
    assert tried.likely == pytest.approx(took, rel=0.5)
    assert tried.likely <= tried.most < 5 * took


def test_an_attack_that_ends_within_its_trial_is_measured() -> None:
    setting = setting_of({"name": "fgm", "norm": "l2", "epsilons": [0.1, 0.2]})
    tried = attack_seconds(Slow(), setting, EXAMPLES, IMAGES, seconds=30, batch_size=4)
    assert tried.likely == tried.most and SLEEP / 4 < tried.likely < 20 * SLEEP


def test_an_attack_that_says_nothing_is_judged_by_its_most_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "silent_attack.py").write_text(SILENT)
    monkeypatch.syspath_prepend(tmp_path)
    tried = attack_seconds(
        Slow(), setting_of({"name": "silent_attack:Silent"}), EXAMPLES, IMAGES, seconds=0.1, batch_size=4
    )
    assert tried.likely == tried.most and 0.5 < tried.most / (1000 * SLEEP / 4) < 10  # longer on a busy machine


SILENT = '''
from dataclasses import dataclass

from eadbench.attacks import FGM


@dataclass(frozen=True, kw_only=True)
class Silent:
    """An attack of many forward passes."""

    targeted: bool = False
    most_passes = 1000

    def __call__(self, model, images, labels, *, batch_size):
        for _ in range(997):
            model(images)
        return FGM(norm="l2", epsilons=[1], targeted=False)(model, images, labels, batch_size=batch_size)
'''


def test_a_training_is_tried() -> None:
    data = datasets.load("digits")

    def tried(epochs: int) -> Seconds:
        recipe = Recipe(
            arch="digits",
            parameters={},
            num_classes=10,
            trained_on=data.identity,
            defense={"name": "none"},
            training=Training(epochs=epochs, batch_size=32, learning_rate=1e-3),
        )
        return training_seconds(recipe, data, 0, seconds=0.3)

    short, long = tried(20), tried(400)
    assert 0.2 < short.likely < long.likely / 4
    assert short.most == pytest.approx(1.5 * short.likely)


def test_a_forward_pass_is_timed() -> None:
    assert 1 <= forward_seconds(Slow(), IMAGES) / (SLEEP / 64) < 20  # longer on a busy machine


def part(what: str, likely: float, victim: str = "a") -> Part:
    return Part(victim=victim, what=what, seconds=Seconds(likely, 2 * likely), measured=False)


@pytest.mark.parametrize(
    ("workers", "chain", "seconds"),
    [(1, 60, 100 + 400), (2, 60, 60 + 200), (8, 60, 60 + 50), (2, 100, 100 + 200)],
)
def test_trainings_wait_for_each_other_and_attacks_do_not(workers: int, chain: float, seconds: float) -> None:
    parts = [part("training", 60), part("training", 40, "b"), part("ead", 380), part("transfer", 20)]
    whole = Estimate(parts=parts, workers=workers, gpus=0.5, device="GPU", longest_training=Seconds(chain, 2 * chain))
    assert whole.seconds == Seconds(seconds, 2 * seconds)
    assert whole.cost(3.6).likely == pytest.approx(seconds * workers * 0.5 / 1000)


def test_the_command(tmp_path: Path) -> None:
    study = {
        "victims": [
            {
                "arch": "digits",
                "training": {"epochs": 3, "batch_size": 32, "learning_rate": 3e-3},
                "evaluated_on": "all",
            },
            {
                "arch": "digits",
                "training": {"epochs": 3, "batch_size": 32, "learning_rate": 3e-3},
                "defense": {
                    "adversarial_training": {"attacks": [{"name": "fgm", "norm": "l2", "epsilons": [1]}], "images": 4}
                },
            },
        ]
    }
    planned = ["plan", spec_file(**study), "--results", tmp_path / "r"]
    told = eadbench(*planned, "--time", "--workers", 4, "--price", 2.5)
    assert told.code == 0, told.err
    for words in (
        "no defence +training",
        "adversarial training.* +crafting",
        "no defence +FGM",
        "no defence +transfer",
    ):
        assert re.search(words, told.out), told.out
    assert re.search(r"about .* \(at most .*\) on 4 workers; [\d.]+ \(at most [\d.]+\) at 2.5 per GPU-hour", told.out)
    assert not (tmp_path / "r").exists()
    assert "about" not in eadbench(*planned).out

    plain = ["plan", spec_file(), "--executor", "serial", "--time", "--results", tmp_path / "done"]
    run(small(attacks=[{"name": "fgm", "norm": "l2", "epsilons": [1]}], images={"count": 2}), tmp_path / "done")
    again = eadbench(*plain).out
    assert "earlier shards" in again and "a trial here" not in again
    run(small(attacks=[{"name": "fgm", "norm": "l2", "epsilons": [1]}]), tmp_path / "done")
    assert "about 0 s (at most 0 s)" in eadbench(*plain).out
