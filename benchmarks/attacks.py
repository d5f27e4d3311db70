"""Measure the costs of the attack engine, as ratios measured side by side, on the C&W MNIST network.

    uv run --group bench python benchmarks/attacks.py --data ROOT

ROOT holds MNIST in torchvision's format. The script first trains the victim of sweeps/mnist.yaml into --models, unless
it is stored there. Use an idle machine; only the counts (abort, busy, grid) do not depend on that. `--only` picks
sections.

On two cores, at the paper's 9 × 1,000, the comparisons with other libraries take 40 (ead) and 25 (cw) minutes for 100
pairs, and 5 minutes (art) for 4 pairs. --pairs, --art-pairs and --iterations reduce them, for every library alike.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

sys.path[0] = str(Path(__file__).parents[1])  # the repository in place of this folder, to import `benchmarks`

from benchmarks import libraries
from benchmarks.prepared import Prepared
from eadbench.attacks import EAD, IFGM, CarliniWagner
from eadbench.harness import spec
from eadbench.harness.execution.allocator import keep_freed_memory
from eadbench.models import load

Line = tuple[str, str, str]
"""The measure, its figure, and the bound that the figure must keep."""


def seconds(run: Callable[[], object]) -> float:
    """Return the seconds that `run` takes, including work on the GPU."""
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def side_by_side(runs: dict[str, Callable[[], object]], times: int = 5) -> dict[str, float]:
    """Return the median seconds of every run; the runs take turns, after one warm-up each."""
    for run in runs.values():
        run()
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(times):
        for name, run in runs.items():
            measured[name].append(seconds(run))
    return {name: statistics.median(times_of_run) for name, times_of_run in measured.items()}


class Bench:
    """The victim, and pairs of a correctly classified test image and an incorrect class."""

    def __init__(self, root: str, models: Path, device: str) -> None:
        mnist = spec.load(Path(__file__).parents[1] / "sweeps" / "mnist.yaml", [f"dataset.root={root}"])
        prepared = Prepared(mnist, models, threads=torch.get_num_threads())
        [victim] = prepared.victims
        self.accuracy = victim.accuracy
        model, _, _ = load(prepared.results.model(victim.digest), device=device)
        self.model = model.to(memory_format=torch.channels_last)
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        images, labels = prepared.data.test.images(victim.images), torch.tensor(victim.labels)
        self.images = images.repeat_interleave(9, 0).to(device)
        self.targets = torch.cat([torch.tensor([t for t in range(10) if t != label]) for label in labels]).to(device)

    def pairs(self, count: int) -> tuple[nn.Module, Tensor, Tensor]:
        """Return the model, and the first `count` images and targets."""
        return self.model, self.images[:count], self.targets[:count]


def passes(bench: Bench, batch: int, iterations: int, *, second_forward: bool = True) -> Callable[[], None]:
    """Return a run of the bare model: a forward and a backward pass per iteration, and a second forward pass."""
    model, images, targets = bench.pairs(batch)

    def run() -> None:
        for _ in range(iterations):
            x = images.detach().requires_grad_()
            torch.autograd.grad(model(x).gather(1, targets.unsqueeze(1)).sum(), x)
            if second_forward:
                with torch.no_grad():
                    model(images)

    return run


def overhead(bench: Bench) -> Iterator[Line]:
    """Compare an iteration with its passes of the bare model."""
    batch, iterations = 100, 50
    fixed: dict[str, Any] = {"binary_search_steps": 1, "max_iterations": iterations, "abort_early": False}
    measured = side_by_side(
        {
            "ead passes": passes(bench, batch, iterations),
            "ead": lambda: EAD(**fixed)(*bench.pairs(batch), batch_size=batch),
            "cw passes": passes(bench, batch, iterations, second_forward=False),
            "cw": lambda: CarliniWagner(**fixed)(*bench.pairs(batch), batch_size=batch),
        }
    )
    milliseconds = measured["ead"] / batch / iterations * 1e3
    yield (
        f"EAD per (example × iteration) over its passes ({milliseconds:.3f} ms)",
        f"{measured['ead'] / measured['ead passes']:.2f}",
        "≤ 1.15",
    )
    yield "C&W likewise", f"{measured['cw'] / measured['cw passes']:.2f}", ""


class OneRule(EAD):
    """EAD with one decision rule."""

    RULES = DEFAULT_RULES = ("en",)


def rules(bench: Bench) -> Iterator[Line]:
    """Compare all decision rules with one."""
    fixed: dict[str, Any] = {"binary_search_steps": 1, "max_iterations": 50, "abort_early": False}
    measured = side_by_side(
        {
            "one": lambda: OneRule(**fixed)(*bench.pairs(100), batch_size=100),
            "all": lambda: EAD(**fixed)(*bench.pairs(100), batch_size=100),
        },
        times=9,
    )
    yield "EAD with every decision rule over one rule", f"{measured['all'] / measured['one']:.3f}", "≤ 1.03"


def abort(bench: Bench, pairs: int, iterations: int) -> Iterator[Line]:
    """Compare the gradient evaluations with the abort and without, and the distances."""
    for name, attack in {"EAD": EAD, "C&W": CarliniWagner}.items():
        on, off = (
            attack(max_iterations=iterations, abort_early=early)(*bench.pairs(pairs), batch_size=100)
            for early in (True, False)
        )
        ratio = on.iterations.sum() / off.iterations.sum()
        asr = ", ".join(f"{100 * examples.success.float().mean():.1f} %" for examples in (on["l2"], off["l2"]))
        change = ", ".join(f"{rule} {on[rule].l1.nanmean() / off[rule].l1.nanmean() - 1:+.2%}" for rule in on)
        yield f"{name} gradient evaluations, abort on / off, {pairs} pairs", f"{ratio:.3f}", "≤ 0.45" * (name == "EAD")
        yield f"  ASR on, off; change of mean L1 by rule: {asr}; {change}", "", "equal, within 1 %"


def busy(bench: Bench, pairs: int) -> Iterator[Line]:
    """Compare the rows that did needed work with the rows computed, including the tail, when no example waits."""
    result = EAD()(*bench.pairs(pairs), batch_size=100)
    share = (result.iterations - 1).sum().item() / result.computed
    yield f"slots busy, EAD, {pairs} pairs at batch 100, the tail included", f"{share:.3f}", "≥ 0.95"


def grid(bench: Bench, pairs: int) -> Iterator[Line]:
    """Compare the gradient evaluations of the search for the smallest ε with those of the full grid."""
    result = IFGM(norm="linf")(*bench.pairs(pairs), batch_size=100)
    success = result["linf"].success
    share = result.iterations[success].sum().item() / (success.sum().item() * 10 * 1000)
    yield f"I-FGM-L∞ gradient evaluations over the full grid's, {pairs} pairs", f"{share:.3f}", "≤ 0.35"
    yield "  computed over needed, failures included", f"{result.computed / result.iterations.sum().item():.3f}", ""


def main() -> None:
    """Measure the chosen sections, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="the root that holds MNIST")
    parser.add_argument("--models", type=Path, default=Path("results/benchmarks"))
    names = ["overhead", "rules", "abort", "busy", "grid", "ead", "art", "cw"]
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--busy-pairs", type=int, default=900)
    parser.add_argument("--art-pairs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as workers do
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bench = Bench(arguments.data, arguments.models, device)
    pairs, iterations = arguments.pairs, arguments.iterations

    sections: dict[str, Callable[[], Iterator[Line]]] = {
        "overhead": lambda: overhead(bench),
        "rules": lambda: rules(bench),
        "abort": lambda: abort(bench, pairs, iterations),
        "busy": lambda: busy(bench, arguments.busy_pairs),
        "grid": lambda: grid(bench, pairs),
        "ead": lambda: libraries.compare(libraries.ead, bench.pairs(pairs), iterations, seconds),
        "art": lambda: libraries.compare(libraries.art_ead, bench.pairs(arguments.art_pairs), iterations, seconds),
        "cw": lambda: libraries.compare(libraries.cw, bench.pairs(pairs), iterations, seconds),
    }
    cpu = f"{platform.machine()} CPU, {arguments.threads} threads"
    machine = torch.cuda.get_device_name() if device == "cuda" else cpu
    title = f"{machine}, torch {torch.__version__}, victim {bench.accuracy:.2%}"
    table = Table("measure", "figure", "must reach", title=title)
    for name in arguments.only:
        for line in sections[name]():
            table.add_row(*line)
            print(*line, sep=" | ", flush=True)
    Console().print(table)


if __name__ == "__main__":
    main()
