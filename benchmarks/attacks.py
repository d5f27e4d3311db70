"""What the attack engine costs, as ratios measured side by side, on the C&W MNIST network trained on MNIST.

    uv run --group bench python benchmarks/attacks.py --data ROOT

ROOT holds MNIST as torchvision keeps it. The victim of sweeps/mnist.yaml is trained into --models first, unless it
is there. Use an otherwise idle machine; `--only` picks lines. On two cores, at the paper's 9 × 1,000, the comparisons
with other libraries take 40 (ead) and 25 (cw) minutes for 100 pairs, and ART's five for four: --pairs, --art-pairs
and --iterations make them smaller for all alike. Counts (abort, busy, grid) are the same on a machine that is not idle.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

sys.path[0] = str(Path(__file__).parents[1])  # not this file's folder, where `attacks` would be this file

from benchmarks import libraries
from benchmarks.prepared import Prepared
from eadbench.attacks import EAD, IFGM, CarliniWagner
from eadbench.harness.execution.allocator import keep_freed_memory
from eadbench.harness.spec import schema as spec
from eadbench.models import load

Line = tuple[str, str, str]
"""What was measured, the figure, and what it must reach."""


def seconds(run: Callable[[], object]) -> float:
    """How long `run` takes on this machine's clock, its device's work included."""
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def side_by_side(runs: dict[str, Callable[[], object]], times: int = 5) -> dict[str, float]:
    """The median seconds of each of `runs`, taken in turn after one warm-up each."""
    for run in runs.values():
        run()
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(times):
        for name, run in runs.items():
            measured[name].append(seconds(run))
    return {name: statistics.median(each) for name, each in measured.items()}


class Bench:
    """The victim, and pairs of a correctly classified test image and an incorrect class."""

    def __init__(self, root: str, models: Path, device: str) -> None:
        what = spec.load(Path(__file__).parents[1] / "sweeps" / "mnist.yaml", [f"dataset.root={root}"])
        prepared = Prepared(what, models, threads=torch.get_num_threads())
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
        """The model, and the first `count` pairs."""
        return self.model, self.images[:count], self.targets[:count]


def floor(bench: Bench, batch: int, iterations: int, *, looks_ahead: bool = True) -> Callable[[], None]:
    """One forward and backward pass of the bare model, and one forward pass more if it looks ahead."""
    model, images, targets = bench.pairs(batch)

    def run() -> None:
        for _ in range(iterations):
            x = images.detach().requires_grad_()
            torch.autograd.grad(model(x).gather(1, targets.unsqueeze(1)).sum(), x)
            if looks_ahead:
                with torch.no_grad():
                    model(images)

    return run


def overhead(bench: Bench) -> Iterator[Line]:
    """An iteration's time over that of its passes of the bare model."""
    batch, iterations = 100, 50
    plain = {"binary_search_steps": 1, "max_iterations": iterations, "abort_early": False}
    measured = side_by_side(
        {
            "floor": floor(bench, batch, iterations),
            "ead": lambda: EAD(**plain)(*bench.pairs(batch), batch_size=batch),
            "cw floor": floor(bench, batch, iterations, looks_ahead=False),
            "cw": lambda: CarliniWagner(**plain)(*bench.pairs(batch), batch_size=batch),
        }
    )
    each = measured["ead"] / batch / iterations * 1e3
    yield (
        f"EAD per (example × iteration) over its passes ({each:.3f} ms)",
        f"{measured['ead'] / measured['floor']:.2f}",
        "≤ 1.15",
    )
    yield "C&W likewise", f"{measured['cw'] / measured['cw floor']:.2f}", ""


class OneRule(EAD):
    """EAD with one decision rule, to see what the others cost."""

    RULES = ("en",)


def rules(bench: Bench) -> Iterator[Line]:
    """Every decision rule over one."""
    plain = {"binary_search_steps": 1, "max_iterations": 50, "abort_early": False}
    measured = side_by_side(
        {
            "one": lambda: OneRule(**plain)(*bench.pairs(100), batch_size=100),
            "all": lambda: EAD(**plain)(*bench.pairs(100), batch_size=100),
        },
        times=9,
    )
    yield "EAD with every decision rule over one rule", f"{measured['all'] / measured['one']:.3f}", "≤ 1.03"


