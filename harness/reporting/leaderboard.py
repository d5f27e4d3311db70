"""Leaderboards as text: for a terminal of any width, in Markdown, LaTeX and CSV."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis.leaderboard import Board
from eadbench.harness.errors import UserError
from eadbench.harness.labels import norm_label
from eadbench.harness.numbers import NO_VALUE, counted, figure_text, rate_text
from eadbench.harness.reporting.tables import latex
from eadbench.harness.reporting.tables.markdown import escape

__all__ = ["MEANING", "frame", "heads", "notes", "optimality_text", "render", "terminal", "texts"]

MEANING = (
    "LO: local optimality, how near an attack comes to the least distance of each example over all attacks, from 0 to "
    "1; GO: its mean over victims, in brackets its 95 % interval over images. Attacks of one rank cannot be told apart "
    "by chance alone: # is 1 + the number of attacks that are better beyond it. Distances are means over successes; "
    "passes are forward and backward passes of an example."
)
_SETTING = ("label", "attack", "norm", "decision_rule", "beta", "parameters", "precision")


def optimality_text(value: float) -> str:
    """Return an optimality with three decimals; only 1 itself is printed as 1, and 0 as 0."""
    if np.isnan(value):
        return NO_VALUE
    return f"{value:.0f}" if value in (0, 1) else f"{min(value, 0.999):.3f}"


def heads(board: Board) -> list[str]:
    """Return the heads of a board's columns."""
    victims = [f"LO {victim.name}" for victim in board.victims] if len(board.victims) > 1 else []
    return ["#", "attack", "GO", "95 %", *victims, "ASR", norm_label(board.norm), "passes", "s"]


def texts(board: Board) -> list[list[str]]:
    """Return the lines of a board under its heads, best first."""
    found = []
    for line in board.lines.to_dict("records"):
        ends = [optimality_text(line[name]) for name in ("go_lo", "go_hi")]
        local = [optimality_text(line[f"lo_{victim.digest}"]) for victim in board.victims]
        found.append(
            [
                str(line["rank"] or NO_VALUE),
                str(line["label"]),
                optimality_text(line["go"]),
                NO_VALUE if NO_VALUE in ends else f"[{', '.join(ends)}]",
                *(local if len(local) > 1 else []),
                rate_text(line["asr"]),
                figure_text(line["distance"]),
                NO_VALUE if np.isnan(line["passes"]) else f"{line['passes']:,.0f}",
                NO_VALUE if np.isnan(line["seconds"]) else f"{line['seconds']:.2g}",
            ]
        )
    return found


def notes(board: Board) -> list[str]:
    """Return which examples of a board count, and what is missing."""
    sentences = []
    for victim in board.victims:
        examples, images = len(victim.best), len(np.unique(victim.images))
        size = counted(images, "image") + (f", {examples} examples" if examples > images else "")
        unbroken = int(np.isinf(victim.best).sum())
        sentences.append(
            f"{victim.name}: {size}"
            + (f"; {victim.left_out} more that some attack has no row of" if victim.left_out else "")
            + (f"; {unbroken} that no attack breaks" if unbroken else "")
            + "."
        )
    if (board.lines["rank"] == 0).any():
        sentences.append(f"{NO_VALUE}: not run on every victim, or nothing to gain there.")
    return sentences


def terminal(boards: Sequence[Board], *, width: int) -> RenderableType:
    """Render boards for a terminal of `width` columns; where it is narrow, LO stands in a second table."""
    unlimited = Console(width=10_000)
    parts: list[RenderableType] = []
    for board in boards:
        names, lines = heads(board), texts(board)
        whole = [_table(names, lines)]
        if unlimited.measure(whole[0]).maximum > width:
            local = [at for at, name in enumerate(names) if name.startswith("LO ")]
            general = [at for at in range(len(names)) if at not in local]
            tables = [_picked(names, lines, general), _picked(names, lines, [0, 1, *local])]
            whole = tables if local else tables[:1]
        parts += [Text(board.title, style="italic"), *whole]
        parts += [Text(note, style="dim") for note in notes(board)] + [Text()]
    return Group(*parts, Text(MEANING, style="dim"))


def _picked(names: Sequence[str], lines: Sequence[Sequence[str]], columns: Sequence[int]) -> Table:
    return _table([names[at] for at in columns], [[line[at] for at in columns] for line in lines])


def _table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        attack = name == "attack"
        table.add_column(Text(name), justify="left" if attack else "right", no_wrap=not (attack or name[:2] == "LO"))
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def render(boards: Sequence[Board], format: str) -> str:
    """Render boards as ``markdown``, ``csv`` (a line per board and attack, with all intervals) or ``latex``."""
    if format not in _FORMATS:
        raise UserError(f"format: must be one of {', '.join(_FORMATS)}, not {format!r}")
    return _FORMATS[format](boards)


def frame(boards: Sequence[Board]) -> pd.DataFrame:
    """Return a line per board, attack and victim, with all figures and their intervals."""
    parts = []
    for board in boards:
        for victim in board.victims:
            local = {f"lo_{victim.digest}{end}": f"lo{end}" for end in ("", "_lo", "_hi")}
            lines = board.lines.rename(columns=local).assign(
                victim=victim.name,
                dataset=board.dataset,
                split=board.split,
                targeted=board.targeted,
                ranked_by=board.norm,
                kappa=board.kappa,
                model=victim.digest,
            )
            parts.append(lines)
    figures = [name + end for name in ("go", "lo", "asr", "distance") for end in ("", "_lo", "_hi")]
    columns = ["dataset", "split", "targeted", "ranked_by", "kappa", "victim", "rank", *_SETTING, *figures]
    return pd.concat(parts, ignore_index=True)[[*columns, "passes", "seconds", "images", "model"]]


def _csv(boards: Sequence[Board]) -> str:
    return str(frame(boards).to_csv(index=False, lineterminator="\n"))


def _markdown(boards: Sequence[Board]) -> str:
    parts = []
    for board in boards:
        names = heads(board)
        lines = [names, [":--" if name == "attack" else "--:" for name in names], *texts(board)]
        rule = lines.pop(1)
        rows = [[escape(text) for text in line] for line in lines]
        rows.insert(1, rule)
        table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        parts.append(f"**{escape(board.title)}**\n\n{table}\n{escape(' '.join(notes(board)))}\n")
    return "\n".join([*parts, f"{escape(MEANING)}\n"])


def _latex(boards: Sequence[Board]) -> str:
    parts = ["% needs \\usepackage{booktabs}"]
    for board in boards:
        names = [latex.symbols(latex.escape(name)) for name in heads(board)]
        rows = [[_latex_text(text) for text in line] for line in texts(board)]
        parts += [
            r"\begin{table}[htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_latex_text(board.title)}.}}",
            rf"\begin{{tabular}}{{rl{'r' * (len(names) - 2)}}}",
            r"\toprule",
            rf"{' & '.join(names)} \\",
            r"\midrule",
            *(rf"{' & '.join(row)} \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par {_latex_text(note)}" for note in notes(board)),
            r"\end{table}",
        ]
    return "\n".join([*parts, ""])


def _latex_text(text: str) -> str:
    escaped = latex.symbols(latex.escape(text))
    return escaped.replace(NO_VALUE, "N.A.").replace("<", "$<$").replace(">", "$>$")


_FORMATS: Mapping[str, Callable[[Sequence[Board]], str]] = {"markdown": _markdown, "csv": _csv, "latex": _latex}
