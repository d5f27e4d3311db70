"""The tests of the paper's claims: one function per claim, which yields a question for every place with the rows.

β is 1e-3 unless the claim is about β; κ is 0 unless the claim is about κ. Every attack that a claim names must have
rows at a place; where a claim names EAD, either rule will do, unless it names the rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from eadbench.harness.labels import FIGURES as FIGURE_LABELS
from eadbench.harness.labels import attack_label
from eadbench.harness.numbers import parameter_text, rate_text
from eadbench.harness.paper.criteria import (
    Criterion,
    Estimate,
    Range,
    about,
    above,
    at_least,
    below,
    best_lead,
    change,
    gap_to_next,
    points,
    rate,
    share_of_change,
)
from eadbench.harness.paper.evidence import Evidence, compare, shared_sample
from eadbench.harness.paper.places import Attack, Cell, Place
from eadbench.harness.paper.sample import Sample
from eadbench.harness.paper.verdicts import Question, Verdict

BETA = 1e-3
LEAST_BETA, GREATEST_BETA = 1e-5, 1e-2
CW: Attack = ("cw", None, None)
EAD: dict[str, Attack] = {"en": ("ead", None, "en"), "l1": ("ead", None, "l1")}
COV: Attack = ("cov", None, "en")
FGM: dict[str, Attack] = {norm: ("fgm", norm, None) for norm in ("l1", "l2", "linf")}
IFGM: dict[str, Attack] = {norm: ("ifgm", norm, None) for norm in ("l1", "l2", "linf")}

_METRICS = {name: label for name, label in FIGURE_LABELS.items() if name != "asr"}


def reaches_cw(evidence: Evidence, defense: str) -> Iterator[Question]:
    """Test that EAD's ASR, the same for every decision rule, is at most a point below C&W's."""
    criterion = Criterion("ASR", points, at_least(-1.0), "+.2f", " points", shown="asr")
    for place in evidence.attacked(defense):
        ead = place.cell(EAD["en"], BETA) or place.cell(EAD["l1"], BETA)
        yield from _rates(place, "EAD against C&W", [place.cell(CW), ead], criterion)


def reduces_l1(evidence: Evidence, percent: float) -> Iterator[Question]:
    """Test that EAD (EN) has about `percent` less L1 than I-FGM-L1."""
    criteria = _changes(l1=about(-percent, within=10.0))
    for place in evidence.attacked("none"):
        cells = [place.cell(IFGM["l1"]), place.cell(EAD["en"], BETA)]
        yield from compare(place, "EAD (EN) against I-FGM-L1", cells, *criteria)


def least_of_its_norm(evidence: Evidence) -> Iterator[Question]:
    """Test that EAD, C&W and I-FGM-L∞ have the least L1, L2 and L∞, compared with each other and the other I-FGM."""
    for place in evidence.attacked("none"):
        cells = [place.cell(EAD["l1"], BETA), place.cell(CW), place.cell(IFGM["linf"])]
        cells += [place.cell(EAD["en"], BETA), place.cell(IFGM["l1"]), place.cell(IFGM["l2"])]
        best = zip(_METRICS, ("EAD (L1)", "C&W", "I-FGM-Linf"), strict=True)
        criteria = [
            Criterion(
                f"{_METRICS[metric]} against {name}", gap_to_next(metric, index), above(0.0), "+.1f", " %", tests=5
            )
            for index, (metric, name) in enumerate(best)
        ]
        yield from compare(place, "the least of the others", cells, *criteria)


def trades_by_beta(evidence: Evidence) -> Iterator[Question]:
    """Test that L1 falls and L2 and L∞ rise from β = 1e-5 to 1e-2, by both rules."""
    criteria = _changes(l1=below(0.0), l2=above(0.0), linf=above(0.0))
    for place in evidence.attacked("none"):
        by_rule = {rule: [place.cell(ead, beta) for beta in (LEAST_BETA, GREATEST_BETA)] for rule, ead in EAD.items()}
        if all(cell is not None for cells in by_rule.values() for cell in cells):
            for rule, cells in by_rule.items():
                yield from compare(place, f"{attack_label(*EAD[rule])} from β = 1e-5 to 1e-2", cells, *criteria)


def trades_by_rule(evidence: Evidence) -> Iterator[Question]:
    """Test that the L1 rule has less L1, and more L2 and L∞, than the EN rule at the same β."""
    criteria = _changes(l1=below(0.0), l2=above(0.0), linf=above(0.0))
    for place in evidence.attacked("none"):
        for en in place.cells(EAD["en"]):
            if en.beta:
                subject = f"L1 rule against EN at β = {parameter_text(en.beta)}"
                yield from compare(place, subject, [en, place.cell(EAD["l1"], en.beta)], *criteria)


def cov_insensitive(evidence: Evidence) -> Iterator[Question]:
    """Test that EAD's L1 falls from β = 1e-5 to 1e-2, and COV's changes by less than half as much."""

    def ead_alone(sample: Sample, level: float, times: float) -> Estimate:
        return change("l1")(replace(sample, distances=sample.distances[:, 2:]), level, times)

    share = Range(least=-0.5, most=0.5)
    criteria = [
        Criterion("EAD's L1", ead_alone, below(0.0), "+.1f", " %"),
        Criterion("COV's change of L1 as a share of EAD's", share_of_change("l1"), share, ".2f"),
    ]
    for place in evidence.attacked("none"):
        cells = [place.cell(attack, beta) for attack in (COV, EAD["en"]) for beta in (LEAST_BETA, GREATEST_BETA)]
        yield from compare(place, "EN rule from β = 1e-5 to 1e-2", cells, *criteria)


def fgm_is_weak(evidence: Evidence) -> Iterator[Question]:
    """Test that FGM's ASR is below 75 %."""
    for place in evidence.attacked("none"):
        for attack in FGM.values():
            yield from _rates(place, attack_label(*attack), [place.cell(attack)], _rate(below(75.0)))


