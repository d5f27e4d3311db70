"""Measure how far attacks stay above the proven least distance of an adversarial example, on a small network.

    python benchmarks/proven.py
    python benchmarks/proven.py --targeted

The network is trained on scikit-learn's digits: 64 pixels, 24 ReLUs, 10 classes. The least distance from an image to
a point of [0, 1]⁶⁴ in a given class is the optimum of a mixed-integer program. HiGHS, through scipy, finds it by branch
and bound, which also proves that no point is nearer. Untargeted, it is the least over the nine other classes; targeted,
the class is the one with the second greatest logit. As in the attacks, a point is in a class that leads by at least 0.
One process and one thread; seeded.

Shapes: D pixels, H ReLUs, K classes, N images.
"""

import argparse
import copy
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor, nn

from eadbench import attacks
from eadbench.attacks.budgeted import within
from eadbench.attacks.distances import NORMS
from eadbench.harness import datasets

Array = NDArray[np.float64]

GAP = 1e-4
"""The solver may stop once its bound is this close to the distance that it found, as a share of it."""
TOLERANCE = 1e-5
"""What a solution's margin may lack, and its distance differ, when the network runs on it."""


class Proven(NamedTuple):
    """The nearest adversarial example of an image."""

    image: Tensor
    """(1, C, H, W) the example, in float64."""
    distance: float
    bound: float
    """No adversarial example is nearer than this."""


def nearest(network: nn.Sequential, image: Tensor, targets: Sequence[int], norm: str) -> Proven | None:
    """Find the nearest point to an image (1, C, H, W), by "l1" or "linf", that is in one of the classes `targets`.

    `network` is Flatten, Linear, ReLU, Linear. Classes are searched in turn, each no farther than the nearest point so
    far. Return None if there is no such point in [0, 1]ᴰ.
    """
    network = copy.deepcopy(network).double()
    best, bound = None, np.inf
    for target in targets:
        solution = _solve(network, image.double(), target, norm, np.inf if best is None else best.distance)
        if solution is not None:
            bound = min(bound, solution.bound)
            best = min(best or solution, solution, key=lambda point: point.distance)
    return None if best is None else best._replace(bound=bound)


def _solve(network: nn.Sequential, image: Tensor, target: int, norm: str, most: float) -> Proven | None:
    """Find the nearest point at which no logit is greater than the target's, at a distance of at most `most`.

    The variables are up (D,), down (D,), distance, unit (H,) and active (H,); x = x₀ + up - down. A unit is max(z, 0),
    z = weight·x + bias, which lies in [low, high]: unit ≥ z, unit ≤ z - low·(1 - active), unit ≤ high·active, unit ≥ 0.
    """
    _, first, _, last = network
    weight, bias, head, offset = (part.detach().numpy() for part in (*first.parameters(), *last.parameters()))
    x = image.flatten().numpy()
    pixels, units = len(x), len(bias)
    most = min(most, {"l1": pixels, "linf": 1.0}[norm]) * (1 + GAP)  # room for rounding
    z = weight @ x + bias
    low, high = z - _reach(-weight, x, norm, most), z + _reach(weight, x, norm, most)

    def constraint(up: Any, down: Any, distance: float, unit: Any, active: Any, lb: Any, ub: Any) -> LinearConstraint:
        rows, widths = len(up if np.ndim(up) else unit), (pixels, pixels, 1, units, units)
        blocks = zip((up, down, distance, unit, active), widths, strict=True)
        return LinearConstraint(np.hstack([np.broadcast_to(block, (rows, width)) for block, width in blocks]), lb, ub)

    size = np.ones((1, pixels)) if norm == "l1" else np.eye(pixels)
    identity, free = np.eye(units), np.inf
    constraints = [
        constraint(size, size, -1, 0, 0, -free, 0),
        constraint(-weight, weight, 0, identity, 0, z, free),
        constraint(-weight, weight, 0, identity, -np.diag(low), -free, z - low),
        constraint(0, 0, 0, identity, -np.diag(high), -free, 0),
        constraint(0, 0, 0, head[target] - head, 0, offset - offset[target], free),
    ]
    least = np.concatenate([np.zeros(2 * pixels + 1 + units), low > 0])
    greatest = np.concatenate([1 - x, x, [most], np.maximum(high, 0), high > 0])
    result = milp(
        np.eye(len(least))[2 * pixels],
        integrality=np.arange(len(least)) >= len(least) - units,
        bounds=Bounds(least, greatest),
        constraints=constraints,
        options={"mip_rel_gap": GAP},
    )
    if result.status == 2:  # infeasible
        return None
    if not result.success:
        raise RuntimeError(f"HiGHS: {result.message}")
    delta = torch.from_numpy(result.x[:pixels] - result.x[pixels : 2 * pixels]).view_as(image)
    solution = Proven((image + delta).clamp(0, 1), result.fun, result.mip_dual_bound)
    logits, distance = network(solution.image)[0], NORMS[norm](solution.image - image).item()
    if logits[target] < logits.max() - TOLERANCE or abs(distance - solution.distance) > TOLERANCE:
        raise RuntimeError(f"the network does not confirm a solution at {norm} {distance}: logits {logits.tolist()}")
    return solution


