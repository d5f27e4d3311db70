"""Verdicts: questions about claims, answered from samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, isnan
from typing import Literal, NamedTuple

from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.analysis.intervals import LEVEL
from eadbench.harness.numbers import figure_text, rate_text
from eadbench.harness.paper.criteria import Criterion
from eadbench.harness.paper.sample import Sample, Support

Verdict = Literal["holds", "fails", "not enough data"]
UNKNOWN: Verdict = "not enough data"

_MOST_TIMES = 2.0**14
"""Do not look for a number of images beyond so many times those at hand."""


@dataclass(frozen=True, kw_only=True)
class Least:
    """What a comparison must rest on at least; below that, a claim lacks data."""

    images: int = 10
    """Images with a counted example."""
    successes: int = 10
    """Counted successes."""
    baseline: float = 0.0
    """The ASR in percent of what the others are compared with."""
    gap: float | None = None
    """ASRs may differ by so many points at most; None: the claim is about the ASRs themselves."""

    def __str__(self) -> str:
        parts = [f"{self.images} images", f"{self.successes} successes"]
        parts += [f"a baseline ASR of {self.baseline:g} %"] if self.baseline else []
        gap = "" if self.gap is None else f", ASRs at most {self.gap:g} points apart"
        return f"at least {', '.join(parts[:-1])} and {parts[-1]}{gap}"

    def shortfall(self, support: Support) -> str:
        """Return what is missing, with what would do; empty if nothing is."""
        if support.images < self.images:
            return f"{support.images} {support.counted}, at least {self.images} are needed"
        if support.successes < self.successes:
            return f"{support.successes} successes, at least {self.successes} are needed"
        if support.baseline < self.baseline:
            return f"the baseline's ASR is {rate_text(support.baseline)} %, at least {self.baseline:g} % is needed"
        if self.gap is not None and support.gap > self.gap:
            return (
                f"ASRs differ by {support.gap:.1f} points, at most {self.gap:g} are allowed: the distances at hand "
                "leave out the examples that are hard for one attack only"
            )
        return ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a claim asks at one place: whether all criteria hold on a sample."""

    dataset: str
    """The data set's name, as in the rows."""
    subject: str
    problem: str = ""
    """Why there is no sample; empty if there is one."""
    sample: Sample | None = None
    criteria: Sequence[Criterion] = ()
    support: Support | None = None
    caveat: Callable[[Verdict], str] = lambda _: ""
    """Returns what leaves a verdict in doubt; empty if nothing does."""
    note: str = ""
    """More about the sample, for the text."""


class Answer(NamedTuple):
    """The verdict on a question."""

    verdict: Verdict
    reason: str = ""
    """Why there is not enough data, if the criteria do not say it."""
    judged: bool = True
    """False if there is too little for a look at the criteria."""


def tests(questions: Sequence[Question]) -> int:
    """Return the number of intervals that can make a claim with these questions fail; at least 1."""
    return max(1, sum(criterion.tests for question in questions for criterion in question.criteria))


def answer(question: Question, least: Least, count: int) -> Answer:
    """Judge a question.

    Parameters
    ----------
    count
        The result of :func:`tests` for all questions of the claim.
    """
    if question.sample is None or question.support is None:
        return Answer(UNKNOWN, question.problem, judged=False)
    if shortfall := least.shortfall(question.support):
        return Answer(UNKNOWN, shortfall, judged=False)
    verdict = combine([_verdict(criterion, question.sample, count) for criterion in question.criteria])
    caveat = question.caveat(verdict)
    return Answer(UNKNOWN if caveat else verdict, caveat)


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """Combine verdicts: one failure fails; all must hold to hold; otherwise, or without verdicts, not enough data."""
    if "fails" in verdicts:
        return "fails"
    return "holds" if verdicts and set(verdicts) == {"holds"} else UNKNOWN


def text(question: Question, answer: Answer, count: int) -> str:
    """Return a line with the figures, their 95 % intervals, the number of images, and what would decide."""
    sample = question.sample
    if sample is None or question.support is None:
        return f"{question.subject}: {answer.reason}"
    parts = [*_figures(question, sample, count)] if answer.judged else []
    parts += [answer.reason] if answer.reason else []
    return f"{question.subject}: {', '.join(parts)} ({question.support.images} images{_asr(sample)}{question.note})"


def _asr(sample: Sample) -> str:
    """Return the ASR of compared cells, from the least to the greatest; empty for one cell."""
    if len(sample.rates) == 1:
        return ""
    texts = dict.fromkeys(rate_text(rate) for rate in (sample.rates.min(), sample.rates.max()))
    return f", ASR {' to '.join(texts)} %"


def _figures(question: Question, sample: Sample, count: int) -> Iterator[str]:
    """Yield the text of every criterion."""
    for criterion in question.criteria:
        value, low, high = criterion.quantity(sample, LEVEL, 1.0)
        if isnan(value) or isnan(low):
            yield f"{criterion.name} unknown"
            continue
        verdict = _verdict(criterion, sample, count)
        value_text, *ends = (
            f"{number:{criterion.style}}" if criterion.style else rate_text(number) for number in (value, low, high)
        )
        needed = "" if verdict == "holds" else f" (must be {criterion.range}{_more(criterion, sample, count, verdict)})"
        yield f"{criterion.name}{_shown(criterion, sample)} {value_text}{criterion.unit} [{', '.join(ends)}]{needed}"


def _more(criterion: Criterion, sample: Sample, count: int, verdict: Verdict) -> str:
    """Return how many images would decide a criterion."""
    if verdict == "fails":
        return ""
    images = images_to_decide(criterion, sample, count)
    return "; more images of these figures would not decide" if images is None else f"; about {images:,} would decide"


def images_to_decide(criterion: Criterion, sample: Sample, count: int) -> int | None:
    """Return about how many images with the same figures would decide a criterion; None if no number would."""
    few, many = 0.0, 1.0
    while _verdict(criterion, sample, count, times=2.0**many) == UNKNOWN:
        few, many = many, many + 1.0
        if 2.0**many > _MOST_TIMES:
            return None
    while many - few > 0.003:
        middle = (few + many) / 2.0
        if _verdict(criterion, sample, count, times=2.0**middle) == UNKNOWN:
            few = middle
        else:
            many = middle
    images = ceil(sample.images * 2.0**many)
    digit = 10 ** max(0, len(str(images)) - 2)
    return int(ceil(images / digit) * digit)


def _shown(criterion: Criterion, sample: Sample) -> str:
    """Return the figure of the first and the last cell: `` 22.46 → 14.11,``."""
    if not criterion.shown:
        return ""
    if criterion.shown == "asr":
        return f" {rate_text(sample.rates[0])} → {rate_text(sample.rates[-1])},"
    means = sample.means[:, METRICS.index(criterion.shown)]
    return f" {figure_text(means[0])} → {figure_text(means[-1])},"


def _verdict(criterion: Criterion, sample: Sample, count: int, times: float = 1.0) -> Verdict:
    """Judge one criterion: to hold by its 95 % interval, to fail by one that allows for `count` tests."""
    estimate = criterion.quantity(sample, LEVEL, times)
    if criterion.range.contains(estimate):
        return "holds"
    if not criterion.range.excludes(estimate):
        return UNKNOWN
    wider = criterion.quantity(sample, 1.0 - (1.0 - LEVEL) / count, times)
    return "fails" if criterion.range.excludes(wider) else UNKNOWN
