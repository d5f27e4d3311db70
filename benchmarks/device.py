"""Measure the attacks on a machine with a GPU, in one command and at most 25 minutes.

    python benchmarks/device.py --data ROOT --out FOLDER [--only passes iteration …] [--tiny]

Needs torch ≥ 2.11, and neither Ray nor MLflow. ROOT holds MNIST as torchvision downloads it. The script
trains Carlini and Wagner's network, and writes each figure into FOLDER as soon as it has it: `table.md` has them all,
`tests.txt` what the attacks' tests said, `profile.txt` where the time goes. `--tiny` tries the script on a CPU.
"""

import argparse
import gzip
import importlib.util
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # in place of this folder, to import `benchmarks`

from benchmarks import engine, libraries  # noqa: E402
from benchmarks.engine import Bench, Line, seconds, side_by_side  # noqa: E402
from benchmarks.iteration import captured, compiled, started  # noqa: E402
from eadbench.attacks import EAD, CarliniWagner  # noqa: E402
from eadbench.attacks.engine.precision import LowerPrecision  # noqa: E402
from eadbench.models import Training, seeded, train  # noqa: E402
from eadbench.models.architectures import carlini_wagner_mnist  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    train: int = 60_000
    epochs: int = 6
    images: int = 1000
    iterations: int = 1000
    pairs: int = 200
    batch: int = 1000
    batches: tuple[int, ...] = (100, 300, 1000, 3000, 9000)
    timed: int = 50
    """The iterations of a run whose time is taken."""
    times: int = 9
    """The runs of a median."""


TINY = Scale(train=256, epochs=1, images=2, iterations=4, pairs=9, batch=9, batches=(3, 9), timed=2, times=1)


