"""The command that shows one example: show."""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis import example as one_example
from eadbench.harness.analysis.aggregate import METRICS, attack_name, rule_name
from eadbench.harness.analysis.example import Found, Row
from eadbench.harness.commands.options import Folder, out
from eadbench.harness.labels import defense_text, figure_text, parameter_text
from eadbench.harness.reporting.pixels import Floats, in_terminal, signed
from eadbench.harness.results.folder import Results

_NARROWEST, _WIDEST = 16, 64
"""Characters of a picture."""
_GAP = 2
_FIGURES = {"l0": "L0", "l1": "L1", "l2": "L2", "linf": "L∞", "margin": "margin", "const": "c", "epsilon": "ε"}
_LEFT = ("cell", "attack", "on")
_ALWAYS = ("cell", "attack", "")
_SPARE = ("gradients", "c", "ε", "margin", "L0", "cell", "on", "κ", "β")
"""Columns that a narrow terminal goes without, the first of them first."""
_UNLIMITED = 1000


def show(
    folder: Folder,
    example: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE:TARGET[:CELL]",
            help="An image and its target class, both by index, and the cell that made the adversarial image, by its "
            "first digits; unless given, the first success.",
        ),
    ] = None,
) -> None:
    """Draw one example, and say what every attack of the sweep made of it."""
    results = Results(folder)
    found = one_example.find(results, one_example.named(example) if example else one_example.first(results))
    out.print(*shown(found, out), sep="\n\n")


def shown(found: Found, console: Console) -> Iterator[RenderableType]:
    """The pictures, and then a table for each victim that was attacked."""
    row, target = found.row, found.name.target
    aim = "untargeted" if target is None else f"target {found.class_names[target]}"
    said = f": class {found.class_names[int(row['label'])]}, {aim}"
    yield Text.assemble((f"{row['dataset']}, image {found.name.image}", "bold"), said)
    yield Columns(_pictures(found, console), padding=(1, _GAP))
    if found.problem:
        yield Text(f"No original: {found.problem}", style="dim")
    for _, rows in found.rows.groupby("model", sort=False):
        yield _table(found, rows, console)


def _pictures(found: Found, console: Console) -> Iterator[Group]:
    """The original, the adversarial image, and what the attack changed: a third of the terminal each."""
    width = min(_WIDEST, max(_NARROWEST, console.width // 3 - _GAP))
    colour = console.color_system is not None

    def picture(pixels: Floats, *caption: str) -> Group:
        return Group(in_terminal(pixels, width, colour=colour), *(Text(line) for line in caption))

    row, setting = found.row, _setting(found.row)
    if found.original is not None:
        yield picture(found.original, "original", f"class {found.class_names[int(row['label'])]}")
    if found.adversarial is None:
        yield Group(*map(Text, (*setting, "its image is not stored" if row["success"] else "failed")))
        return
    yield picture(found.adversarial, *setting)
    if found.original is not None:
        change = found.adversarial - found.original
        scale = float(np.abs(change).max())
        pixels = signed(change, scale) if colour else np.abs(change) / (scale or 1)
        meaning = "" if not colour else "each channel around grey" if len(change) == 3 else "blue less, orange more"
        yield picture(pixels, f"perturbation, ±{figure_text(scale)}", meaning)


def _setting(row: Row) -> tuple[str, str]:
    """Such as ``EAD (L1)`` and ``β = 1e-3, κ = 0``."""
    values = ((symbol, parameter_text(row[name])) for symbol, name in (("β", "beta"), ("κ", "kappa")))
    return _attack(row), ", ".join(f"{symbol} = {text}" for symbol, text in values if text)


def _attack(row: Row) -> str:
    rule = rule_name(row["attack"], row["decision_rule"])
    return attack_name(row["attack"], row["norm"]) + (f" ({rule})" if rule else "")


def _table(found: Found, rows: pd.DataFrame, console: Console) -> Table:
    """What became of an example of one victim, without what the terminal is too narrow for; bold is the least."""
    victim = next(victim for victim in found.victims if victim.digest == rows["model"].iloc[0])
    title = f"{victim.arch}, {defense_text(victim.defense, victim.temperature)} ({victim.digest[:6]})"
    unlimited = console.options.update(max_width=_UNLIMITED)
    for spared in range(len(_SPARE) + 1):
        table = Table(box=box.SIMPLE_HEAD, title=title, title_style="", title_justify="left", show_edge=False)
        table.pad_edge, table.padding = False, (0, 1, 0, 0)
        texts = _texts(found, rows, _SPARE[:spared])
        for head in texts:
            table.add_column(head, justify="left" if head in _LEFT else "right", no_wrap=True)
        for cells in zip(*texts.values(), strict=True):
            table.add_row(*cells)
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
    return table


def _texts(found: Found, rows: pd.DataFrame, without: Collection[str]) -> dict[str, list[Text]]:
    """The columns that say something, by their heads; of other victims, on those of a success."""
    own = rows["evaluated_on"] == rows["model"]
    broken = rows.loc[own & rows["success"], "cell"]
    rows = rows[own] if "on" in without else rows[own | rows["cell"].isin(broken)]
    lines: list[Row] = rows.to_dict("records")
    texts = {
        "cell": [Text(line["cell"][:6], style="" if line["cell"] == found.row["cell"] else "dim") for line in lines],
        "attack": [Text(_attack(line)) for line in lines],
        "β": [Text(parameter_text(line["beta"])) for line in lines],
        "κ": [Text(parameter_text(line["kappa"])) for line in lines],
        "on": [Text("" if _at_home(line) else _victim(found, line["evaluated_on"])) for line in lines],
        "": [Text("✓", style="green") if line["success"] else Text("✗", style="red") for line in lines],
        **{head: _figures(lines, name) for name, head in _FIGURES.items()},
        "gradients": [Text("" if pd.isna(line["iterations"]) else f"{line['iterations']:,}") for line in lines],
    }
    kept = (head for head, column in texts.items() if head in _ALWAYS or any(map(str, column)))
    return {head: texts[head] for head in kept if head not in without}


def _figures(lines: Sequence[Row], name: str) -> list[Text]:
    """A figure of each line; of distortions, the least on the attacked victim in bold."""
    values: list[float] = [math.nan if pd.isna(line[name]) else float(line[name]) for line in lines]
    at_home = [_at_home(line) for line in lines]
    rivals = [value for value, home in zip(values, at_home, strict=True) if home and not math.isnan(value)]
    least = figure_text(min(rivals)) if len(rivals) > 1 and name in METRICS else None
    texts = ["" if math.isnan(value) else figure_text(value) for value in values]
    return [
        Text(text, style="bold" if home and text == least else "") for text, home in zip(texts, at_home, strict=True)
    ]


def _at_home(line: Row) -> bool:
    """Whether it was tested on the victim that was attacked."""
    return bool(line["evaluated_on"] == line["model"])


def _victim(found: Found, digest: str) -> str:
    victim = next(victim for victim in found.victims if victim.digest == digest)
    return f"{defense_text(victim.defense, victim.temperature)} {digest[:6]}"
