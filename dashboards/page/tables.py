"""The tables of attacks, with the paper's figures beside them, and how examples transfer to other victims."""

import pandas as pd

from eadbench.dashboards.lines import described
from eadbench.dashboards.page.markup import Section, paragraph, plain, scrolling
from eadbench.dashboards.table import MOST, paper_figures, table_html
from eadbench.harness.analysis import transfer as transfer_matrix
from eadbench.harness.analysis.aggregate import CASES
from eadbench.harness.analysis.transfer import SETTING
from eadbench.harness.labels import parameter_text, rate_text, series_name, victim_names
from eadbench.harness.paper import comparison
from eadbench.harness.reporting import report
from eadbench.harness.reporting.report import Found

__all__ = ["attacks", "transfer"]

_PAIRS = {
    "Best and average case": ("best", "average"),
    "Worst case, and all targets": ("worst", "all_targets"),
}
"""Groups of columns that stand side by side: four, with intervals, are wider than a page."""
_CRAFTED = ("crafted on", "attack", "β", "κ")
_MOST_RATES = 8_000
"""Of the matrix."""
_CASES = (
    "Per image over its target classes, the best case is the least distorted success, the average case one target "
    "drawn from the spec's seed, and the worst case the most distorted, a failure if any target fails. All targets is "
    "the mean over every target, without the noise of the draw."
)
_MEANING = (
    "ASR in percent; distortions are means over successes. In square brackets: 95 % intervals, from a bootstrap over "
    "images. Underlined in bold: the least distortion among the lines of the highest ASR on a victim."
)
_TRANSFER = (
    "ASR over every target class, in percent; framed where examples are on the victim that they were crafted on. There "
    "an example succeeds if it reaches the margin κ; on another victim, if that gives it the target class, by whatever "
    "margin. An attack that fails on its own victim has no example to transfer, and counts as a failure."
)


def attacks(found: Found) -> Section:
    """What attacks reach on the victims that they were crafted on."""
    own = found.summary["model"] == found.summary["evaluated_on"]
    if not own.any():
        body = paragraph("There are no rows that answer the spec yet.", "note")
    else:
        images = paragraph(report.images_text(found.spec), "note")
        body = paragraph(_CASES) + _tables(found, found.summary[own]) + images
    return Section(anchor="tables", title="Tables", body=body)


def transfer(found: Found) -> Section | None:
    """What examples do to other victims; None where none was tested on another."""
    matrix = transfer_matrix.matrix(found.summary, found.victims)
    if matrix is None:
        return None
    other = found.summary["model"] != found.summary["evaluated_on"]
    body = _matrix(matrix, found) + paragraph(_TRANSFER) + _tables(found, found.summary[other], ", on other victims")
    return Section(anchor="transfer", title="Transfer", body=body)


def _tables(found: Found, lines: pd.DataFrame, where: str = "") -> str:
    """Lines of the summary in two tables."""
    first = lines.iloc[: MOST * len(CASES)]
    texts = described(first, found.victims)
    paper = paper_figures(_compared(found, first))
    parts = []
    for title, groups in _PAIRS.items():
        said = f"{title}{where}"
        shown = table_html(first, texts, found.victims, groups=groups, intervals=True, paper=paper, said=said)
        parts.append(f"<h3>{plain(said)}</h3>{shown}")
    brackets = " In round brackets: what the paper found for this setting." if paper else ""
    cut = "" if len(first) == len(lines) else f" The first {MOST} of {len(lines) // len(CASES):,}; table.csv has all."
    return "".join(parts) + paragraph(_MEANING + brackets + cut, "note")


def _compared(found: Found, lines: pd.DataFrame) -> pd.DataFrame | None:
    """The paper's figures where they are of the same settings; its attacks are targeted."""
    return comparison.compare(lines, found.victims) if found.spec.targeted else None


def _matrix(matrix: pd.DataFrame, found: Found) -> str:
    """The transfer matrix: a line for each setting, a column for each victim."""
    names = victim_names(found.victims)
    onto = [column for column in matrix.columns if column not in SETTING]
    labels = "".join(f'<th rowspan="2" scope="col" class="label">{head}</th>' for head in _CRAFTED)
    group = f'<th colspan="{len(onto)}" scope="colgroup">tested on</th>'
    heads = "".join(f'<th scope="col" class="onto">{plain(names.get(digest, digest))}</th>' for digest in onto)
    shown = matrix.iloc[: max(1, _MOST_RATES // len(onto))]
    rows = []
    for line in shown.to_dict("records"):
        series = series_name(line["attack"], line["decision_rule"])
        words = [series, parameter_text(line["beta"]), parameter_text(line["kappa"])]
        cells = [f'<th scope="row" class="label">{plain(names.get(line["model"], line["model"]))}</th>']
        cells += [f'<td class="label">{plain(word)}</td>' for word in words]
        cells += [_rate(line[digest], own=digest == line["model"]) for digest in onto]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = f"<thead><tr>{labels}{group}</tr><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
    box = scrolling(f'<table class="figures matrix">{body}</table>', "Transfer matrix")
    if len(shown) == len(matrix):
        return box
    return box + paragraph(f"The first {len(shown):,} of {len(matrix):,} settings; transfer.csv has all.", "note")


def _rate(rate: float, *, own: bool) -> str:
    """A cell of the matrix, as dark as its rate is high."""
    if pd.isna(rate):
        return "<td></td>"
    return f'<td{" class=own" if own else ""} style="--share:{rate / 100:.2f}">{rate_text(rate)}</td>'
