"""Interrupted trainings, damaged and foreign checkpoints, and the lock on a model's folder."""

import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import TensorDataset

from eadbench import models
from eadbench.models import Training
from eadbench.models.averaging import Kept
from eadbench.models.checkpoint import Checkpoint

EPOCHS, BATCHES = 4, 4
TRAINING = Training(epochs=EPOCHS, batch_size=10, learning_rate=1e-2)
# 41 images: four batches an epoch, and one image left over.
_draws = torch.Generator().manual_seed(0)
DATA = TensorDataset(torch.rand(41, 2, 6, 6, generator=_draws), torch.randint(3, (41,), generator=_draws))


def network() -> nn.Module:
    """Dropout draws random numbers; batch normalisation has statistics that are not parameters."""
    with models.seeded(3):
        features = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5)]
        return nn.Sequential(*features, nn.Linear(64, 3))


def trained(training: Training = TRAINING, **options: Any) -> list[Tensor]:
    model = network()
    models.train(model, DATA, training, **options)
    return [*model.state_dict().values()]


def same(one: list[Tensor], two: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def cut(after: int) -> Callable[[int, int, float], None]:
    """Return an `on_batch` that interrupts the training after a number of batches."""
    left = iter(range(after - 1))

    def on_batch(*_: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return on_batch


def interrupted(file: Path, after: int, training: Training = TRAINING) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(training, checkpoint=file, on_batch=cut(after))


def resumed(file: Path, training: Training = TRAINING) -> tuple[list[Tensor], int]:
    """Return the weights, and the number of images done after the first batch."""
    counts: list[int] = []
    weights = trained(training, checkpoint=file, on_batch=lambda done, total, loss: counts.append(done))
    assert counts[-1] == EPOCHS * 40
    return weights, counts[0]


@pytest.mark.parametrize("after", [1, 4, 5, 9, 15, 16])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "sgd", "nesterov": False},
        {"weight_decay": 0.1},
        {"schedule": "cosine"},
        {"schedule": "onecycle"},
        {"schedule": "onecycle", "optimizer": "sgd"},
        {"schedule": "step", "step_epochs": 2},
        {"schedule": "constant"},
        {"crop": 2, "flip": True},
        {"label_smoothing": 0.1},
        {"ema": 0.9},
        {"ema": 0.9, "held_out": 0.03, "schedule": "onecycle", "crop": 1, "patience": EPOCHS},
    ],
    ids=str,
)
def test_goes_on_to_the_same_weights(tmp_path: Path, changes: dict[str, Any], after: int) -> None:
    training, file = replace(TRAINING, **changes), tmp_path / "new folder" / "checkpoint"
    interrupted(file, after, training)
    # The last batch of an epoch reports before its epoch is stored.
    stored = (after - 1) // BATCHES
    assert file.exists() == (stored > 0)
    weights, first = resumed(file, training)
    assert first == stored * 40 + 10
    assert same(weights, trained(training))
    assert not any(file.parent.glob("*"))


def test_a_training_of_one_epoch_stores_nothing(tmp_path: Path) -> None:
    trained(replace(TRAINING, epochs=1), checkpoint=tmp_path / "folder" / "checkpoint")
    assert not (tmp_path / "folder").exists()


def test_the_callers_random_state_is_left_alone(tmp_path: Path) -> None:
    interrupted(tmp_path / "checkpoint", 9)
    before = torch.get_rng_state()
    resumed(tmp_path / "checkpoint")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_checkpoint_is_discarded(tmp_path: Path, share: float) -> None:
    file = tmp_path / "checkpoint"
    interrupted(file, 9)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    weights, first = resumed(file)
    assert first == 10 and same(weights, trained())
    assert not file.exists()


