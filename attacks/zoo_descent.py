"""The iterations of ZOO (Chen et al. 2017, algorithms 1 and 2), in the space of images or in a smaller one.

Shapes: N examples, B rows of a batch, K classes, C × H × W values of an image, P values of the attack space, M
coordinates of a step, Q = 2·M + 1 queries of it.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from eadbench.attacks.criterion import attack_loss, margin, succeeds
from eadbench.attacks.engine.const_search import UNBOUNDED, next_const
from eadbench.attacks.engine.draws import generator, seeds_of
from eadbench.attacks.engine.ledger import rounding_of
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.engine.search import Search

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants."""
REGIONS = 8
"""Regions along each side of the attack space, in importance sampling."""
LEAST_WEIGHT = 1e-12
"""The weight of a coordinate in a region that has not changed."""


class Settings(Protocol):
    """The hyperparameters of :class:`eadbench.attacks.ZOO`."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def binary_search_steps(self) -> int: ...
    @property
    def max_iterations(self) -> int: ...
    @property
    def initial_const(self) -> float: ...
    @property
    def abort_early(self) -> bool: ...
    @property
    def coordinates(self) -> int: ...
    @property
    def h(self) -> float: ...
    @property
    def size(self) -> int | None: ...
    @property
    def grow_at(self) -> Sequence[int]: ...
    @property
    def importance(self) -> bool: ...
    @property
    def seed(self) -> int: ...


class State:
    """The iterates of an attack space, and Adam's state of each coordinate.

    Parameters
    ----------
    start
        (N, P) where a search begins.
    """

    def __init__(self, start: Tensor) -> None:
        self.start = start
        self.variables = start.clone()
        self.mean, self.square, self.taken = (torch.zeros_like(start) for _ in range(3))
        """(N, P) Adam's averages, and the steps that each coordinate has taken."""

    def reset(self, rows: Tensor) -> None:
        """Begin anew for `rows` (B,)."""
        self.variables[rows] = self.start[rows]
        self.mean[rows] = self.square[rows] = self.taken[rows] = 0

    def descend(self, rows: Tensor, coordinates: Tensor, slope: Tensor, rate: float, box: tuple[float, float]) -> None:
        """Take a step of Adam in the `coordinates` (B, M) of `rows` (B,), and stay in the box."""
        at = (rows[:, None], coordinates)
        taken = self.taken[at] + 1
        mean = BETA1 * self.mean[at] + (1 - BETA1) * slope
        square = BETA2 * self.square[at] + (1 - BETA2) * slope.square()
        self.taken[at], self.mean[at], self.square[at] = taken, mean, square
        root = (square / (1 - BETA2**taken)).sqrt() + EPSILON
        self.variables[at] = (self.variables[at] - rate * mean / (1 - BETA1**taken) / root).clamp(*box)


