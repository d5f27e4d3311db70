"""One example in the terminal: its pictures, and the result of every attack on it."""

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd
from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.analysis.example import Found, Row
from eadbench.harness.labels import AXES, dataset_label
from eadbench.harness.messages import printable
from eadbench.harness.numbers import figure_text, parameter_text
from eadbench.harness.reporting.pixels import Floats, in_terminal, signed

__all__ = ["shown"]

_MIN_WIDTH, _MAX_WIDTH = 16, 64
"""Limits of a picture's width, in characters."""
_GAP = 2
"""Characters between two pictures."""
_FIGURES = {"l0": "L0", "l1": "L1", "l2": "L2", "linf": "L∞", "margin": "margin", "const": "c", "epsilon": "ε"}
_LEFT_ALIGNED = ("cell", "attack", "on")
_REQUIRED = ("cell", "attack", "")
"""Columns that are shown even if empty."""
_TRACE = "after 1/32, 1/16 … 1 of the budget"
_OPTIONAL = (_TRACE, "passes", "gradients", "c", "ε", "margin", "L0", "cell", "on", "κ", "β")
"""Columns that a narrow terminal omits, in this order."""
_UNLIMITED = 1000
"""Characters to measure the full width of a table with."""


def shown(example: Found, console: Console) -> Iterator[RenderableType]:
    """Yield a heading, the pictures, and a table for each attacked victim."""
    row, target = example.row, example.name.target
    aim = "untargeted" if target is None else f"target {example.class_names[target]}"
    heading = f"{dataset_label(row['dataset'])}, image {example.name.image}"
    file = f" ({printable(example.file)})" if example.file else ""
    yield Text.assemble((heading, "bold"), file, f": class {example.class_names[int(row['label'])]}, {aim}")
    yield Columns(_pictures(example, console), padding=(1, _GAP))
    if example.problem:
        yield Text(f"No original: {example.problem}", style="dim")
    for _, rows in example.rows.groupby("model", sort=False):
        yield _table(example, rows, console)


def _pictures(example: Found, console: Console) -> Iterator[Group]:
    """Yield the original, the adversarial image and the perturbation, each a third of the terminal wide."""
    width = min(_MAX_WIDTH, max(_MIN_WIDTH, console.width // 3 - _GAP))
    colour = console.color_system is not None

    def picture(pixels: Floats, *caption: str) -> Group:
        return Group(in_terminal(pixels, width, colour=colour), *(Text(line) for line in caption))

    row, setting = example.row, _setting(example, example.row)
    if example.original is not None:
        yield picture(example.original, "original", f"class {example.class_names[int(row['label'])]}")
    if example.adversarial is None:
        yield Group(*map(Text, (*setting, "its image is not stored" if row["success"] else "failed")))
        return
    yield picture(example.adversarial, *setting)
    if example.original is not None:
        change = example.adversarial - example.original
        scale = float(np.abs(change).max())
        pixels = signed(change, scale) if colour else np.abs(change) / (scale or 1)
        key = "" if not colour else "each channel around grey" if len(change) == 3 else "blue less, orange more"
        yield picture(pixels, f"perturbation, ±{figure_text(scale)}", key)


def _setting(example: Found, row: Row) -> tuple[str, str]:
    """Return the attack and the grid point of a row: ``EAD (L1)`` and ``β = 1e-3, κ = 0``."""
    texts = ((AXES[name], parameter_text(row[name])) for name in ("beta", "kappa"))
    return example.labels.series[row["series"]], ", ".join(f"{symbol} = {text}" for symbol, text in texts if text)


def _table(example: Found, rows: pd.DataFrame, console: Console) -> Table:
    """Return the results on one attacked victim, as many columns as fit; the least distortion is bold."""
    digest = rows["model"].iloc[0]
    title = f"{example.labels.victim_details[digest]} ({digest[:6]})"
    unlimited = console.options.update(max_width=_UNLIMITED)
    for count in range(len(_OPTIONAL) + 1):
        table = Table(box=box.SIMPLE_HEAD, title=title, title_style="", title_justify="left", show_edge=False)
        table.pad_edge, table.padding = False, (0, 1, 0, 0)
        columns = _columns(example, rows, _OPTIONAL[:count])
        for head in columns:
            table.add_column(head, justify="left" if head in _LEFT_ALIGNED else "right", no_wrap=head != "attack")
        for cells in zip(*columns.values(), strict=True):
            table.add_row(*cells)
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
    return table


def _columns(example: Found, rows: pd.DataFrame, omitted: Collection[str]) -> dict[str, list[Text]]:
    """Return the columns that are not empty, by their heads; rows of other victims only for successful cells."""
    own = rows["evaluated_on"] == rows["model"]
    successes = rows.loc[own & rows["success"], "cell"]
    rows = rows[own] if "on" in omitted else rows[own | rows["cell"].isin(successes)]
    lines: list[Row] = rows.to_dict("records")
    columns = {
        "cell": [Text(line["cell"][:6], style="" if line["cell"] == example.row["cell"] else "dim") for line in lines],
        "attack": [Text(example.labels.series[line["series"]]) for line in lines],
        "β": [Text(parameter_text(line["beta"])) for line in lines],
        "κ": [Text(parameter_text(line["kappa"])) for line in lines],
        "on": [Text("" if _on_own_victim(line) else _victim(example, line["evaluated_on"])) for line in lines],
        "": [Text("✓", style="green") if line["success"] else Text("✗", style="red") for line in lines],
        **{head: _figures(lines, name) for name, head in _FIGURES.items()},
        "gradients": [_passes(line, "iterations") for line in lines],
        "passes": [_passes(line, "iterations", "forward_passes") for line in lines],
        _TRACE: [_trace(line["trace"]) for line in lines],
    }
    heads = (head for head, column in columns.items() if head in _REQUIRED or any(map(str, column)))
    return {head: columns[head] for head in heads if head not in omitted}


def _passes(line: Row, *names: str) -> Text:
    """Return the sum of columns that count passes; nothing if they are not known."""
    return Text("" if any(pd.isna(line[name]) for name in names) else f"{sum(line[name] for name in names):,}")


def _trace(values: Sequence[float] | None) -> Text:
    """Return the least distances after each share of a budget, with a dash before the first success."""
    return Text("" if values is None else "  ".join("–" if pd.isna(v) else figure_text(v) for v in values))


def _figures(lines: Sequence[Row], name: str) -> list[Text]:
    """Return a figure of each line; the least distortion on the attacked victim is bold."""
    values: list[float] = [math.nan if pd.isna(line[name]) else float(line[name]) for line in lines]
    own = [_on_own_victim(line) for line in lines]
    candidates = [value for value, is_own in zip(values, own, strict=True) if is_own and not math.isnan(value)]
    least = figure_text(min(candidates)) if len(candidates) > 1 and name in METRICS else None
    texts = ["" if math.isnan(value) else figure_text(value) for value in values]
    return [
        Text(text, style="bold" if is_own and text == least else "") for text, is_own in zip(texts, own, strict=True)
    ]


def _on_own_victim(line: Row) -> bool:
    """Return whether the example was tested on the attacked victim."""
    return bool(line["evaluated_on"] == line["model"])


def _victim(example: Found, digest: str) -> str:
    """Return the short label of a victim with the first digits of its digest."""
    return f"{example.labels.short_victims(example.labels.victim)[digest]} {digest[:6]}"
