"""Worlds whose truth is known: for every claim, evidence drawn from one in which it is true, or false.

A false world is on the border of the claim, or as far beyond it as a criterion is that no sample may mistake: the claim
is false by one criterion at one place, and true by all others. An image's targets share its fate and its difficulty.

Shape letters:
    N  images
    T  targets
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eadbench.harness.paper.evidence import Evidence
from eadbench.harness.paper.findings import COV, CW, EAD, FGM, IFGM
from eadbench.harness.paper.places import Attack, Cell, Place
from tests.harness.paper.paper_rows import parameters_of, victim

TARGETS = 3
EN, L1 = EAD["en"], EAD["l1"]
Factors = tuple[float, float, float]
Key = tuple[Attack, float | None]
Fates = Callable[["Draw"], NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One sample of images, and how its attacks fare."""

    generator: np.random.Generator
    images: int
    asr: float = 1.0
    """The share of images on which every attack succeeds; on the others, every attack fails."""
    unequal: float = 1.0
    """The share of images on which the last attack of a place succeeds."""
    apart: int = 0
    """By so many images the set of each cell differs from that of the cell before."""

    def some(self, rate: float) -> NDArray[np.bool_]:
        """Draw images (N, 1)."""
        return self.generator.random((self.images, 1)) < rate

    def cell(
        self,
        key: Key,
        fate: NDArray[np.bool_],
        factors: Factors,
        difficulty: Any,
        *,
        kappa: float = 0.0,
        shift: int = 0,
    ) -> Cell:
        """Return a cell: distances are factors of the image's difficulty, with noise of mean 1 by image and target."""
        (attack, norm, rule), beta = key
        shape = (self.images, TARGETS)
        noise = self.generator.lognormal(-0.02, 0.2, (self.images, 1)) * self.generator.lognormal(-0.005, 0.1, shape)
        distances = (difficulty * noise)[..., None] * np.array(factors)
        image = np.repeat(np.arange(self.images), TARGETS) + shift
        example = image * TARGETS + np.tile(np.arange(TARGETS), self.images)
        if shift:  # images that other cells lack are a hundred times as hard
            distances[-shift:] *= 100.0
        success = np.broadcast_to(fate, shape).ravel()
        return Cell(
            attack=attack,
            norm=norm,
            rule=rule,
            beta=beta,
            kappa=kappa,
            examples=example,
            images=image,
            success=success,
            distances=distances.reshape(-1, 3),
            digests=(f"{attack}/{norm}/{rule}/{beta}/{kappa}",),
        )

    def cells(self, factors: Mapping[Key, Factors], difficulty: Any, succeeds: NDArray[np.bool_]) -> list[Cell]:
        """Return cells that differ in distances only, on images that have a difficulty and a fate in common."""
        last = len(factors) - 1
        return [
            self.cell(
                key,
                succeeds & self.some(self.unequal) if index == last and self.unequal < 1 else succeeds,
                factor,
                difficulty,
                shift=self.apart * index,
            )
            for index, (key, factor) in enumerate(factors.items())
        ]

    def place(self, factors: Mapping[Key, Factors], dataset: str = "mnist", **changes: Any) -> Place:
        """Return a place whose cells differ in distances only."""
        difficulty = self.generator.lognormal(0.0, 0.6, (self.images, 1))
        return place(self.cells(factors, difficulty, self.some(self.asr)), dataset, **changes)

    def networks(self, factors: Mapping[str, Mapping[Key, Factors]]) -> list[Place]:
        """Return networks by what they learnt from (empty: undefended), attacked on the same images."""
        difficulty = self.generator.lognormal(0.0, 0.6, (self.images, 1))
        succeeds = self.some(self.asr)
        places = []
        for index, (learnt, cells) in enumerate(factors.items()):
            last = index == len(factors) - 1
            fates = succeeds & self.some(self.unequal) if last and self.unequal < 1 else succeeds
            drawn = [
                self.cell(key, fates, factor, difficulty, shift=self.apart * index) for key, factor in cells.items()
            ]
            places.append(place(drawn, model=f"model {index}", defense="adversarial_training" if learnt else "none"))
            places[-1].defense_parameters.update(parameters_of(learnt, np.nan))  # type: ignore[attr-defined]
        return places