class Descent:
    """The iterates of ZOO, which are images, and the search over c."""

    box = 0.0, 1.0
    """Where a variable lies."""

    def __init__(self, attack: Settings, rounds: Rounds) -> None:
        self.attack, self.rounds = attack, rounds
        self.window = Search.from_attack(attack).window
        self.images = rounds.images.flatten(1)
        self.states = self.spaces()
        self.count = min(attack.coordinates, self.states[-1].variables.shape[1])
        self.const, self.before = (torch.full_like(rounds.kappa, value) for value in (attack.initial_const, torch.inf))
        self.lower, self.upper = torch.zeros_like(self.const), torch.full_like(self.const, UNBOUNDED)
        self.iteration, self.searches = torch.zeros_like(rounds.labels), torch.zeros_like(rounds.labels)
        self.succeeded = torch.zeros_like(rounds.labels, dtype=torch.bool)
        self.seeds: list[int] = []

    def spaces(self) -> list[State]:
        """Return the attack spaces, one after the other: the images alone."""
        return [State(self.images)]

    def step(self, rows: Tensor) -> Tensor:
        """Take an iteration of each row; return (B,) bool: which have ended their search over c."""
        return self.move(rows, self.states[0])

    def move(self, rows: Tensor, state: State) -> Tensor:
        """Take an iteration of each row in an attack space."""
        attack, rounds = self.attack, self.rounds
        variables, coordinates = state.variables[rows], self.draw(rows, state)
        value = variables.gather(1, coordinates)
        above, below = (value + attack.h).clamp(max=self.box[1]), (value - attack.h).clamp(min=self.box[0])
        points = variables.unsqueeze(1).repeat(1, 1 + 2 * coordinates.shape[1], 1)
        points[:, 1:].scatter_(2, coordinates.repeat(1, 2).unsqueeze(2), torch.cat([above, below], 1).unsqueeze(2))
        x = self.images_at(rows, points)
        losses, adversarial = self.losses(rows, x)
        rounds.claim(rows, x[:, 0], adversarial)
        self.succeeded[rows] |= adversarial

        loss, slope = self.objective(rows, coordinates, x.flatten(2), losses, above - below)
        state.descend(rows, coordinates, slope, attack.learning_rate, self.box)
        return self.next_search(rows, loss)

    def images_at(self, rows: Tensor, points: Tensor) -> Tensor:
        """(B, Q, C, H, W) the images at `points` (B, Q, P) of the attack space."""
        return points.view(*points.shape[:2], *self.rounds.images.shape[1:])

    def losses(self, rows: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Query `x` (B, Q, C, H, W).

        Returns
        -------
        tuple of Tensor
            (B, Q) f in float64, and (B,) bool: whether the first query of a row is adversarial.
        """
        rounds, count = self.rounds, x.shape[1]
        logits = rounds.logits_at(rows, x)
        labels = rounds.labels[rows].repeat_interleave(count)
        # In float64 the difference of two losses loses no digits but those of the logits themselves.
        lead = margin(logits.double().flatten(0, 1), labels, targeted=rounds.targeted).view(-1, count)
        adversarial = succeeds(lead[:, 0] - rounding_of(logits[:, 0]), rounds.kappa[rows])
        return attack_loss(lead, rounds.kappa[rows, None]), adversarial

    def objective(
        self, rows: Tensor, coordinates: Tensor, x: Tensor, losses: Tensor, apart: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B,) c·f + ‖x - x₀‖₂² at the first of the queries `x` (B, Q, C·H·W), and (B, M) its slopes."""
        const, delta = self.const[rows], x[:, 0] - self.images[rows]
        loss = const * losses[:, 0].to(x) + delta.square().sum(1)
        return loss, const[:, None] * slopes(losses, apart).to(x) + 2 * delta.gather(1, coordinates)

    def draw(self, rows: Tensor, state: State) -> Tensor:
        """(B, M) different coordinates of each row, which depend on the example, the iteration and the seed alone."""
        values = state.variables.shape[1]
        if self.attack.coordinates >= values:
            return torch.arange(values, device=rows.device).expand(len(rows), -1)
        if not self.seeds:
            self.seeds = seeds_of(self.rounds.images, self.rounds.labels, self.attack.seed)
        index = (self.searches * self.attack.max_iterations + self.iteration)[rows].tolist()
        states = [generator(self.seeds[row], i) for row, i in zip(rows.tolist(), index, strict=True)]
        return self.chosen(rows, state, states)[:, : self.attack.coordinates].to(rows)

    def chosen(self, rows: Tensor, state: State, generators: Sequence[torch.Generator]) -> Tensor:
        """(B, P) all coordinates of each row in random order."""
        return torch.stack([torch.randperm(state.variables.shape[1], generator=each) for each in generators])

    def next_search(self, rows: Tensor, loss: Tensor) -> Tensor:
        """Begin the next search step of the rows that have ended theirs; return (B,) bool: which had the last one."""
        attack = self.attack
        self.iteration[rows] += 1
        ended = self.iteration[rows] >= attack.max_iterations
        if attack.abort_early:
            looked = self.iteration[rows] % self.window == 0
            ended |= looked & (loss > 0.9999 * self.before[rows])
            self.before[rows] = torch.where(looked, loss, self.before[rows])
        new = rows[ended]
        self.const[new], self.lower[new], self.upper[new] = next_const(
            self.const[new], self.lower[new], self.upper[new], self.succeeded[new]
        )
        for state in self.states:
            state.reset(new)
        self.before[new], self.iteration[new], self.succeeded[new] = torch.inf, 0, False
        self.searches[new] += 1
        return self.searches[rows] >= attack.binary_search_steps


class ReducedDescent(Descent):
    """The iterates of ZOO in a smaller attack space, which may grow (sections 3.4 to 3.6).

    The variables are perturbations y of C × s × s values; an image is x₀ + D(y), clipped to [0, 1].
    """

    box = -1.0, 1.0

    def spaces(self) -> list[State]:
        """Return the attack spaces, each of twice the side of that before it, but no larger than the image."""
        count, channels, height, width = self.rounds.images.shape
        assert self.attack.size is not None
        sides = [self.attack.size * 2**level for level in range(1 + len(self.attack.grow_at))]
        self.shapes = [(channels, min(side, height), min(side, width)) for side in sides]
        return [State(self.images.new_zeros(count, c * h * w)) for c, h, w in self.shapes]

    def level(self, rows: Tensor) -> Tensor:
        """(B,) the index of the attack space of each row."""
        return sum((self.iteration[rows] >= at for at in self.attack.grow_at), torch.zeros_like(rows))

    def step(self, rows: Tensor) -> Tensor:
        """Take an iteration of each row in its attack space; grow that of rows whose time has come."""
        done, before = torch.zeros_like(rows, dtype=torch.bool), self.level(rows)
        for level in sorted(set(before.tolist())):
            self.shape = self.shapes[level]
            here = before == level
            done[here] = self.move(rows[here], self.states[level])
            grown = rows[here & (self.level(rows) > level)]
            if len(grown):
                y = self.states[level].variables[grown].view(-1, *self.shape)
                larger = enlarged(y, self.shapes[level + 1][1:])
                self.states[level + 1].variables[grown] = larger.flatten(1)
        return done

    def images_at(self, rows: Tensor, points: Tensor) -> Tensor:
        """(B, Q, C, H, W) the images x₀ + D(y)."""
        images = self.rounds.images[rows]
        delta = enlarged(points.view(-1, *self.shape), images.shape[2:]).view(*points.shape[:2], *images.shape[1:])
        return (images.unsqueeze(1) + delta).clamp(0, 1)

    def objective(
        self, rows: Tensor, coordinates: Tensor, x: Tensor, losses: Tensor, apart: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B,) c·f + ‖x - x₀‖₂² at the first of the queries `x` (B, Q, C·H·W), and (B, M) its slopes."""
        distances = (x - self.images[rows].unsqueeze(1)).double().square().sum(2)
        total = self.const[rows, None] * losses + distances
        return total[:, 0].to(x), slopes(total, apart).to(x)

    def chosen(self, rows: Tensor, state: State, generators: Sequence[torch.Generator]) -> Tensor:
        """(B, P) all coordinates of each row, drawn one after the other by their weights."""
        if not self.attack.importance or state is self.states[0]:
            return super().chosen(rows, state, generators)
        weights = importance(state.variables[rows].view(-1, *self.shape)).flatten(1).cpu()
        uniform = torch.stack([torch.rand(weights.shape[1], generator=each) for each in generators])
        return (-uniform.double().log() / weights).argsort(1)  # the order of exponential times at these rates


def slopes(losses: Tensor, apart: Tensor) -> Tensor:
    """(B, M) the differences of `losses` (B, 1 + 2·M) above and below each coordinate, over how far these are apart."""
    above, below = losses[:, 1:].chunk(2, dim=1)
    return ((above - below) / apart).nan_to_num(0.0, 0.0, 0.0)


def enlarged(y: Tensor, shape: Sequence[int]) -> Tensor:
    """Enlarge perturbations (B, C, s, s) to a shape (H, W) by bilinear interpolation."""
    return functional.interpolate(y, list(shape), mode="bilinear", align_corners=False)


def importance(y: Tensor) -> Tensor:
    """(B, C, s, s) float64 weights of coordinates: the greatest |y| in their region of 8 × 8."""
    height, width = y.shape[2:]
    regions = functional.adaptive_max_pool2d(y.abs().double(), (min(REGIONS, height), min(REGIONS, width)))
    weights = functional.interpolate(regions, [height, width], mode="nearest")
    return weights.clamp(min=LEAST_WEIGHT)
