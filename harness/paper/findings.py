"""The tests of the paper's claims: one function per claim, which yields a finding for every place with the rows.

β is 1e-3 unless the claim is about β; κ is 0 unless the claim is about κ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import FIGURES as FIGURE_LABELS
from eadbench.harness.labels import attack_label
from eadbench.harness.numbers import parameter_text
from eadbench.harness.paper.evidence import Attack, Evidence, Finding, Place
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
CW: Attack = ("cw", None, None)
EAD: dict[str, Attack] = {"en": ("ead", None, "en"), "l1": ("ead", None, "l1")}
COV: Attack = ("cov", None, "en")
FGM: dict[str, Attack] = {norm: ("fgm", norm, None) for norm in ("l1", "l2", "linf")}
IFGM: dict[str, Attack] = {norm: ("ifgm", norm, None) for norm in ("l1", "l2", "linf")}
OPTIMISED = ((CW, None), (EAD["en"], BETA), (EAD["l1"], BETA))
"""The attacks of the paper's tables 3, 11, 12 and 14, each with its β."""

_METRICS = {name: label for name, label in FIGURE_LABELS.items() if name != "asr"}


def reaches_cw(evidence: Evidence, defense: str) -> Iterator[Finding]:
    """Test that EAD's ASR, the same for every decision rule, is at most a point below C&W's."""
    criterion = Criterion("ASR", points, at_least(-1.0), "+.2f", " points", shown_figure="asr")
    for place in evidence.attacked(defense):
        ead = place.cell(EAD["en"], BETA) or place.cell(EAD["l1"], BETA)
        yield from evidence.judge(place, "EAD against C&W", [place.cell(CW), ead], criterion)


def reduces_l1(evidence: Evidence, dataset: str, percent: float) -> Iterator[Finding]:
    """Test that EAD (EN) has about `percent` less L1 than I-FGM-L1."""
    [criterion] = _changes(l1=about(-percent, within=10.0))
    for place in evidence.attacked("none"):
        if place.dataset == dataset:
            cells = [place.cell(IFGM["l1"]), place.cell(EAD["en"], BETA)]
            yield from evidence.judge(place, "EAD (EN) against I-FGM-L1", cells, criterion)


def least_of_its_norm(evidence: Evidence) -> Iterator[Finding]:
    """Test that EAD, C&W and I-FGM-L∞ have the least L1, L2 and L∞, compared with each other and the other I-FGM."""
    best = dict(zip(_METRICS, ("EAD (L1)", "C&W", "I-FGM-Linf"), strict=True))
    criteria = [
        Criterion(f"{_METRICS[metric]} against {name}", _gap_to_next(cell, metric), above(0.0), "+.1f", " %")
        for cell, (metric, name) in enumerate(best.items())
    ]
    for place in evidence.attacked("none"):
        cells = [place.cell(EAD["l1"], BETA), place.cell(CW), place.cell(IFGM["linf"])]
        cells += [place.cell(EAD["en"], BETA), place.cell(IFGM["l1"]), place.cell(IFGM["l2"])]
        yield from evidence.judge(place, "the least of the others", cells, *criteria)


def trades_by_beta(evidence: Evidence) -> Iterator[Finding]:
    """Test that L1 falls and L2 and L∞ rise from β = 1e-5 to 1e-2."""
    for place in evidence.attacked("none"):
        for ead in EAD.values():
            cells = [place.cell(ead, beta) for beta in (LEAST_BETA, GREATEST_BETA)]
            criteria = _changes(l1=below(0.0), l2=above(0.0), linf=above(0.0))
            yield from evidence.judge(place, f"{attack_label(*ead)} from β = 1e-5 to 1e-2", cells, *criteria)


def trades_by_rule(evidence: Evidence) -> Iterator[Finding]:
    """Test that the L1 rule has less L1, and more L2 and L∞, than the EN rule at the same β."""
    criteria = _changes(l1=below(0.0), l2=above(0.0), linf=above(0.0))
    for place in evidence.attacked("none"):
        for en in place.cells(EAD["en"]):
            if en.beta:
                cells = [en, place.cell(EAD["l1"], en.beta)]
                yield from evidence.judge(
                    place, f"L1 rule against EN at β = {parameter_text(en.beta)}", cells, *criteria
                )


def cov_insensitive(evidence: Evidence) -> Iterator[Finding]:
    """Test that EAD's L1 falls from β = 1e-5 to 1e-2, and COV's changes by less than half as much."""

    def ead_change(figures: Floats) -> Floats:
        return percent_change("l1")(figures[..., 2:, :])

    def cov_share(figures: Floats) -> Floats:
        return np.abs(percent_change("l1")(figures[..., :2, :]) / ead_change(figures))

    criteria = [
        Criterion("EAD's L1", ead_change, below(0.0), "+.1f", " %"),
        Criterion("COV's change of L1 as a share of EAD's", cov_share, below(0.5), ".2f"),
    ]
    for place in evidence.attacked("none"):
        cells = [place.cell(attack, beta) for attack in (COV, EAD["en"]) for beta in (LEAST_BETA, GREATEST_BETA)]
        yield from evidence.judge(place, "EN rule from β = 1e-5 to 1e-2", cells, *criteria)


def fgm_is_weak(evidence: Evidence) -> Iterator[Finding]:
    """Test that FGM's ASR is below 75 %."""
    for place in evidence.attacked("none"):
        for attack in FGM.values():
            yield from evidence.judge(place, attack_label(*attack), [place.cell(attack)], _rate(below(75.0)))


