"""`plan` refuses, in the same line, what `run` refuses before its first worker works."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from eadbench import models
from eadbench.harness.results.owner import Owner
from tests.command import eadbench, refusal
from tests.harness.commands.spec_files import spec_file
from tests.sweeps import run, small

CODE = """
from dataclasses import dataclass
from typing import ClassVar

from eadbench.attacks import FGM


@dataclass(frozen=True, kw_only=True)
class Picky(FGM):
    \"\"\"FGM that does not take every combination of its axes.\"\"\"

    AXES: ClassVar = ("norm", "step")
    step: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if self.norm == "linf" and self.step > 1:
            raise ValueError("step must be at most 1 with norm linf")
"""
VICTIM = {"arch": "digits", "training": {"epochs": 1, "batch_size": 32, "learning_rate": 3e-3}}
FGM = {"name": "fgm", "norm": "l2", "epsilons": [1]}
PICKY = {"name": "picky_attacks:Picky", "norm": ["l2", "linf"], "step": [1, 2], "epsilons": [1]}


def trained(**parameters: Any) -> list[dict[str, Any]]:
    return [VICTIM | {"defense": {"adversarial_training": {"attacks": [FGM], **parameters}}}]


REFUSED: Mapping[str, tuple[dict[str, Any], str]] = {
    "an architecture": ({"victims": [VICTIM | {"arch": "resnet1"}]}, "victims[0]: "),
    "a module": ({"victims": [VICTIM | {"arch": "no_such_module:net"}]}, "victims[0]: "),
    "a function": ({"victims": [VICTIM | {"arch": "picky_attacks:net"}]}, "victims[0]: "),
    "parameters of an architecture": (
        {"victims": [VICTIM | {"arch": "resnet18", "parameters": {"wide": 3}}]},
        "victims[0]: ",
    ),
    "weights that are not there": ({"victims": [{"arch": "digits", "weights": "no.pt"}]}, "victims[0].weights: there"),
    "weights of another architecture": (
        {"victims": [{"arch": "digits", "weights": "other.safetensors"}]},
        "victims[0]: other.safetensors does not fit the architecture",
    ),
    "a defence": ({"victims": [VICTIM | {"defense": "no_such_defense:D"}]}, "victims[0].defense: "),
    "an attack": ({"attacks": [{"name": "no_such_attack"}]}, "attacks[0].name: "),
    "a hyperparameter": ({"attacks": [FGM | {"epsilons": [0]}]}, "attacks[0]"),
    "a combination of axes": (
        {"attacks": [PICKY]},
        "attacks: picky_attacks:Picky does not take {'epsilons': [1.0], 'targeted': True, 'norm': 'linf', 'step': 2.0}",
    ),
    "a combination of axes to train on": (
        {"victims": trained(attacks=[PICKY], images=2)},
        "victims: adversarial_training.attacks: picky_attacks:Picky does not take",
    ),
    "images": ({"images": {"count": 401}}, "images.count: 401 asked for, but digits classifies only 400"),
    "images to train on": (
        {"victims": trained(images=100_000)},
        "victims: adversarial_training.images: 100000 asked for, but the train split has only 1397 images",
    ),
    "victims to test on": (
        {"victims": [VICTIM | {"evaluated_on": ["other"]}]},
        "victims[0].evaluated_on: no victim is called 'other'",
    ),
    "weights of a victim to test on": (
        {"victims": [VICTIM | {"evaluated_on": "all"}, {"arch": "digits", "weights": "no.pt", "attacked": False}]},
        "victims[1].weights: there is no file no.pt",
    ),
    "a file of targets": ({"targets": {"file": "no.csv"}}, "targets.file: "),
    "a target": ({"targets": {"file": "targets.csv"}}, "targets: targets.csv: image '0', target '12'"),
    "a data set": ({"dataset": {"name": "digitz"}}, "dataset.name: "),
    "results of another sweep": ({"name": "other"}, "small: holds the sweep 'small', not 'other'"),
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the specs name, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("picky_attacks.py").write_text(CODE)
    Path("targets.csv").write_text("image,target\n0,12\n")
    weights = models.build("cw_mnist", num_classes=10).state_dict()
    safetensors.torch.save_file(weights, "other.safetensors")
    Path("small").mkdir()
    Path("small/spec.yaml").write_text("name: small\n")
    Path("small/format.json").write_text('{"format": 3}')


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_plan_refuses_what_run_does(changes: dict[str, Any], message: str) -> None:
    options = ["--results", "small", "--executor", "serial"]
    spec = spec_file(**changes)
    planned, ran = eadbench("plan", spec, *options), eadbench("run", spec, *options)
    assert (planned.code, ran.code) == (2, 2), planned
    assert refusal(planned) == refusal(ran)
    assert refusal(planned).removeprefix("spec.yaml: ").startswith(message)
    assert not Path("small/models").exists()


WORKERS: Mapping[str, tuple[dict[str, Any], list[str], str]] = {
    "cores": ({"resources": {"threads": 1000}}, [], "resources: 1 workers of 1000 CPU each do not fit on this machine"),
    "workers": ({"resources": {"workers": 1000}}, [], "resources: 1000 workers of 1 CPU each do not fit"),
    "memory": ({"resources": {"memory": "900TiB"}}, [], "resources: 1 workers of 1 CPU, 9.22e+05 GiB memory each"),
    "an address": ({}, ["--executor", "serial", "--address", "auto"], "address: auto is of a Ray cluster"),
    "a data set": (
        {"dataset": {"name": "tests.harness.commands.test_plan_refuses:unsendable"}},
        [],
        "dataset: digits cannot be sent to workers",
    ),
}


def unsendable() -> Any:
    """The digits, with a lock among their images."""
    import threading
    from dataclasses import replace

    from eadbench.harness import datasets

    data = datasets.load("digits")
    lock = threading.Lock()

    def images(indices: Any) -> Any:
        with lock:
            return data.test.images(indices)

    return replace(data, test=datasets.Split(data.test.labels, images))


@pytest.mark.parametrize(("changes", "options", "message"), WORKERS.values(), ids=WORKERS)
def test_plan_refuses_workers_that_cannot_be(changes: dict[str, Any], options: list[str], message: str) -> None:
    planned = eadbench("plan", spec_file(**changes), *options)
    assert planned.code == 2
    assert refusal(planned).removeprefix("spec.yaml: ").startswith(message)
    serial = ["--executor", "serial"]
    assert options or eadbench("plan", spec_file(**changes), *serial).code == 0


def test_plan_refuses_a_folder_that_nobody_writes_to() -> None:
    planned = eadbench("plan", spec_file(), "--results", "/proc/self/small")
    assert planned.code == 1
    assert refusal(planned) == "/proc/self/small: nothing can be written to /proc/self; give another --results"


def test_plan_says_that_another_command_works_in_the_folder() -> None:
    with Owner(Path("small"), print) as owner:
        owner.claim()
        planned = eadbench("plan", spec_file(), "--results", "small")
    assert planned.code == 0 and "`run` must wait for it to end" in planned.err
    assert "wait" not in eadbench("plan", spec_file(), "--results", "small").err


def test_plan_of_a_complete_sweep_needs_no_workers(tmp_path: Path) -> None:
    what = small(attacks=[FGM])
    run(what, tmp_path / "done")
    huge = spec_file(resources={"threads": 1000})
    assert eadbench("plan", huge, "--results", tmp_path / "done").code == 0


def test_plan_sees_the_models_of_a_store(tmp_path: Path) -> None:
    run(small(attacks=[FGM]), tmp_path / "done")
    planned = ["plan", spec_file(), "--results", "new"]
    assert "to make first" in eadbench(*planned).out
    assert "to make first" not in eadbench(*planned, "--models", tmp_path / "done" / "models").out