def _reach(weight: Array, x: Array, norm: str, most: float) -> Array:
    """(H,) the greatest increase of weight·x within a distance of x (D,) and in [0, 1]ᴰ, for weight (H, D).

    In L1, the distance is spent on the pixels with the greatest weights first.
    """
    room, steep = np.where(weight > 0, 1 - x, x), np.abs(weight)
    if norm == "l1":
        order = np.argsort(-steep, axis=1)
        room, steep = np.take_along_axis(room, order, 1), np.take_along_axis(steep, order, 1)
        room = np.clip(most - (room.cumsum(1) - room), 0, room)
    gain: Array = (steep * np.minimum(room, most)).sum(1)
    return gain


def trained(data: datasets.DataSet, units: int) -> nn.Sequential:
    """Train a network with one layer of ReLUs."""
    images, labels = data.train.images(range(len(data.train))), torch.as_tensor(data.train.labels)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, units), nn.ReLU(), nn.Linear(units, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(30):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


def contenders(norm: str, targeted: bool) -> dict[str, Any]:
    """Return the attacks that minimise a norm, by name."""
    same: dict[str, Any] = {"norm": norm, "targeted": targeted}
    peers = {"FMN": within(attacks.FMN, 2000, **same), "PDPGD": within(attacks.PDPGD, 2000, **same)}
    if norm == "linf":
        return peers | {"APGD, 20 ε of 100 steps": attacks.APGD(**same)}
    budgeted = {f"EAD, `budget: {budget}`": attacks.EAD.within(budget, **same) for budget in (500, 2000, 10000)}
    published = {f"EAD, 9 × 1,000, β = {beta}": attacks.EAD(beta=beta, targeted=targeted) for beta in (0.001, 0.01)}
    return budgeted | published | peers | {"ALMA": within(attacks.ALMA, 2000, **same)}


def compare(network: nn.Sequential, images: Tensor, norm: str, targeted: bool) -> str:
    """Return the table of the attacks' excess over the proven least distance, as Markdown."""
    order = network(images).argsort(descending=True)
    started, bounds = time.process_time(), []
    for i, image in enumerate(images.split(1)):
        solution = nearest(network, image, order[i, 1 : 2 if targeted else None].tolist(), norm)
        bounds.append(torch.inf if solution is None else solution.bound)
    seconds = time.process_time() - started
    lines = [
        f"{norm}: the proven least distance is {np.mean(bounds):.4f} on average; solved in {seconds:.0f} s",
        "",
        "| attack | passes of an image | successes | mean excess, % | greatest, % | images below 1 % |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, attack in contenders(norm, targeted).items():
        result = attack(network, images, order[:, int(targeted)])
        distances = getattr(result[norm], norm).double()
        excess = (distances / torch.tensor(bounds, dtype=torch.float64) - 1) * 100
        if (excess < -0.01).any():
            raise RuntimeError(f"{name} is nearer than what is proven: {excess.tolist()} %")
        found = excess[excess.isfinite()]
        passes = (result.iterations + result.forward_passes).double().mean().item()
        lines.append(
            f"| {name} | {passes:,.0f} | {len(found)} | {found.mean():.2f} | {found.max():.2f} | {(found < 1).sum()} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Print a table for each norm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--norm", nargs="+", choices=("l1", "linf"), default=["l1", "linf"])
    parser.add_argument("--units", type=int, default=24, help="ReLUs of the network")
    parser.add_argument("--images", type=int, default=20, help="the first images of the test split that it classifies")
    parser.add_argument("--targeted", action="store_true", help="reach the class with the second greatest logit")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = datasets.load("digits")
    network = trained(data, arguments.units)
    images, labels = data.test.images(range(len(data.test))), torch.as_tensor(data.test.labels)
    right = network(images).argmax(1) == labels
    print(f"{arguments.units} ReLUs; {100 * right.double().mean():.1f} % of the test images are classified correctly\n")
    for norm in arguments.norm:
        print(compare(network, images[right][: arguments.images], norm, arguments.targeted), flush=True)


if __name__ == "__main__":
    main()