def unsure_does_not_transfer(evidence: Evidence) -> Iterator[Finding]:
    """Test that less than 2 % of the examples of C&W and EAD transfer at κ = 0."""
    for place in evidence.transfers(temperature=100.0):
        for attack, beta in OPTIMISED:
            cell = place.cell(attack, beta)
            yield from evidence.judge(place, f"{cell} at κ = 0", [cell], _rate(below(2.0)))


def ifgm_does_not_transfer(evidence: Evidence) -> Iterator[Finding]:
    """Test that less than 2 % of I-FGM's examples transfer."""
    for place in evidence.transfers(temperature=100.0):
        for attack in IFGM.values():
            yield from evidence.judge(place, attack_label(*attack), [place.cell(attack)], _rate(below(2.0)))


def transfers_better(evidence: Evidence) -> Iterator[Finding]:
    """Test that EAD's transfer ASR at its best κ is above C&W's at its best κ, over the κ that both have.

    While C&W is best at the greatest κ, the claim cannot hold; while EAD is, it cannot fail. A greater κ could change
    the result.
    """
    for place in evidence.transfers(temperature=100.0):
        cw = {cell.kappa: cell for cell in place.cells(CW, kappa=None)}
        for attack in EAD.values():
            cells = place.cells(attack, kappa=None)
            ead = {cell.kappa: cell for cell in cells if cell.beta is not None and np.isclose(cell.beta, BETA)}
            kappas = sorted(cw.keys() & ead.keys())
            if kappas:
                sample = evidence.sample([by_kappa[kappa] for by_kappa in (cw, ead) for kappa in kappas])
                yield _compare_best_kappas(place, attack_label(*attack), kappas, sample)


def training_raises(evidence: Evidence) -> Iterator[Finding]:
    """Test that C&W and EAD need more L1 and L2 on an adversarially trained network than on an undefended one."""
    for trained in evidence.attacked("adversarial_training"):
        for undefended in _same_architecture(trained, evidence.attacked("none")):
            for attack, beta in OPTIMISED:
                cells = [undefended.cell(attack, beta), trained.cell(attack, beta)]
                subject = f"{cells[1]} against {undefended.model[:8]}, undefended"
                yield from evidence.judge(trained, subject, cells, *_changes(l1=above(0.0), l2=above(0.0)))


def joint_training_raises(evidence: Evidence) -> Iterator[Finding]:
    """Test that C&W needs more L1 and L2 on a network trained on EAD (L1) and C&W than on one trained on either."""
    trained = evidence.attacked("adversarial_training")
    for joint in trained:
        if joint.learnt_from == "cw + ead-l1":
            for single in _same_architecture(joint, trained):
                if single.learnt_from in ("cw", "ead-l1"):
                    subject = f"C&W against {single.model[:8]}, {single.defense_text} alone"
                    cells = [single.cell(CW), joint.cell(CW)]
                    yield from evidence.judge(joint, subject, cells, *_changes(l1=above(0.0), l2=above(0.0)))


def stays_accurate(evidence: Evidence) -> Iterator[Finding]:
    """Test that adversarially trained networks classify 99 % of the attacked split's images correctly."""
    for place in evidence.attacked("adversarial_training"):
        victim = evidence.victims.get(place.model)
        if place.dataset == "mnist" and victim is not None and victim.accuracy is not None:
            text = f"{place}: {100 * victim.accuracy:.2f} % of the whole split"
            yield Finding(place.dataset, "holds" if victim.accuracy >= 0.99 else "fails", text)


def _compare_best_kappas(place: Place, ead: str, kappas: list[float], sample: Sample | str) -> Finding:
    """Compare the highest ASR over κ of C&W, the first half of the sample's cells, with that of EAD, the second half.

    Parameters
    ----------
    ead
        The label of EAD.
    """
    subject = f"{place}: best of κ = {kappas[0]:g} to {kappas[-1]:g}, {ead} less C&W"
    if isinstance(sample, str):
        return Finding(place.dataset, "not enough data", f"{subject}: {sample}")
    count = len(kappas)

    def lead(figures: Floats) -> Floats:
        return np.asarray(figures[..., count:, 0].max(axis=-1) - figures[..., :count, 0].max(axis=-1))

    verdict, text = sample.judge(Criterion("ASR", lead, above(0.0), "+.1f", " points"))
    rates = sample.figures[:, 0].reshape(2, count)
    best = rates.argmax(axis=1)
    for label, attack_rates, index in zip(("C&W", ead), rates, best, strict=True):
        text += f", {label} {attack_rates[index]:.1f} % at κ = {kappas[index]:g}"
    losing_index = best[0] if verdict == "holds" else best[1]
    if losing_index == count - 1:
        verdict = "not enough data"
        text += ", which a greater κ might change"
    return Finding(place.dataset, verdict, f"{subject}: {text} ({sample.images} images)")


def _same_architecture(place: Place, others: list[Place]) -> list[Place]:
    """Return the other places with the same data set and architecture."""
    return [other for other in others if (other.dataset, other.arch) == (place.dataset, place.arch)]


def _changes(**rules: Rule) -> list[Criterion]:
    """Return a criterion for each figure: its change from the first cell to the last."""
    return [Criterion(_METRICS[name], percent_change(name), rule, "+.1f", " %", name) for name, rule in rules.items()]


def _rate(rule: Rule) -> Criterion:
    return Criterion("ASR", rate, rule, ".1f", " %")


def _gap_to_next(cell: int, metric: str) -> Callable[[Floats], Floats]:
    """Return the quantity "least distortion of the other cells, in percent above that of `cell`"."""
    index = FIGURES.index(metric)

    def quantity(figures: Floats) -> Floats:
        others = np.delete(figures[..., index], cell, axis=-1)
        return np.asarray(100.0 * (others.min(axis=-1) / figures[..., cell, index] - 1.0))

    return quantity
