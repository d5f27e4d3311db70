"""The report of a sweep: tables, the transfer matrix, detectors, curves, galleries, and a comparison with the paper."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from eadbench.harness.analysis import cautions, transfer, trust
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.errors import UserError
from eadbench.harness.labels import attack_label, value_text, varying_names
from eadbench.harness.messages import printable
from eadbench.harness.parquet.adversarial import Images
from eadbench.harness.parquet.stored import SETTING, StoredRows
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting import robust, tables
from eadbench.harness.reporting.tables import grid, overview
from eadbench.harness.reporting.tables.detections import detections_csv, detections_terminal, render_detections
from eadbench.harness.reporting.tables.layout import Layout, grids
from eadbench.harness.results.folder import Results
from eadbench.harness.results.json_files import write_text
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.spec import Spec

NEEDS = "% needs \\usepackage{booktabs}\n"
"""The first line of tables in LaTeX."""

__all__ = [
    "compared",
    "draw",
    "held_out_texts",
    "images_text",
    "learnt_texts",
    "terminal",
    "text",
    "training_texts",
    "warnings",
    "write",
]


def terminal(summary: Summary, *, width: int, layout: Layout | None = None, quantised: bool = False) -> RenderableType:
    """Render the tables for a terminal, and the transfer matrix if examples were tested on other victims.

    A study of several victims begins with an overview. If `quantised`, or if the spec asks for it, there are tables of
    the figures after rounding to 8 bits.
    """
    first = overview.terminal(summary, width=width)
    parts: list[RenderableType] = [] if first is None else [first]
    shown = [summary.own.assign(table=""), *([summary.after_rounding] if quantised or summary.quantised else [])]
    for lines in shown:
        if layout is None:
            parts.append(tables.terminal(lines, summary.victims, width=width))
        else:
            parts += map(grid.terminal, grids(lines, summary.victims, layout))
    if summary.robust:
        parts.append(robust.terminal(summary.robust))
    matrix = transfer.terminal(summary.lines, summary.victims, summary.labels, summary.spec)
    seeds = tables.seeds_terminal(summary.lines, summary.victims)
    parts += [part for part in (seeds, matrix, detections_terminal(summary)) if part is not None]
    parts += [Text(text, style="dim") for text in _notes(summary)]
    return Group(*parts, *(Text(f"Warning: {text}", style="yellow") for text in warnings(summary)), Text())


def text(summary: Summary, format: str, layout: Layout | None = None, *, quantised: bool = False) -> str:
    """Return the tables as csv, markdown (with :func:`images_text` and :func:`warnings` below) or latex.

    If `quantised`, or if the spec asks for it, there are tables of the figures after rounding to 8 bits; a csv has them
    as columns in any case.
    """
    lines = summary.lines
    if format != "csv" and (quantised or summary.quantised):
        lines = pd.concat([lines, summary.after_rounding], ignore_index=True)
    if layout is None:
        rendered = tables.render(lines, format, summary.victims)
    else:
        rendered = "\n".join(grid.text(each, format) for each in grids(lines, summary.victims, layout))
    if format != "csv":
        needs = NEEDS if format == "latex" else ""
        rendered = needs + overview.text(summary, format) + rendered.removeprefix(needs)
        rendered += robust.render(summary.robust, format)
        rendered += tables.render_seeds(summary.lines, format, summary.victims)
        rendered += tables.render_matrix(summary.lines, format, summary.victims, summary.spec)
        rendered += render_detections(summary, format)
    rendered = printable(rendered)
    if format != "markdown":
        return rendered
    notes = [*_notes(summary), *(f"Warning: {text}" for text in warnings(summary))]
    return "\n".join([rendered, *(f"{printable(note)}\n" for note in notes)])


def images_text(spec: Spec) -> str:
    """Return the sentence that says how the attacked images were drawn."""
    images = spec.images
    classifiers = (
        "every victim of the spec classifies" if images.correct_on == "all" else "the attacked victim classifies"
    )
    number = "all" if images.limit is None else f"the first {images.limit}"
    which = f"{number} of the {images.split} split's seeded order that {classifiers} correctly"
    if images.indices is not None:
        which = (
            f"{number} of {len(images.indices)} chosen ones that {classifiers} correctly, of the {images.split} split"
        )
    if spec.target_file:
        first = number if images.limit is None else f"{number}, in a seeded order,"
        which = f"{first} of {spec.target_file.file} that {classifiers} correctly, of the {images.split} split"
    return f"Images: {printable(which)}."


def _notes(summary: Summary) -> list[str]:
    """Return what a reader must know of images, trainings, and what attacks have learnt."""
    return [images_text(summary.spec), *training_texts(summary), *learnt_texts(summary)]


def training_texts(summary: Summary) -> list[str]:
    """Return sentences about trainings: how many adversarial examples there were, and how held-out images did."""
    labels = summary.labels.victim
    examples = [
        f"{labels[victim.digest]}: trained on {victim.examples[0]:,} of the {victim.examples[1]:,} adversarial "
        "examples that it asked for."
        for victim in summary.victims
        if victim.examples
    ]
    held_out = [f"{labels[victim.digest]}: {text}." for victim in summary.victims for text in held_out_texts(victim)]
    return examples + held_out


def held_out_texts(victim: Victim) -> list[str]:
    """Return a victim's figures on held-out images, of its best epoch and of its last, if any were held out.

    A robust accuracy that falls after the best epoch is robust overfitting (Rice et al. 2020).
    """
    return [
        f"{measured} on held-out images {100 * max(shares):.1f} % after epoch {shares.index(max(shares)) + 1}, "
        f"which is kept, and {100 * shares[-1]:.1f} % after epoch {len(shares)}, the last"
        for measured, shares in victim.held_out.items()
    ]


def learnt_texts(summary: Summary) -> list[str]:
    """Return a sentence for each attack that has learnt something of a victim: its figures."""
    victims = summary.labels.victim
    learnt = [each for each in summary.learnt if each.figures and each.victim in victims]
    texts = []
    for each in sorted(learnt, key=lambda one: (one.attack, one.victim)):
        alike = varying_names([one.parameters for one in learnt if one.attack == each.attack])
        details = [f"{name} {value_text(each.parameters[name])}" for name in alike if name in each.parameters]
        label = ", ".join([attack_label(each.attack), *details])
        figures = ", ".join(
            f"{name.replace('_', ' ')} {f'{value:,}' if isinstance(value, int) else f'{value:.3g}'}"
            for name, value in each.figures.items()
        )
        texts.append(f"{label} on {victims[each.victim]}: {figures}.")
    return texts


def warnings(summary: Summary) -> list[str]:
    """Return what is missing or suspicious, in sentences. Those about a victim and its rows begin with its label."""
    labels = summary.labels.victim
    general = [text for text in (summary.missing, summary.mixture) if text is not None]
    suspicions = [f"{labels[victim.digest]}: {text}" for victim in summary.victims for text in victim.warnings]
    counted = [] if summary.counts is None else cautions.texts(summary.counts, summary.labels)
    return general + suspicions + counted + trust.sentences(summary.findings, summary.own, summary.labels)


def write(folder: Results, summary: Summary) -> dict[str, str]:
    """Write the tables and the transfer matrix into ``DIR/report``; return each file's name and text."""
    formats = {"table.csv": "csv", "table.md": "markdown", "table.tex": "latex"}
    texts = {name: text(summary, format) for name, format in formats.items()}
    if matrix := transfer.csv(summary.lines, summary.victims, summary.labels):
        texts["transfer.csv"] = matrix
    if len(indicators := trust.table(summary.findings, summary.own, summary.labels)):
        texts["trust.csv"] = indicators.to_csv(index=False, lineterminator="\n")
    if summary.robust:
        texts["robust.csv"] = robust.render(summary.robust, "csv")
    if seeds := tables.seeds_csv(summary.lines, summary.victims):
        texts["seeds.csv"] = seeds
    if detections := detections_csv(summary):
        texts["detections.csv"] = detections
    texts = {name: printable(content) for name, content in texts.items()}
    for name, content in texts.items():
        write_text(folder.report / name, content)
    return texts


