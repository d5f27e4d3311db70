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
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

sys.path[0] = str(Path(__file__).parents[1])  # the repository in place of this folder, to import `benchmarks`

from benchmarks import libraries
from benchmarks.engine import Bench, Line, abort, busy, grid, overhead, rules, seconds
from benchmarks.prepared import Prepared
from eadbench.harness import spec
from eadbench.harness.execution.allocator import keep_freed_memory
from eadbench.models import load


def prepare(root: str, models: Path, device: str) -> tuple[Bench, float]:
    """Return the victim of sweeps/mnist.yaml with its pairs, and its accuracy."""
    mnist = spec.load(Path(__file__).parents[1] / "sweeps" / "mnist.yaml", [f"dataset.root={root}"])
    prepared = Prepared(mnist, models, threads=torch.get_num_threads())
    [victim] = prepared.victims
    model, _, _ = load(prepared.results.model(victim.digest))
    images, labels = prepared.data.test.images(victim.images), torch.tensor(victim.labels)
    return Bench.of_all_targets(model, images, labels, device), victim.accuracy


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
    bench, accuracy = prepare(arguments.data, arguments.models, device)
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
    title = f"{machine}, torch {torch.__version__}, victim {accuracy:.2%}"
    table = Table("measure", "figure", "must reach", title=title)
    for name in arguments.only:
        for line in sections[name]():
            table.add_row(*line)
            print(*line, sep=" | ", flush=True)
    Console().print(table)


if __name__ == "__main__":
    main()