def place(cells: list[Cell], dataset: str = "mnist", **changes: Any) -> Place:
    known: dict[str, Any] = {"model": "model", "defense": "none", "defense_parameters": {}, "tested_on": None}
    return Place(dataset=dataset, arch="net", all_cells=cells, **(known | changes))


ONE = (1.0, 1.0, 1.0)

DISTILLED = victim("distilled", "distillation", temperature=100.0)


def reaches(draw: Draw, loss: float, defense: str = "none") -> Evidence:
    """EAD loses some images; for a defence, on the second of two networks."""
    places = []
    for index, share in enumerate((0.0, loss) if defense != "none" else (loss,)):
        everything = draw.some(1.0)
        cells = [draw.cell((CW, None), everything, ONE, 1.0)]
        cells.append(draw.cell((EN, 1e-3), ~draw.some(share), ONE, 1.0))
        places.append(place(cells, defense=defense, model=f"model {index}", defense_parameters={"temperature": index}))
    return Evidence(places, {})


def reduces(draw: Draw, dataset: str, percent: float) -> Evidence:
    factors = {(IFGM["l1"], None): ONE, (EN, 1e-3): (1 - percent / 100, 1.0, 1.0)}
    return Evidence([draw.place(factors, dataset)], {})


def least(draw: Draw, gap: float) -> Evidence:
    """EAD (EN) needs `gap` more L1 than EAD (L1), and every other attack half as much again as the best."""
    factors = {(L1, 1e-3): (1.0, 1.5, 1.5), (CW, None): (1.5, 1.0, 1.5), (IFGM["linf"], None): (1.5, 1.5, 1.0)}
    factors |= {(EN, 1e-3): (gap, 1.5, 1.5), (IFGM["l1"], None): (1.5, 1.5, 1.5), (IFGM["l2"], None): (1.5, 1.5, 1.5)}
    return Evidence([draw.place(factors)], {})


def weak(draw: Draw, asr: float) -> Evidence:
    """Two norms at half the border, one at `asr`."""
    rates = dict(zip(FGM.values(), (0.4, 0.4, asr), strict=True))
    return Evidence([place([draw.cell((fgm, None), draw.some(rate), ONE, 1.0) for fgm, rate in rates.items()])], {})


def by_beta(draw: Draw, rise: float) -> Evidence:
    factors = {(ead, beta): (1.0, 1.0, 1.0) for ead in (EN, L1) for beta in (1e-5, 1e-2)}
    factors |= {(EN, 1e-2): (0.6, 1.4, 1.4), (L1, 1e-2): (0.6, 1.4, rise)}
    return Evidence([draw.place(factors)], {})


def by_rule(draw: Draw, fall: float) -> Evidence:
    factors: dict[Key, Factors] = {}
    for beta in (1e-3, 1e-2):
        factors |= {(EN, beta): ONE, (L1, beta): (0.6 if beta == 1e-3 else fall, 1.4, 1.4)}
    return Evidence([draw.place(factors)], {})


def insensitive(draw: Draw, share: float) -> Evidence:
    factors = {(COV, 1e-5): ONE, (COV, 1e-2): (1 - 0.4 * share, 1.0, 1.0), (EN, 1e-5): ONE, (EN, 1e-2): (0.6, 1.0, 1.0)}
    return Evidence([draw.place(factors)], {})


def transferring(draw: Draw, attacks: list[Key], rate: float) -> Evidence:
    """Of the last attack, a share of the images transfers; of the others, none."""
    own, tested = [], []
    for index, key in enumerate(attacks):
        own.append(draw.cell(key, draw.some(1.0), ONE, 1.0))
        tested.append(draw.cell(key, draw.some(rate if index == len(attacks) - 1 else 0.0), ONE, 1.0))
    return Evidence([place(own), place(tested, tested_on=DISTILLED)], {})


def better(draw: Draw, lead: float) -> Evidence:
    """C&W transfers best at κ = 20 and 30, EAD at 10 to 40: chance decides which is the best."""
    ead = {0.0: 0.1, 10.0: 0.5, 20.0: 0.5, 30.0: 0.5, 40.0: 0.5, 50.0: 0.1}
    cells = []
    for kappa, rate in ead.items():
        common = draw.generator.random((draw.images, 1))
        cells.append(draw.cell((CW, None), common < (0.5 if kappa in (20, 30) else 0.1), ONE, 1.0, kappa=kappa))
        cells.append(draw.cell((EN, 1e-3), 1 - common < rate + lead * (rate == 0.5), ONE, 1.0, kappa=kappa))
    return Evidence([place(cells, tested_on=DISTILLED)], {})