def draw(snapshot: Snapshot, summary: Summary, *, paper: bool = False) -> list[Path]:
    """Draw curves over β, κ and T, ROC curves of detectors, and a gallery of every cell with stored images.

    The files are in ``DIR/report``. If `paper`, the paper's figures stand in the curves as hollow marks.
    """
    from eadbench.harness.paper import comparison
    from eadbench.harness.reporting import figures, gallery

    folder = snapshot.folder
    beside = comparison.paper_figures(summary.lines, summary.victims) if paper else None
    drawn = figures.draw(summary.lines, summary.victims, paper=beside) | figures.draw_roc(summary)
    files = figures.save(drawn, folder.report)
    if summary.spec.save_images == "successes":
        data = snapshot.data()
        if isinstance(data, str):
            raise UserError(f"--figures: the galleries need the images. {data}")
        parts = sorted(folder.images.glob("[!.]*.parquet"))
        split = getattr(data, summary.spec.images.split)

        def originals(images: Sequence[int]) -> Images:
            pixels: Images = split.images(images).numpy()
            return pixels

        for rows in _rows_by_cell(snapshot.stored_rows):
            for name, figure in gallery.galleries(rows, parts, originals, data.class_names, summary.labels):
                files += figures.save({name: figure}, folder.report)
    return files


def _rows_by_cell(stored: StoredRows) -> Iterator[pd.DataFrame]:
    """Yield the rows of each cell on its attacked victim, with the columns that a gallery needs."""
    own = stored.lines[stored.lines["model"] == stored.lines["evaluated_on"]]
    for line in own.index:
        yield stored.read([*SETTING, "image", "label", "target", "success"], [line])


def compared(summary: Summary) -> pd.DataFrame:
    """Compare the sweep with the paper; see :func:`eadbench.harness.paper.comparison.compare`.

    Raises
    ------
    UserError
        The sweep is untargeted, or none of its cells is in the paper's tables.
    """
    from eadbench.harness.paper import comparison

    if not summary.spec.targeted:
        raise UserError("--compare paper: the paper's attacks are targeted, those of this sweep are not")
    lines = comparison.compare(summary.lines, summary.victims)
    if lines.empty:
        raise UserError(
            "--compare paper: no cell of this sweep is in the paper's tables, over as many targets "
            f"({comparison.TARGETS}, or one of them at random)"
        )
    return lines
