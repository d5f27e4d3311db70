"""The least step to a hyperplane within [0, 1]ᵖ, against general solvers."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, linprog  # type: ignore[import-untyped]

from eadbench.attacks.distances import NORMS
from eadbench.attacks.engine.hyperplane import step_to_hyperplane

STATE = torch.Generator().manual_seed(0)
X = torch.rand(12, 1, 2, 4, generator=STATE, dtype=torch.float64)
X[::3, 0, 0, :2] = torch.tensor([0.0, 1.0], dtype=torch.float64)
W = torch.randn(12, 1, 2, 4, generator=STATE, dtype=torch.float64)
W[1::4, 0, 1, 1] = 0
GAP = torch.linspace(-3, 3, 12, dtype=torch.float64)


def furthest(x: np.ndarray, w: np.ndarray, gap: float) -> float:
    """The greatest part of the gap that the box allows."""
    corner = np.where(w * np.sign(gap) > 0, 1 - x, -x)
    return float(np.clip(w @ corner / gap, 0, 1))


def least(x: np.ndarray, w: np.ndarray, gap: float, norm: str) -> float:
    """The least length of a step that closes the gap, by a linear program or a root."""
    size, bounds = len(x), [*zip(-x, 1 - x, strict=True)]
    if norm == "l1":  # d = u - v
        solved = linprog(
            np.ones(2 * size),
            A_eq=[np.concatenate([w, -w])],
            b_eq=[gap],
            bounds=[(0, high) for _, high in bounds] + [(0, -low) for low, _ in bounds],
        )
        return float(solved.fun)
    if norm == "linf":
        sides = np.vstack([np.hstack([sign * np.eye(size), -np.ones((size, 1))]) for sign in (1, -1)])
        solved = linprog(
            [0] * size + [1], A_ub=sides, b_ub=np.zeros(2 * size), A_eq=[[*w, 0]], b_eq=[gap], bounds=[*bounds, (0, 1)]
        )
        return float(solved.fun)

    def short(scale: float) -> float:
        return float(w @ np.clip(scale * w, -x, 1 - x)) - gap

    return float(np.linalg.norm(np.clip(brentq(short, -1e3, 1e3) * w, -x, 1 - x)))


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_it_is_the_least_step_or_ends_in_the_corner(norm: str) -> None:
    step = step_to_hyperplane(X, W, GAP, norm)
    assert (X + step).min() >= -1e-12 and (X + step).max() <= 1 + 1e-12
    assert (step[W == 0] == 0).all()
    reached, lengths = (W * step).flatten(1).sum(1), NORMS[norm](step)
    closed = 0
    for i in range(len(X)):
        x, w, gap = X[i].flatten().numpy(), W[i].flatten().numpy(), GAP[i].item()
        share = furthest(x, w, gap)
        assert reached[i].item() == pytest.approx(share * gap, abs=1e-9)
        if share == 1:
            closed += 1
            assert lengths[i].item() == pytest.approx(least(x, w, gap, norm), abs=1e-6)
    assert 4 < closed < 12


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_a_normal_of_zeros_and_a_point_on_the_plane_stay(norm: str) -> None:
    assert (step_to_hyperplane(X, torch.zeros_like(W), GAP, norm) == 0).all()
    assert (step_to_hyperplane(X, W, torch.zeros_like(GAP), norm) == 0).all()