def unsure_does_not_transfer(evidence: Evidence) -> Iterator[Question]:
    """Test that less than 2 % of the successful examples of C&W and EAD transfer at κ = 0."""
    for place in evidence.transfers(temperature=100.0):
        for cell in _optimised(place):
            yield _transferred(evidence, place, cell, f"{cell} at κ = 0")


def ifgm_does_not_transfer(evidence: Evidence) -> Iterator[Question]:
    """Test that less than 2 % of I-FGM's successful examples transfer."""
    for place in evidence.transfers(temperature=100.0):
        for attack in IFGM.values():
            if cell := place.cell(attack):
                yield _transferred(evidence, place, cell, attack_label(*attack))


def transfers_better(evidence: Evidence) -> Iterator[Question]:
    """Test that EAD's transfer ASR at its best κ is above C&W's at its best κ, over the κ that both have.

    While C&W is best at the greatest κ, the claim cannot hold; while EAD is, it cannot fail. A greater κ could change
    the result.
    """
    for place in evidence.transfers(temperature=100.0):
        cw = {cell.kappa: cell for cell in place.cells(CW, kappa=None)}
        for attack in EAD.values():
            cells = place.cells(attack, kappa=None)
            ead = {cell.kappa: cell for cell in cells if cell.beta is not None and np.isclose(cell.beta, BETA)}
            if kappas := sorted(cw.keys() & ead.keys()):
                sample = shared_sample([by_kappa[kappa] for by_kappa in (cw, ead) for kappa in kappas])
                yield _best_kappas(place, attack_label(*attack), kappas, sample)


def training_raises(evidence: Evidence) -> Iterator[Question]:
    """Test that C&W and EAD need more L1 and L2 on an adversarially trained network than on an undefended one."""
    for trained in evidence.attacked("adversarial_training"):
        for undefended in _same_architecture(trained, evidence.attacked("none")):
            before = {cell.setting: cell for cell in _optimised(undefended)}
            after = [cell for cell in _optimised(trained) if cell.setting in before]
            if {cell.attack for cell in after} == {"cw", "ead"}:
                for cell in after:
                    subject = f"{cell} against {undefended.model[:8]}, undefended"
                    criteria = _changes(l1=above(0.0), l2=above(0.0))
                    yield from compare(trained, subject, [before[cell.setting], cell], *criteria)


def joint_training_raises(evidence: Evidence) -> Iterator[Question]:
    """Test that C&W needs more L1 and L2 on a network trained on EAD (L1) and C&W than on one trained on either."""
    trained = [place for place in evidence.attacked("adversarial_training") if place.cell(CW)]
    for joint in trained:
        if joint.learnt_from == "cw + ead-l1":
            singles = [place for place in _same_architecture(joint, trained) if place.learnt_from in ("cw", "ead-l1")]
            if {single.learnt_from for single in singles} == {"cw", "ead-l1"}:
                for single in singles:
                    subject = f"C&W against {single.model[:8]}, {single.defense_text} alone"
                    criteria = _changes(l1=above(0.0), l2=above(0.0))
                    yield from compare(joint, subject, [single.cell(CW), joint.cell(CW)], *criteria)


