"""The claims of the paper, checked on our rows.

A claim is checked at every place that has the rows for it. A place is a victim, or a pair of victims for transfer. The
check looks at the 95 % bootstrap interval of one or more quantities. At a place, the claim

- holds if every interval lies on the claimed side;
- fails if an interval lies on the other side;
- has not enough data otherwise, or with fewer than 10 images.

"About 47 %" holds if the interval, widened by 10 points on both sides, contains 47 %. Over all places, a claim fails if
it fails at one, and holds if it holds at every one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from eadbench.harness.labels import dataset_label
from eadbench.harness.paper import findings
from eadbench.harness.paper.evidence import Evidence, Finding
from eadbench.harness.paper.sample import Verdict, combine
from eadbench.harness.plan.grid import Victim

_MNIST = ("mnist",)
_SMALL = ("mnist", "cifar10")
_ALL = ("mnist", "cifar10", "imagenet")
_STYLES: dict[Verdict, str] = {"holds": "bold green", "fails": "bold red", "not enough data": "bold yellow"}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper and its test.

    Parameters
    ----------
    sentence
        The claim in our words; in parentheses, what we test if the paper leaves it open.
    source
        The tables that support the claim.
    datasets
        The data sets for which the paper makes it.
    needs
        The rows that the test needs, in words.
    test
        Yields a finding for every place with the rows.
    """

    sentence: str
    source: str
    datasets: tuple[str, ...]
    needs: str
    test: Callable[[Evidence], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A checked claim; `evidence` has a line for every place, with figures and 95 % intervals."""

    claim: str
    source: str
    verdict: Verdict
    evidence: tuple[str, ...]


CLAIMS = (
    Claim(
        sentence="EAD reaches the C&W attack's ASR on undefended networks (to within a point).",
        source="tables 2, 8, 9, 10",
        datasets=_ALL,
        needs="C&W and EAD at β = 1e-3 on an undefended network",
        test=partial(findings.reaches_cw, defense="none"),
    ),
    Claim(
        sentence="EAD reaches the C&W attack's ASR on defensively distilled networks, at every T (to within a point).",
        source="tables 11, 12",
        datasets=_SMALL,
        needs="C&W and EAD at β = 1e-3 on distilled networks",
        test=partial(findings.reaches_cw, defense="distillation"),
    ),
    *(
        Claim(
            sentence=f"On {dataset_label(dataset)}, EAD by the EN rule has about {percent} % less L1 than I-FGM-L1.",
            source=f"tables 2, {table}",
            datasets=(dataset,),
            needs="I-FGM-L1 and EAD (EN) at β = 1e-3 on an undefended network",
            test=partial(findings.reduces_l1, dataset=dataset, percent=percent),
        )
        for dataset, percent, table in (("mnist", 47, 8), ("cifar10", 53, 9), ("imagenet", 87, 10))
    ),
    Claim(
        sentence="Of EAD (L1), C&W and I-FGM, EAD has the least L1, C&W the least L2 and I-FGM-L∞ the least L∞.",
        source="tables 2, 8, 9, 10",
        datasets=_ALL,
        needs="C&W, EAD at β = 1e-3 by both rules and I-FGM in all norms on an undefended network",
        test=findings.least_of_its_norm,
    ),
    Claim(
        sentence="FGM's ASR is far below 100 % (here: below 75 %).",
        source="tables 2, 8, 9, 10",
        datasets=_ALL,
        needs="FGM on an undefended network",
        test=findings.fgm_is_weak,
    ),
    Claim(
        sentence="As β grows from 1e-5 to 1e-2, EAD's L1 falls while its L2 and L∞ rise, by either rule.",
        source="tables 6, 7",
        datasets=_SMALL,
        needs="EAD at β = 1e-5 and 1e-2 on an undefended network",
        test=findings.trades_by_beta,
    ),
    Claim(
        sentence="At the same β, the L1 rule has less L1, and more L2 and L∞, than the EN rule.",
        source="tables 2, 6 to 10",
        datasets=_ALL,
        needs="EAD by both rules on an undefended network",
        test=findings.trades_by_rule,
    ),
    Claim(
        sentence="β hardly changes COV's L1, unlike EAD's (from 1e-5 to 1e-2, by less than half as much).",
        source="tables 1, 5",
        datasets=_SMALL,
        needs="COV and EAD (EN) at β = 1e-5 and 1e-2 on an undefended network",
        test=findings.cov_insensitive,
    ),
    Claim(
        sentence="At κ = 0, examples of C&W and EAD do not transfer to a network distilled at T = 100 (ASR below 2 %; "
        "the paper's are at most 1.1 %).",
        source="table 13",
        datasets=_MNIST,
        needs="C&W and EAD at β = 1e-3, κ = 0, tested on a network distilled at T = 100",
        test=findings.unsure_does_not_transfer,
    ),
    Claim(
        sentence="I-FGM's examples do not transfer to a network distilled at T = 100 (ASR below 2 %; the paper's are "
        "at most 1.7 %).",
        source="table 13",
        datasets=_MNIST,
        needs="I-FGM, tested on a network distilled at T = 100",
        test=findings.ifgm_does_not_transfer,
    ),
    Claim(
        sentence="EAD transfers better than C&W: its best ASR over κ is the higher.",
        source="table 13",
        datasets=_MNIST,
        needs="C&W and EAD at β = 1e-3 over κ, tested on a network distilled at T = 100",
        test=findings.transfers_better,
    ),
    Claim(
        sentence="Adversarial training raises the L1 and L2 that C&W and EAD need.",
        source="tables 3, 14",
        datasets=_MNIST,
        needs="C&W or EAD at β = 1e-3 on an undefended and an adversarially trained network",
        test=findings.training_raises,
    ),
    Claim(
        sentence="Training on EAD (L1) and C&W together raises the L1 and L2 that C&W needs further than either alone.",
        source="tables 3, 14",
        datasets=_MNIST,
        needs="C&W on networks trained on EAD-L1 + C&W, and on either alone",
        test=findings.joint_training_raises,
    ),
    Claim(
        sentence="Adversarially trained MNIST networks keep an accuracy of at least 99 %.",
        source="the text on adversarial training",
        datasets=_MNIST,
        needs="an adversarially trained network whose accuracy is known",
        test=findings.stays_accurate,
    ),
)


def check(rows: pd.DataFrame, victims: Sequence[Victim], *, seed: int, resamples: int = 1000) -> list[Checked]:
    """Check every claim of :data:`CLAIMS`.

    Parameters
    ----------
    rows
        Result rows of one or more sweeps, in any order. Duplicates count once; untargeted rows do not count. Figures
        are over all targets: their expectation is that of the paper's average case, without the noise of drawing
        targets.
    victims
        The victims of the rows, in any order. Duplicates count once.
    seed
        The seed of the bootstrap.
    resamples
        Bootstrap resamples of the images, at least 1.

    Raises
    ------
    UserError
        `resamples` is less than 1.
    """
    evidence = Evidence(rows, victims, seed=seed, resamples=resamples)
    return [_checked(claim, list(claim.test(evidence))) for claim in CLAIMS]


def render(checked: Sequence[Checked]) -> str:
    """Render every claim in Markdown, with its verdict and the evidence below it."""
    lines = []
    for number, claim in enumerate(checked, start=1):
        lines.append(f"{number}. **{claim.verdict.capitalize()}.** {claim.claim} ({claim.source})\n")
        lines += [f"    - {evidence}\n" for evidence in claim.evidence]
    return "".join(lines)


def terminal(checked: Sequence[Checked]) -> Group:
    """Render every claim for a terminal, with its verdict in colour and the evidence below it."""
    parts: list[Text | Padding] = []
    for claim in checked:
        parts.append(Text.assemble((claim.verdict, _STYLES[claim.verdict]), f"  {claim.claim} ({claim.source})"))
        parts += [Padding(Text(evidence, style="dim"), (0, 0, 0, 4)) for evidence in claim.evidence]
    return Group(*parts)


def _checked(claim: Claim, by_place: Sequence[Finding]) -> Checked:
    """Combine a claim's findings by place; name the data sets without one."""
    datasets = {finding.dataset for finding in by_place}
    evidence = [f"{finding.text}: {finding.verdict}" for finding in by_place]
    evidence += [
        f"{dataset_label(dataset)}: no rows of {claim.needs}" for dataset in claim.datasets if dataset not in datasets
    ]
    verdict = combine([finding.verdict for finding in by_place])
    return Checked(claim=claim.sentence, source=claim.source, verdict=verdict, evidence=tuple(evidence))
