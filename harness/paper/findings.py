"""What rows say of each claim of the paper: one function a claim, which yields a finding for every place it can.

All at β = 1e-3 where the claim is not of β, and at κ = 0 where it is not of κ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import parameter_text
from eadbench.harness.paper.evidence import Evidence, Finding, Place
from eadbench.harness.paper.published import training_parts
from eadbench.harness.paper.sample import (
    Criterion,
    Floats,
    Rule,
    Sample,
    about,
    above,
    at_least,
    below,
    percent_change,
    points,
    rate,
)

BETA = 1e-3
LEAST_BETA, GREATEST_BETA = 1e-5, 1e-2
RULES = ("EN", "L1")
IFGM = ("I-FGM-L1", "I-FGM-L2", "I-FGM-Linf")
FGM = ("FGM-L1", "FGM-L2", "FGM-Linf")
OPTIMISED = (("C&W", "", None), ("EAD", "EN", BETA), ("EAD", "L1", BETA))
"""Attack, rule and β of the attacks that the paper's tables 3, 11, 12 and 14 have."""

_METRICS = {"l1": "L1", "l2": "L2", "linf": "L∞"}


def reaches_cw(evidence: Evidence, defense: str) -> Iterator[Finding]:
    """EAD's ASR, which does not depend on the decision rule, is less than a point below C&W's."""
    criterion = Criterion("ASR", points, at_least(-1.0), "+.2f", " points", shows="asr")
    for place in evidence.attacked(defense):
        ead = place.cell("EAD", "EN", BETA) or place.cell("EAD", "L1", BETA)
        yield from evidence.judge(place, "EAD against C&W", [place.cell("C&W"), ead], criterion)


def reduces_l1(evidence: Evidence, dataset: str, percent: float) -> Iterator[Finding]:
    """EAD (EN) has about `percent` less L1 than I-FGM-L1."""
    [criterion] = _changes(l1=about(-percent, within=10.0))
    for place in evidence.attacked("none"):
        if place.dataset == dataset:
            cells = [place.cell("I-FGM-L1"), place.cell("EAD", "EN", BETA)]
            yield from evidence.judge(place, "EAD (EN) against I-FGM-L1", cells, criterion)


def least_of_its_norm(evidence: Evidence) -> Iterator[Finding]:
    """EAD, C&W and I-FGM-L∞ have the least L1, L2 and L∞ of these attacks and the other I-FGM."""
    best = dict(zip(_METRICS, ("EAD (L1)", "C&W", "I-FGM-Linf"), strict=True))
    criteria = [
        Criterion(f"{_METRICS[metric]} against {name}", _to_the_next(cell, metric), above(0.0), "+.1f", " %")
        for cell, (metric, name) in enumerate(best.items())
    ]
    for place in evidence.attacked("none"):
        cells = [place.cell("EAD", "L1", BETA), place.cell("C&W"), place.cell("I-FGM-Linf")]
        cells += [place.cell("EAD", "EN", BETA), place.cell("I-FGM-L1"), place.cell("I-FGM-L2")]
        yield from evidence.judge(place, "the least of the others", cells, *criteria)


def trades_by_beta(evidence: Evidence) -> Iterator[Finding]:
    """From β = 1e-5 to 1e-2, L1 falls, and L2 and L∞ rise."""
    for place in evidence.attacked("none"):
        for rule in RULES:
            cells = [place.cell("EAD", rule, beta) for beta in (LEAST_BETA, GREATEST_BETA)]
            criteria = _changes(l1=below(0.0), l2=above(0.0), linf=above(0.0))
            yield from evidence.judge(place, f"EAD ({rule}) from β = 1e-5 to 1e-2", cells, *criteria)


def trades_by_rule(evidence: Evidence) -> Iterator[Finding]:
    """At one β, the L1 rule has less L1, and more L2 and L∞, than the EN rule."""
    criteria = _changes(l1=below(0.0), l2=above(0.0), linf=above(0.0))
    for place in evidence.attacked("none"):
        for en in place.cells("EAD", "EN"):
            if en.beta:
                cells = [en, place.cell("EAD", "L1", en.beta)]
                yield from evidence.judge(
                    place, f"L1 rule against EN at β = {parameter_text(en.beta)}", cells, *criteria
                )


def cov_insensitive(evidence: Evidence) -> Iterator[Finding]:
    """From β = 1e-5 to 1e-2, EAD's L1 falls, and COV's changes by less than half as much."""

    def of_ead(figures: Floats) -> Floats:
        return percent_change("l1")(figures[..., 2:, :])

    def share(figures: Floats) -> Floats:
        return np.abs(percent_change("l1")(figures[..., :2, :]) / of_ead(figures))

    criteria = [
        Criterion("EAD's L1", of_ead, below(0.0), "+.1f", " %"),
        Criterion("COV's change of L1 as a share of EAD's", share, below(0.5), ".2f"),
    ]
    for place in evidence.attacked("none"):
        cells = [place.cell(attack, "EN", beta) for attack in ("COV", "EAD") for beta in (LEAST_BETA, GREATEST_BETA)]
        yield from evidence.judge(place, "EN rule from β = 1e-5 to 1e-2", cells, *criteria)


def fgm_is_weak(evidence: Evidence) -> Iterator[Finding]:
    """FGM's ASR is below 75 %."""
    for place in evidence.attacked("none"):
        for attack in FGM:
            yield from evidence.judge(place, attack, [place.cell(attack)], _rate(below(75.0)))


