"""Compare the cascade at a fixed ε with pyautoattack's, image by image.

    python benchmarks/autoattack.py --victim trades=trades.pth --place ROOT --norm linf --epsilon 0.3 --images 100

Needs `pyautoattack` 0.2.0 (group `bench`). A victim is a file with the weights of TRADES' SmallCNN, or the folder of a
model that a sweep has trained, DIR/models/RECIPE. Both sides have the images of MNIST's test split from `--first` on,
clean errors included, the same network, ensemble, steps and queries, and one thread. Their draws differ: pyautoattack
draws for a batch what eadbench draws for each image. So `--again` runs pyautoattack with another seed too, and counts
the images on which it differs from itself. Each comparison is a line of `--rows`.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.optimality import victim
from eadbench.attacks import AutoAttack
from eadbench.attacks.autoattack import ENSEMBLES
from eadbench.harness import datasets
from eadbench.harness.analysis.intervals import rate_interval

BATCH = 100


def ours(network: nn.Module, images: Tensor, labels: Tensor, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the robust images by the cascade, and what broke the others."""
    attack = AutoAttack(
        norm=arguments.norm, epsilon=float(arguments.epsilon), ensemble=arguments.ensemble, queries=arguments.queries
    )
    result = attack(network, images, labels, batch_size=BATCH)
    passes = (result.iterations + result.forward_passes).double()
    return {
        "robust": (~result[arguments.norm].success).tolist(),
        "broken by": dict(Counter(filter(None, result.found_by or ()))),
        "passes of an image": round(passes.mean().item()),
    }


def theirs(
    network: nn.Module, images: Tensor, labels: Tensor, arguments: argparse.Namespace, *, seed: int = 0
) -> dict[str, Any]:
    """Return the robust images by pyautoattack."""
    from pyautoattack import AutoAttack as Theirs

    norm = {"linf": "Linf", "l2": "L2", "l1": "L1"}[arguments.norm]
    cascade = Theirs(network, norm=norm, eps=float(arguments.epsilon), seed=seed, version=arguments.ensemble)
    cascade.square.n_queries = arguments.queries
    adversarial, _ = cascade.run_standard_evaluation(images, labels, batch_size=BATCH)
    return {"robust": (network(adversarial).argmax(1) == labels).tolist()}


def compared(name: str, place: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run both on one victim; return the flags of each image, and figures."""
    data = datasets.load("mnist", root=str(arguments.place), download=False)
    chosen = range(arguments.first, arguments.first + arguments.images)
    images, labels = data.test.images(chosen).contiguous(), torch.as_tensor(data.test.labels[[*chosen]])
    network = victim(place)
    settings = ("norm", "ensemble", "queries", "first", "images")
    row: dict[str, Any] = {"victim": name, "epsilon": float(arguments.epsilon)}
    row |= {setting: getattr(arguments, setting) for setting in settings}
    sides: dict[str, Callable[..., dict[str, Any]]] = {"eadbench": ours, "pyautoattack": theirs}
    if arguments.again:
        sides["again"] = partial(theirs, seed=1)
    for side, run in sides.items():
        started = time.process_time()
        row[side] = run(network, images, labels, arguments)
        row[side]["seconds"] = round(time.process_time() - started)
        robust = sum(row[side]["robust"])
        flags = np.array(row[side]["robust"], dtype=np.float64)
        low, high = rate_interval(flags, np.ones(len(flags)))
        row[side] |= {"robust accuracy": 100 * robust / len(images), "interval": [100 * float(low), 100 * float(high)]}
    for side in sides:
        pairs = zip(row[side]["robust"], row["pyautoattack"]["robust"], strict=True)
        row[side]["differing"] = [arguments.first + index for index, (own, other) in enumerate(pairs) if own != other]
    return row


def main() -> None:
    """Compare on every victim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--victim", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--place", type=Path, default=Path("data"), help="the root of MNIST")
    parser.add_argument("--norm", choices=("linf", "l2", "l1"), default="linf")
    parser.add_argument("--epsilon", type=Fraction, required=True)
    parser.add_argument("--ensemble", choices=tuple(ENSEMBLES), default="standard")
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="index of the first image of the test split")
    parser.add_argument("--again", action="store_true", help="run pyautoattack with another seed too")
    parser.add_argument("--rows", type=Path, default=Path("autoattack.jsonl"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for text in arguments.victim:
        name, _, place = text.partition("=")
        row = compared(name, Path(place), arguments)
        with arguments.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for side in ("eadbench", "pyautoattack", "again"):
            if side in row:
                print(name, side, {key: value for key, value in row[side].items() if key != "robust"}, flush=True)


if __name__ == "__main__":
    main()