def stays_accurate(evidence: Evidence) -> Iterator[Question]:
    """Test that adversarially trained networks classify 99 % of the attacked split's images correctly."""
    criterion = Criterion("accuracy", rate, at_least(99.0), ".2f", " %")
    for place in evidence.attacked("adversarial_training"):
        victim, size = evidence.victims.get(place.model), evidence.tested.get(place.model)
        if victim is None or victim.accuracy is None:
            continue
        if size is None:
            problem = f"accuracy {100 * victim.accuracy:.2f} % of an unknown number of images"
            yield Question(dataset=place.dataset, subject=str(place), problem=problem)
            continue
        correct = np.arange(size) < round(victim.accuracy * size)
        sample = Sample.of(np.arange(size), correct[:, None], np.empty((size, 1, 0)))
        yield _question(place, str(place), sample, criterion)


def _optimised(place: Place) -> list[Cell]:
    """Return the cells of C&W and EAD at β = 1e-3; none if either attack is missing."""
    cells = [place.cell(CW), *(place.cell(ead, BETA) for ead in EAD.values())]
    present = [cell for cell in cells if cell is not None]
    return present if {cell.attack for cell in present} == {"cw", "ead"} else []


def _rates(place: Place, subject: str, cells: Sequence[Cell | None], criterion: Criterion) -> Iterator[Question]:
    """Yield one question on the ASRs of cells, the first of which is the baseline; nothing if a cell is missing."""
    present = [cell for cell in cells if cell is not None]
    if len(present) == len(cells):
        yield _question(place, f"{place}: {subject}", shared_sample(present), criterion)


def _question(place: Place, subject: str, sample: Sample | str, criterion: Criterion, note: str = "") -> Question:
    """Return a question on the rates of a sample."""
    if isinstance(sample, str):
        return Question(dataset=place.dataset, subject=subject, problem=sample)
    criteria, support = [criterion], sample.rate_support()
    return Question(
        dataset=place.dataset, subject=subject, sample=sample, criteria=criteria, support=support, note=note
    )


def _transferred(evidence: Evidence, place: Place, cell: Cell, attack: str) -> Question:
    """Return the question whether less than 2 % of the examples transfer that succeed on their own network."""
    source = evidence.source(place)
    own = None if source is None else source.cell((cell.attack, cell.norm, cell.rule), cell.beta)
    subject = f"{place}: {attack}"
    if own is None or own.digests != cell.digests:
        problem = "no rows on the network that the examples were crafted on: how many succeed there is unknown"
        return Question(dataset=place.dataset, subject=subject, problem=problem)
    sample = shared_sample([cell], among=own.examples[own.success])
    question = _question(place, subject, sample, _rate(below(2.0)))
    if question.sample is None:
        return replace(question, problem="no example succeeds on its own network")
    successes, baseline = int(question.sample.trials.sum()), 100.0 * float(own.success.mean())
    support = question.sample.rate_support()._replace(successes=successes, baseline=baseline)
    return replace(question, support=support, note=f", {successes} examples that succeed on their own network")


def _best_kappas(place: Place, ead: str, kappas: list[float], sample: Sample | str) -> Question:
    """Return the question whether EAD's highest ASR over κ, the sample's second half of cells, is above C&W's."""
    subject = f"{place}: best of κ = {kappas[0]:g} to {kappas[-1]:g}, {ead} less C&W"
    question = _question(place, subject, sample, Criterion("ASR", best_lead, above(0.0), "+.1f", " points"))
    if isinstance(sample, str):
        return question
    count = len(kappas)
    rates, successes = sample.rates.reshape(2, count), sample.successes.sum(axis=0)
    best = rates.argmax(axis=1)

    def caveat(verdict: Verdict) -> str:
        losing = best[0] if verdict == "holds" else best[1]
        return "a greater κ might change this" if losing == count - 1 else ""

    parts = zip(("C&W", ead), rates.max(axis=1), best, strict=True)
    note = "".join(f", {label} {rate_text(value)} % at κ = {kappas[index]:g}" for label, value, index in parts)
    support = sample.rate_support(float(rates.max()))._replace(successes=int(successes.max()))
    return replace(question, support=support, caveat=caveat, note=note)


def _same_architecture(place: Place, others: list[Place]) -> list[Place]:
    """Return the other places with the same data set and architecture."""
    return [other for other in others if (other.dataset, other.arch) == (place.dataset, place.arch)]


def _changes(**ranges: Range) -> list[Criterion]:
    """Return a criterion for each distance: its change from the first cell to the last."""
    return [
        Criterion(_METRICS[name], change(name), values, "+.1f", " %", shown=name) for name, values in ranges.items()
    ]


def _rate(values: Range) -> Criterion:
    return Criterion("ASR", rate, values, "", " %")