def unsure_does_not_transfer(evidence: Evidence) -> Iterator[Finding]:
    """At κ = 0, less than 2 % of the examples of C&W and EAD transfer."""
    for place in evidence.transfers(temperature=100.0):
        for attack, rule, beta in OPTIMISED:
            cell = place.cell(attack, rule, beta)
            yield from evidence.judge(place, f"{cell} at κ = 0", [cell], _rate(below(2.0)))


def ifgm_does_not_transfer(evidence: Evidence) -> Iterator[Finding]:
    """Less than 2 % of I-FGM's examples transfer."""
    for place in evidence.transfers(temperature=100.0):
        for attack in IFGM:
            yield from evidence.judge(place, attack, [place.cell(attack)], _rate(below(2.0)))


def transfers_better(evidence: Evidence) -> Iterator[Finding]:
    """EAD's transfer ASR at its best κ is above C&W's at its own.

    Over the κ at which both were tested. The claim cannot hold while C&W is best at the greatest of them, nor fail
    while EAD is: more κ could tell otherwise.
    """
    for place in evidence.transfers(temperature=100.0):
        cw = {cell.kappa: cell for cell in place.cells("C&W", kappa=None)}
        for rule in RULES:
            all_ead = place.cells("EAD", rule, kappa=None)
            ead = {cell.kappa: cell for cell in all_ead if cell.beta is not None and np.isclose(cell.beta, BETA)}
            kappas = sorted(cw.keys() & ead.keys())
            if kappas:
                sample = evidence.sample([cells[kappa] for cells in (cw, ead) for kappa in kappas])
                yield _best_kappas(place, f"EAD ({rule})", kappas, sample)


def training_raises(evidence: Evidence) -> Iterator[Finding]:
    """C&W and EAD need more L1 and L2 on an adversarially trained network than on the undefended one."""
    for trained in evidence.attacked("adversarial_training"):
        for plain in _alike(trained, evidence.attacked("none")):
            for attack, rule, beta in OPTIMISED:
                cells = [plain.cell(attack, rule, beta), trained.cell(attack, rule, beta)]
                words = f"{cells[1]} against {plain.model[:8]}, undefended"
                yield from evidence.judge(trained, words, cells, *_changes(l1=above(0.0), l2=above(0.0)))


def joint_training_raises(evidence: Evidence) -> Iterator[Finding]:
    """C&W needs more L1 and L2 on a network trained on EAD (L1) and C&W than on one trained on one of them."""
    trained = evidence.attacked("adversarial_training")
    for joint in trained:
        if training_parts(joint.defense) == {"EAD-L1", "C&W"}:
            for alone in _alike(joint, trained):
                if training_parts(alone.defense) in ({"EAD-L1"}, {"C&W"}):
                    [part] = training_parts(alone.defense)
                    words = f"C&W against {alone.model[:8]}, trained on {part} alone"
                    cells = [alone.cell("C&W"), joint.cell("C&W")]
                    yield from evidence.judge(joint, words, cells, *_changes(l1=above(0.0), l2=above(0.0)))


def stays_accurate(evidence: Evidence) -> Iterator[Finding]:
    """Adversarially trained networks are right on 99 % of the images, over the whole split that is attacked."""
    for place in evidence.attacked("adversarial_training"):
        victim = evidence.victims.get(place.model)
        if place.dataset == "MNIST" and victim is not None and victim.accuracy is not None:
            text = f"{place}: {100 * victim.accuracy:.2f} % of the whole split"
            yield Finding(place.dataset, "holds" if victim.accuracy >= 0.99 else "fails", text)


def _best_kappas(place: Place, name: str, kappas: list[float], sample: Sample | str) -> Finding:
    """Whether the latter half of a sample's cells (EAD's, by κ) has a higher greatest ASR than the former."""
    start = f"{place}: best of κ = {kappas[0]:g} to {kappas[-1]:g}, {name} less C&W"
    if isinstance(sample, str):
        return Finding(place.dataset, "not enough data", f"{start}: {sample}")
    number = len(kappas)

    def lead(figures: Floats) -> Floats:
        return np.asarray(figures[..., number:, 0].max(axis=-1) - figures[..., :number, 0].max(axis=-1))

    verdict, text = sample.judge(Criterion("ASR", lead, above(0.0), "+.1f", " points"))
    rates = sample.figures[:, 0].reshape(2, number)
    best = rates.argmax(axis=1)
    for named, row, at in zip(("C&W", name), rates, best, strict=True):
        text += f", {named} {row[at]:.1f} % at κ = {kappas[at]:g}"
    undecided = best[0] if verdict == "holds" else best[1]
    if undecided == number - 1:
        verdict = "not enough data"
        text += ", which a greater κ might change"
    return Finding(place.dataset, verdict, f"{start}: {text} ({sample.images} images)")


def _alike(place: Place, others: list[Place]) -> list[Place]:
    """Those of the others that have the same data set and architecture."""
    return [other for other in others if (other.dataset, other.arch) == (place.dataset, place.arch)]


def _changes(**rules: Rule) -> list[Criterion]:
    """A criterion for each figure: its change from the first cell to the last."""
    return [Criterion(_METRICS[name], percent_change(name), rule, "+.1f", " %", name) for name, rule in rules.items()]


def _rate(rule: Rule) -> Criterion:
    return Criterion("ASR", rate, rule, ".1f", " %")


def _to_the_next(cell: int, metric: str) -> Callable[[Floats], Floats]:
    """By how many percent the least of the other cells' distortion is above that of `cell`."""
    index = FIGURES.index(metric)

    def quantity(figures: Floats) -> Floats:
        others = np.delete(figures[..., index], cell, axis=-1)
        return np.asarray(100.0 * (others.min(axis=-1) / figures[..., cell, index] - 1.0))

    return quantity