def trained(draw: Draw, rise: float) -> Evidence:
    keys: list[Key] = [(CW, None), (EN, 1e-3), (L1, 1e-3)]
    hard = dict.fromkeys(keys, (1.3, 1.3, 1.0)) | {(L1, 1e-3): (1.3, rise, 1.0)}
    return Evidence(draw.networks({"": dict.fromkeys(keys, ONE), "cw": hard}), {})


def joint(draw: Draw, rise: float) -> Evidence:
    cells = {"cw": (1.0, 1.0, 1.0), "ead-l1": (1.0, 1.3 / rise, 1.0), "cw + ead-l1": (1.3, 1.3, 1.0)}
    return Evidence(draw.networks({learnt: {(CW, None): factors} for learnt, factors in cells.items()}), {})


def accurate(draw: Draw, accuracy: float) -> Evidence:
    """The accuracy is measured on a hundred times the images."""
    size = 100 * draw.images
    known = victim("model", "adversarial_training", accuracy=float(draw.generator.binomial(size, accuracy)) / size)
    return Evidence([place([], defense="adversarial_training")], {"model": known}, tested={"model": size})


OPTIMISED: list[Key] = [(CW, None), (EN, 1e-3), (L1, 1e-3)]
World = Callable[[Draw], Evidence]
WORLDS: dict[str, tuple[World, list[World]]] = {
    "on undefended networks": (lambda d: reaches(d, 0.0), [lambda d: reaches(d, 0.0101), lambda d: reaches(d, 0.05)]),
    "on defensively distilled": (
        lambda d: reaches(d, 0.0, "distillation"),
        [lambda d: reaches(d, 0.0101, "distillation"), lambda d: reaches(d, 0.05, "distillation")],
    ),
    "On MNIST": (
        lambda d: reduces(d, "mnist", 47.0),
        [lambda d: reduces(d, "mnist", 57.1), lambda d: reduces(d, "mnist", 36.9)],
    ),
    "On CIFAR10": (
        lambda d: reduces(d, "cifar10", 53.0),
        [lambda d: reduces(d, "cifar10", 63.1), lambda d: reduces(d, "cifar10", 42.9)],
    ),
    "On ImageNet": (
        lambda d: reduces(d, "imagenet", 87.0),
        [lambda d: reduces(d, "imagenet", 97.1), lambda d: reduces(d, "imagenet", 76.9)],
    ),
    "C&W the least L2": (lambda d: least(d, 1.3), [lambda d: least(d, 1.0)]),
    "FGM's ASR is far": (lambda d: weak(d, 0.4), [lambda d: weak(d, 0.75)]),
    "EAD's L1 falls": (lambda d: by_beta(d, 1.4), [lambda d: by_beta(d, 1.0)]),
    "At the same β": (lambda d: by_rule(d, 0.6), [lambda d: by_rule(d, 1.0)]),
    "β hardly changes": (
        lambda d: insensitive(d, 0.1),
        [lambda d: insensitive(d, 0.5), lambda d: insensitive(d, -0.5)],
    ),
    "examples of C&W and EAD do not": (
        lambda d: transferring(d, OPTIMISED, 0.0),
        [lambda d: transferring(d, OPTIMISED, 0.02), lambda d: transferring(d, OPTIMISED, 0.05)],
    ),
    "I-FGM's examples do not": (
        lambda d: transferring(d, [(one, None) for one in IFGM.values()], 0.0),
        [lambda d, r=rate: transferring(d, [(one, None) for one in IFGM.values()], r) for rate in (0.02, 0.05)],
    ),
    "its best ASR over κ": (lambda d: better(d, 0.3), [lambda d: better(d, 0.0)]),
    "Adversarial training raises": (lambda d: trained(d, 1.3), [lambda d: trained(d, 1.0)]),
    "together raises": (lambda d: joint(d, 1.3), [lambda d: joint(d, 1.0)]),
    "an accuracy of": (lambda d: accurate(d, 0.995), [lambda d: accurate(d, 0.9899), lambda d: accurate(d, 0.985)]),
}
"""By words of a claim: the world in which it is true, and those in which it is false."""