def abort(bench: Bench, pairs: int, iterations: int) -> Iterator[Line]:
    """Gradient evaluations with the abort over those without, and what it does to the distances."""
    for name, attack in {"EAD": EAD, "C&W": CarliniWagner}.items():
        on, off = (
            attack(max_iterations=iterations, abort_early=early)(*bench.pairs(pairs), batch_size=100)
            for early in (True, False)
        )
        ratio = on.iterations.sum() / off.iterations.sum()
        asr = ", ".join(f"{100 * kept.success.float().mean():.1f} %" for kept in (on["l2"], off["l2"]))
        change = ", ".join(f"{rule} {on[rule].l1.nanmean() / off[rule].l1.nanmean() - 1:+.2%}" for rule in on)
        yield f"{name} gradient evaluations, abort on / off, {pairs} pairs", f"{ratio:.3f}", "≤ 0.35" * (name == "EAD")
        yield f"  ASR on, off; change of mean L1 by rule: {asr}; {change}", "", "equal, within 1 %"


def busy(bench: Bench, pairs: int) -> Iterator[Line]:
    """Rows that did needed work over rows computed; the tail, when no example waits, is counted too."""
    result = EAD()(*bench.pairs(pairs), batch_size=100)
    needed = (result.iterations - 1).sum().item() / result.computed
    yield f"slots busy, EAD, {pairs} pairs at batch 100, the tail included", f"{needed:.3f}", "≥ 0.95"


def grid(bench: Bench, pairs: int) -> Iterator[Line]:
    """Gradient evaluations of the smallest ε over those of the whole grid."""
    result = IFGM(norm="linf")(*bench.pairs(pairs), batch_size=100)
    succeeded = result["linf"].success
    needed = result.iterations[succeeded].sum().item() / (succeeded.sum().item() * 10 * 1000)
    yield f"I-FGM-L∞ gradient evaluations over the full grid's, {pairs} pairs", f"{needed:.3f}", "≤ 0.35"
    yield "  computed over needed, failures included", f"{result.computed / result.iterations.sum().item():.3f}", ""


def main() -> None:
    """Measure what is asked for, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="data", help="the root that holds MNIST")
    arguments.add_argument("--models", type=Path, default=Path("results/benchmarks"))
    names = ["overhead", "rules", "abort", "busy", "grid", "ead", "art", "cw"]
    arguments.add_argument("--only", nargs="*", choices=names, default=names)
    arguments.add_argument("--pairs", type=int, default=100)
    arguments.add_argument("--iterations", type=int, default=1000)
    arguments.add_argument("--busy-pairs", type=int, default=900)
    arguments.add_argument("--art-pairs", type=int, default=4)
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()  # as workers do
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bench = Bench(given.data, given.models, device)

    sections: dict[str, Callable[[], Iterator[Line]]] = {
        "overhead": lambda: overhead(bench),
        "rules": lambda: rules(bench),
        "abort": lambda: abort(bench, given.pairs, given.iterations),
        "busy": lambda: busy(bench, given.busy_pairs),
        "grid": lambda: grid(bench, given.pairs),
        "ead": lambda: libraries.compare(libraries.ead, bench.pairs(given.pairs), given.iterations, seconds),
        "art": lambda: libraries.compare(libraries.ead_of_art, bench.pairs(given.art_pairs), given.iterations, seconds),
        "cw": lambda: libraries.compare(libraries.cw, bench.pairs(given.pairs), given.iterations, seconds),
    }
    where = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU, {given.threads} threads"
    title = f"{where}, torch {torch.__version__}, victim {bench.accuracy:.2%}"
    table = Table("measure", "figure", "must reach", title=title)
    for name in given.only:
        for line in sections[name]():
            table.add_row(*line)
            print(*line, sep=" | ", flush=True)
    Console().print(table)


if __name__ == "__main__":
    main()