@pytest.mark.parametrize(
    "metadata",
    [None, {"other": "x"}, {"training": "{"}, {"training": "{}"}, {"training": "[]"}, {"training": "3"}],
    ids=["no metadata", "other metadata", "no JSON", "no identity", "a list", "a number"],
)
def test_a_foreign_file_is_discarded(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    file = tmp_path / "checkpoint"
    safetensors.torch.save_file({"x": torch.ones(2)}, file, metadata)
    weights, first = resumed(file)
    assert first == 10 and same(weights, trained())


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"optimizer": "sgd"}, {"learning_rate": 2e-2}, {"weight_decay": 0.1}],
    ids=str,
)
def test_the_checkpoint_of_another_training_is_discarded(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = tmp_path / "checkpoint"
    interrupted(file, 9, replace(TRAINING, **changes))
    weights, first = resumed(file)
    assert first == 10 and same(weights, trained())


def test_the_checkpoint_of_another_model_is_discarded(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    wider = nn.Sequential(nn.Flatten(), nn.Linear(72, 3))
    with pytest.raises(KeyboardInterrupt):
        models.train(wider, DATA, TRAINING, checkpoint=file, on_batch=cut(9))
    assert file.exists()
    weights, first = resumed(file)
    assert first == 10 and same(weights, trained())


def test_the_optimizers_state_keeps_its_layout(tmp_path: Path) -> None:
    """Convolutions are trained in channels-last; a GPU's optimizer takes another path for mixed strides."""

    def parts() -> tuple[Checkpoint, torch.optim.Optimizer]:
        model = network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(model.parameters())
        schedule = LambdaLR(optimizer, lambda step: 1.0)
        generator = torch.Generator()
        device = torch.device("cpu")
        kept = Kept(model, TRAINING)
        return Checkpoint(tmp_path / "c", TRAINING, model, kept, optimizer, schedule, generator, device), optimizer

    first, before = parts()
    for parameter in before.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    before.step()
    first.write(1)
    second, after = parts()
    assert second.read() == 1
    old, new = (list(optimizer.state.values()) for optimizer in (before, after))
    assert len(new) == len(old) > 0
    assert not old[0]["exp_avg"].is_contiguous()
    for one, two in zip(old, new, strict=True):
        assert {name: value.stride() for name, value in one.items()} == {n: v.stride() for n, v in two.items()}
        assert all(torch.equal(one[name], two[name]) for name in one)


MAKE = """
import signal, sys, time
from pathlib import Path
from eadbench.models import lock
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
with lock(folder):
    print("locked", flush=True)
    if not folder.exists():
        with (folder.parent / "log").open("a") as log:
            log.write("made\\n")
        time.sleep(1)
        folder.mkdir()
    sys.stdin.readline()
"""


def maker(folder: Path) -> subprocess.Popen[str]:
    """Start a process that takes the lock at its first line of input, makes the folder, and ends at its second."""
    root = Path(models.__file__).parents[2]
    command = [sys.executable, "-c", MAKE, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_model_is_made_by_one_process_only(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "digest"
    folder.parent.mkdir()
    with maker(folder) as one, maker(folder) as two:
        assert hear(one) == hear(two) == "ready"
        for process in (one, two, one, two):
            tell(process)
        assert hear(one) == hear(two) == "locked"
    assert one.returncode == two.returncode == 0
    assert (folder.parent / "log").read_text() == "made\n"


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "digest"
    with maker(folder) as one, maker(folder) as two:
        assert hear(one) == hear(two) == "ready"
        tell(one)
        assert hear(one) == "locked"
        tell(two)
        time.sleep(0.5)
        assert not readable(two)
        one.kill()
        assert hear(two) == "locked"
        tell(two)
    assert two.returncode == 0


def test_waiting_for_a_lock_can_be_interrupted(tmp_path: Path) -> None:
    with maker(tmp_path / "digest") as one, maker(tmp_path / "digest") as two:
        assert hear(one) == hear(two) == "ready"
        tell(one)
        assert hear(one) == "locked"
        tell(two)
        time.sleep(0.5)
        two.send_signal(signal.SIGINT)
        assert two.wait(timeout=10) == -signal.SIGINT
        assert hear(two) == ""
        tell(one)
    assert one.returncode == 0


def readable(process: subprocess.Popen[str]) -> bool:
    return bool(select.select([process.stdout], [], [], 0)[0])


def test_a_lock_ends_with_an_error_inside_and_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="inside"), models.lock(tmp_path / "new" / "digest"):
            raise RuntimeError("inside")
    with models.lock(tmp_path / "new" / "other"), models.lock(tmp_path / "new" / "digest"):
        assert not (tmp_path / "new" / "digest").exists()
