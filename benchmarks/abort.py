"""Measure what the abort of search steps changes and saves, on grey and on binarised images.

    uv run python benchmarks/abort.py --data ROOT

ROOT holds MNIST in torchvision's format. A small network is trained for each data set and kind of image. Then EAD, C&W
and COV attack the same pairs of an image and an incorrect class, with the abort and without. Only counts and distances
are compared, so the machine need not be idle. On two cores, 30 pairs at the paper's 9 × 1,000 take 2 to 4 minutes for
each attack with both settings.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from eadbench.attacks import COV, EAD, CarliniWagner
from eadbench.harness import datasets
from eadbench.models import Training, seeded, train
from eadbench.models.architectures import ConvNet

SETS: Mapping[str, Mapping[str, Any]] = {
    "mnist": {"train": 30_000, "epochs": 2, "channels": (8, 16), "padding": 0},
    "digits": {"train": 1_400, "epochs": 30, "channels": (16, 32), "padding": 1},
}
"""For each data set: training images, epochs, and the network."""
ATTACKS: Mapping[str, Any] = {
    "EAD, β = 0.001": lambda **fields: EAD(beta=1e-3, **fields),
    "EAD, β = 0.01": lambda **fields: EAD(beta=1e-2, **fields),
    "EAD, β = 0.05": lambda **fields: EAD(beta=5e-2, **fields),
    "C&W": CarliniWagner,
    "COV, β = 0.001": lambda **fields: COV(beta=1e-3, **fields),
}
HEADS = ("data", "attack", "labels", "κ", "ASR on", "ASR off", "change of mean distances", "gradients on / off")


class Victim:
    """A network trained on a data set, and pairs of a test image that it classifies correctly and another class."""

    def __init__(self, name: str, root: str, *, binary: bool) -> None:
        plan = SETS[name]
        data = datasets.load(name, **({} if name == "digits" else {"root": root}))
        images, labels = self._tensors(data.train, plan["train"], binary)
        self.name = f"{name}, {'binarised' if binary else 'grey'}"
        with seeded(0):
            network = ConvNet(
                image_shape=data.shape, channels=plan["channels"], hidden=64, padding=plan["padding"], num_classes=10
            )
        train(network, TensorDataset(images, labels), Training(epochs=plan["epochs"], batch_size=64))
        self.network: nn.Module = network
        images, labels = self._tensors(data.test, 1_000, binary)
        with torch.no_grad():
            correct = network(images).argmax(1) == labels
        self.accuracy = correct.double().mean().item()
        self.images, self.labels = images[correct], labels[correct]

    @staticmethod
    def _tensors(split: datasets.Split, count: int, binary: bool) -> tuple[Tensor, Tensor]:
        """Return the first images of a split and their labels; each pixel rounded to 0 or 1 if `binary`."""
        indices = range(min(count, len(split)))
        images = split.images(indices)
        return images.round() if binary else images, split.labels[list(indices)]

    def pairs(self, count: int, *, targeted: bool) -> tuple[nn.Module, Tensor, Tensor]:
        """Return the network, the first `count` images, and a class for each to reach or to leave."""
        labels = self.labels[:count]
        targets = (labels + 1 + torch.arange(len(labels)) % 9) % 10
        return self.network, self.images[:count], targets if targeted else labels


def lines(victim: Victim, arguments: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """Yield a line for each attack: its figures with the abort beside those without."""
    targeted = not arguments.untargeted
    pairs = victim.pairs(arguments.pairs, targeted=targeted)
    for name in arguments.attacks:
        on, off = (
            ATTACKS[name](
                abort_early=abort, targeted=targeted, kappa=arguments.kappa, max_iterations=arguments.iterations
            )(*pairs)
            for abort in (True, False)
        )
        change = ", ".join(
            f"{rule.upper()} rule, {norm.upper()} {mean(on[rule], norm) / mean(off[rule], norm) - 1:+.2%}"
            f" of {mean(off[rule], norm):.3f}"
            for rule, norm in (("l1", "l1"), ("l2", "l2"))
            if rule in off
        )
        rates = [f"{100 * result['l2'].success.double().mean():.0f} %" for result in (on, off)]
        ratio = on.iterations.sum() / off.iterations.sum()
        yield (
            *(victim.name, name, "targets" if targeted else "untargeted", f"{arguments.kappa:g}"),
            *(*rates, change, f"{ratio:.2f}"),
        )


def mean(kept: Any, norm: str) -> float:
    """Return the mean distance over successes."""
    return float(getattr(kept, norm).nanmean())


def main() -> None:
    """Attack, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="the root that holds MNIST")
    parser.add_argument("--sets", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--grey", action="store_true", help="leave the images as they are; by default binarised")
    parser.add_argument(
        "--attacks", nargs="*", choices=list(ATTACKS), default=["EAD, β = 0.001", "C&W", "COV, β = 0.001"]
    )
    parser.add_argument("--untargeted", action="store_true")
    parser.add_argument("--kappa", type=float, default=0.0)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--iterations", type=int, default=1000)
    arguments = parser.parse_args()
    table = Table(*HEADS)
    for name in arguments.sets:
        victim = Victim(name, arguments.data, binary=not arguments.grey)
        print(f"{victim.name}: accuracy {victim.accuracy:.2%}", flush=True)
        for line in lines(victim, arguments):
            table.add_row(*line)
            print(*line, sep=" | ", flush=True)
    Console().print(table)


if __name__ == "__main__":
    main()
