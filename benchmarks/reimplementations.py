"""Our minimum-norm attacks beside adv-lib's: the same images, in one batch, at equal passes; distance, ASR and time.

    python benchmarks/reimplementations.py --victim ddn=ddn.pth --victim trades=trades.pth --place ROOT

Needs what `benchmarks/optimality.py` needs. Each pair of attacks runs side by side on one thread. Time is that of the
processor, over the time of the bare model's passes of the same batch, so other work on the machine counts little.
DeepFool and SuperDeepFool, whose passes no budget fixes, are left out.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.contenders import NORMS, contenders, counterparts
from benchmarks.optimality import examples, pair, victim
from benchmarks.optimality_table import TITLES
from eadbench.attacks import distances

HEADS = ("attack", "norm", "victim", "ASR", "adv-lib's", "mean distance", "adv-lib's", "change", "time", "adv-lib's")
RESAMPLES = 2000


def compare(arguments: argparse.Namespace) -> Iterator[list[str]]:
    """Yield a line for each attack, norm and victim."""
    from benchmarks import counted  # noqa: F401 - stands in for wandb

    _, images, labels, _ = (list(part) for part in zip(*examples(arguments), strict=True))
    x, y = torch.cat(images), torch.cat(labels)
    for name, place in arguments.victim:
        model = victim(Path(place))
        with torch.no_grad():
            correct = model(x).argmax(1) == y
        x_own, y_own = x[correct], y[correct]
        bare = _seconds(lambda model=model, x=x_own: _passes(model, x, arguments.budget))
        for norm in arguments.norm:
            attacks = contenders(norm, arguments.budget, targeted=False)
            for ours, theirs in counterparts([title for title in attacks if "DeepFool" not in title]):
                found, times = [], []
                for attack in (attacks[ours], attacks[theirs]):
                    torch.manual_seed(0)
                    started = time.process_time()
                    result = attack(model, x_own, y_own, False)
                    times.append(f"{(time.process_time() - started) / bare:.2f}")
                    found.append(_distances(model, x_own, y_own, result, norm))
                yield [ours, TITLES[norm], name, *_figures(*found), *times]


def _passes(model: nn.Module, x: Tensor, budget: int) -> None:
    """Make as many passes as a budget has, half of them backward."""
    for _ in range(budget // 2):
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(model(leaf).sum(), leaf)


def _seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _distances(model: nn.Module, x: Tensor, y: Tensor, result: Tensor, norm: str) -> np.ndarray:
    """(N,) the distance of each adversarial image in the box; infinite for others."""
    with torch.no_grad():
        wrong = model(result).argmax(1) != y
    inside = (result.flatten(1).amin(1) >= 0) & (result.flatten(1).amax(1) <= 1)
    return torch.where(wrong & inside, distances.NORMS[norm](result - x), torch.inf).numpy()


def _figures(ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    """Return both ASRs, both means over the images that both break, and the change of the mean with its interval."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    draws = np.random.default_rng(0).integers(0, both.sum(), (RESAMPLES, both.sum()))
    changes = 100 * (ours[both][draws].mean(1) / theirs[both][draws].mean(1) - 1)
    low, high = np.quantile(changes, [0.025, 0.975])
    means = ours[both].mean(), theirs[both].mean()
    rates = [f"{100 * np.isfinite(each).mean():.1f}" for each in (ours, theirs)]
    return [
        *rates,
        *(f"{mean:.4g}" for mean in means),
        f"{100 * (means[0] / means[1] - 1):+.2f} % [{low:+.2f}, {high:+.2f}]",
    ]


def main() -> None:
    """Print the table as Markdown, line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--victim", action="append", type=pair, metavar="NAME=PATH", required=True)
    parser.add_argument("--data", default="mnist", help="mnist, or parquet")
    parser.add_argument("--place", type=Path, default=Path("data"), help="the root or the path of the data set")
    parser.add_argument("--norm", nargs="+", choices=list(NORMS), default=list(NORMS))
    parser.add_argument("--budget", type=int, default=500)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--first", type=int, default=1000, help="index of the first image of the test split")
    arguments = parser.parse_args()
    arguments.targeted = False
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEADS)} |\n|{' :-- |' * 3}{' --: |' * 7}")
    for line in compare(arguments):
        print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