class Device:
    """A trained victim on a device, and the sections of the measurement.

    Parameters
    ----------
    root
        The folder of MNIST.
    """

    def __init__(self, root: str, scale: Scale) -> None:
        self.scale, self.name = scale, "cuda" if torch.cuda.is_available() else "cpu"
        train_images, train_labels = self.split(root, train=True)
        with seeded(0):
            model = carlini_wagner_mnist()
        training = Training(epochs=scale.epochs, batch_size=128, learning_rate=3e-3, schedule="onecycle")
        data = TensorDataset(train_images[: scale.train], train_labels[: scale.train])
        self.training_seconds = seconds(lambda: train(model, data, training, device=self.name))
        images, labels = self.split(root, train=False)
        with torch.no_grad():
            logits = torch.cat([model(part.to(self.name)).cpu() for part in images.split(1000)])
        correct = logits.argmax(1) == labels
        self.accuracy = correct.double().mean().item()
        chosen = correct.nonzero().squeeze(1)[: scale.images]
        self.bench = Bench.of_all_targets(model, images[chosen], labels[chosen], self.name)

    @staticmethod
    def split(root: str, *, train: bool) -> tuple[Tensor, Tensor]:
        """Return the images (N, 1, 28, 28) in [0, 1] and labels (N,) of a split."""
        folder, name = Path(root) / "MNIST" / "raw", "train" if train else "t10k"
        with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
            pixels = torch.frombuffer(bytearray(file.read()[16:]), dtype=torch.uint8)
        with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz") as file:
            labels = torch.frombuffer(bytearray(file.read()[8:]), dtype=torch.uint8)
        return pixels.view(-1, 1, 28, 28) / 255, labels.long()

    @property
    def timing(self) -> dict[str, int]:
        """How ratios of times are measured."""
        return {"batch": self.scale.batch, "iterations": self.scale.timed, "times": self.scale.times}

    def passes(self) -> Iterator[Line]:
        """Compare an iteration with its passes of the bare model, in every precision."""
        for precision in ("float32", "tf32", "bf16"):
            lower = precision != "float32"
            model = LowerPrecision(self.bench.model, precision) if lower else self.bench.model
            for line in engine.overhead(replace(self.bench, model=model), **self.timing):
                yield f"{precision}: {line[0]}", *line[1:]

    def searches(self) -> Iterator[Line]:
        """Measure what the abort saves, how full the batch is, and what more decision rules cost."""
        scale = self.scale
        yield from engine.abort(self.bench, scale.pairs, scale.iterations, batch=scale.batch)
        yield from engine.busy(self.bench, scale.pairs, scale.iterations, batch=scale.batch // 3)
        yield from engine.rules(self.bench, **self.timing)

    def iteration(self) -> Iterator[Line]:
        """Compare an iteration as it is with one that torch compiles, and with a CUDA graph."""
        for attack in (EAD(max_iterations=10**6), CarliniWagner(max_iterations=10**6)):
            pairs = self.bench.pairs(self.scale.batch)
            with (
                started(attack, *pairs) as eager,
                started(attack, *pairs) as traced,
                compiled(traced, **self.backend) as run,
            ):
                runs: dict[str, Callable[[], object]] = {"eager": eager.run, "compiled": run}
                if self.name == "cuda":
                    runs["CUDA graph"] = captured(eager)
                times = side_by_side(runs, 2 * self.scale.times)
            for name, took in times.items():
                yield (
                    f"{attack.LABEL}: ms of an iteration, {name}, batch {self.scale.batch}",
                    f"{1e3 * took:.3f}",
                    f"{took / times['eager']:.2f} of eager",
                )

    @property
    def backend(self) -> dict[str, str]:
        """How torch compiles: for few launches on a GPU, and only traced on a CPU."""
        return {"mode": "reduce-overhead"} if self.name == "cuda" else {"backend": "eager"}

    def waits(self) -> Iterator[Line]:
        """Run a tenth of the iterations of a search step in which nothing may wait for the device."""
        with started(EAD(max_iterations=10**6), *self.bench.pairs(self.scale.batch)) as iteration:
            iteration.run()
            if self.name == "cuda":
                torch.cuda.set_sync_debug_mode("error")
            try:
                for _ in range(2 * self.scale.timed):
                    iteration.run()
            finally:
                if self.name == "cuda":
                    torch.cuda.set_sync_debug_mode("default")
        yield (
            "iterations without a wait for the device",
            f"{2 * self.scale.timed}",
            "" if self.name == "cuda" else "not on a CPU",
        )

    def batches(self) -> Iterator[Line]:
        """Measure EAD's speed by batch size."""
        for batch in self.scale.batches:
            with started(EAD(max_iterations=10**6), *self.bench.pairs(batch)) as iteration:
                took = side_by_side({"": iteration.run}, 2 * self.scale.times)[""]
            yield f"EAD: examples × iterations a second, batch {batch}", f"{batch / took:,.0f}", ""

    def libraries(self) -> Iterator[Line]:
        """Compare EAD and C&W with those of other libraries, if these are installed."""
        if not all(importlib.util.find_spec(name) for name in ("foolbox", "torchattacks")):
            yield "other libraries", "not installed", ""
            return
        for contenders in (libraries.ead, libraries.cw):
            pairs = self.bench.pairs(self.scale.pairs)
            yield from libraries.compare(contenders, pairs, self.scale.iterations, seconds)

    def whole(self) -> Iterator[Line]:
        """Attack every image towards every other class, as the paper does, and time it to the end."""
        results: list[Any] = []
        attack = EAD(max_iterations=self.scale.iterations)
        pairs = self.bench.pairs(9 * self.scale.images)
        if self.name == "cuda":
            torch.cuda.reset_peak_memory_stats()
        took = seconds(lambda: results.append(attack(*pairs, batch_size=self.scale.batches[-1])))
        [result] = results
        figures = ", ".join(
            f"{rule.upper()} rule ASR {100 * kept.success.float().mean():.2f} %, L1 {kept.l1.nanmean():.2f}"
            for rule, kept in result.items()
        )
        yield f"EAD, {len(pairs[1])} pairs, 9 × {attack.max_iterations}, seconds; {figures}", f"{took:.1f}", ""
        yield "  gradient evaluations a second", f"{result.iterations.sum().item() / took:,.0f}", ""
        if self.name == "cuda":
            yield "  peak memory, GiB", f"{torch.cuda.max_memory_allocated() / 2**30:.2f}", ""

    def profile(self, out: Path) -> Iterator[Line]:
        """Profile some iterations of EAD."""
        with started(EAD(max_iterations=10**6), *self.bench.pairs(self.scale.batch)) as iteration:
            iteration.run()
            with torch.profiler.profile() as profiler:
                for _ in range(self.scale.times):
                    iteration.run()
        key = "self_cuda_time_total" if self.name == "cuda" else "self_cpu_time_total"
        (out / "profile.txt").write_text(profiler.key_averages().table(sort_by=key, row_limit=40))
        yield "profile of some iterations of EAD", "profile.txt", ""


def tests(out: Path) -> Iterator[Line]:
    """Run the attacks' tests, without the settings of the project, which name plugins that may be absent."""
    if importlib.util.find_spec("pytest") is None:
        yield "the attacks' tests", "pytest is not installed", ""
        return
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", ROOT, ROOT / "tests" / "attacks"]
    with (out / "tests.txt").open("w") as file:
        ended = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False)
    last = (out / "tests.txt").read_text().strip().splitlines()[-1]
    yield "the attacks' tests", last.strip("= "), "" if ended.returncode == 0 else "see tests.txt"


def main() -> None:
    """Measure, section by section."""
    sections = ["passes", "iteration", "waits", "batches", "searches", "libraries", "whole", "profile", "tests"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="the root that holds MNIST")
    parser.add_argument("--out", type=Path, default=Path("results/device"))
    parser.add_argument("--only", nargs="*", choices=sections, default=sections)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    device = Device(arguments.data, TINY if arguments.tiny else Scale())
    machine = torch.cuda.get_device_name() if device.name == "cuda" else f"{platform.machine()} CPU"
    with (out / "table.md").open("w") as table:

        def write(*cells: str) -> None:
            print(f"| {' | '.join(cells)} |", flush=True)
            print(f"| {' | '.join(cells)} |", file=table, flush=True)

        write("measure", "figure", "bound")
        write("---", "---:", "---")
        write("machine", f"{machine}, torch {torch.__version__}, Python {platform.python_version()}", "")
        write("accuracy; seconds of training", f"{device.accuracy:.2%}; {device.training_seconds:.0f}", "≥ 99.3 %")
        for name in arguments.only:
            started_at = time.perf_counter()
            takes_folder = {"profile": lambda: device.profile(out), "tests": lambda: tests(out)}
            for line in takes_folder.get(name, getattr(device, name, lambda: iter(())))():
                write(*line)
            write(f"{name}: seconds", f"{time.perf_counter() - started_at:.0f}", "")


if __name__ == "__main__":
    main()
