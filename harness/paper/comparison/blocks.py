"""Blocks: a comparison as printed text, one block for each of the paper's tables, for every renderer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from eadbench.harness.analysis.aggregate import CASES, FIGURES
from eadbench.harness.errors import UserError
from eadbench.harness.labels import dataset_label
from eadbench.harness.numbers import NO_VALUE, figure_text, parameter_text, rate_text
from eadbench.harness.paper.comparison.matching import PARTS
from eadbench.harness.paper.published import TITLES
from eadbench.harness.registry import ATTACKS

__all__ = ["Block", "Figure", "blocks", "select_cases"]


class Figure(NamedTuple):
    """A figure as printed: ours, its interval (empty if unknown), the paper's, and their ratio."""

    ours: str
    interval: str
    paper: str
    ratio: str


@dataclass(frozen=True, kw_only=True)
class Block:
    """One of the paper's tables: `labels` has what varies within it, `title` what does not.

    `figures` has a tuple per line, with one entry for each of ``FIGURES``.
    """

    title: str
    heads: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    figures: tuple[tuple[Figure, ...], ...]


def select_cases(compared: pd.DataFrame, cases: Sequence[str]) -> pd.DataFrame:
    """Return the lines of some cases.

    Raises
    ------
    UserError
        A case is unknown, or there is none.
    """
    unknown = [case for case in cases if case not in CASES]
    if unknown or not cases:
        raise UserError(f"cases: must be of {', '.join(CASES)}, not {', '.join(unknown) or 'none of them'}")
    return compared[compared["case"].isin(cases)]


def blocks(compared: pd.DataFrame) -> Iterator[Block]:
    """Yield a block for each of the paper's tables with a line; every table that prints a line has it."""
    printed_in = [set(map(int, numbers.split(", "))) for numbers in compared["table"]]
    for table, title in TITLES.items():
        part = compared[[table in tables for tables in printed_in]]
        if len(part):
            ranked = part.assign(rank=part["attack"].map(ATTACKS.order))
            order = ["rank", "norm", "decision_rule", "beta", "kappa"]
            yield _block(f"Table {table}: {title}", ranked.sort_values(order, kind="stable"))


def _block(title: str, part: pd.DataFrame) -> Block:
    columns = {"attack": part["label"].tolist()}
    title_parts = [title, dataset_label(part["dataset"].iloc[0])]
    for head, texts in _settings(part).items():
        distinct = set(texts) - {""}
        if len(distinct) > 1:
            columns[head] = texts
        else:
            title_parts += [text if head in ("defence", "case") else f"{head} = {text}" for text in distinct]
    least, most = part["images"].min(), part["images"].max()
    title_parts.append(f"{most} image{'' if most == 1 else 's'}" if least == most else f"{least} to {most} images")
    return Block(
        title=", ".join(title_parts),
        heads=tuple(columns),
        labels=tuple(zip(*columns.values(), strict=True)),
        figures=tuple(zip(*(_figures(part, name) for name in FIGURES), strict=True)),
    )


def _settings(part: pd.DataFrame) -> dict[str, list[str]]:
    """Return the texts of every setting by its head; the victim is one if the defence does not identify it."""
    texts = {"defence": part["defence"].tolist()}
    texts |= {head: list(map(parameter_text, part[name])) for head, name in (("β", "beta"), ("κ", "kappa"))}
    cases = [str(case) for case in part["case"]]
    texts["case"] = cases if len(set(cases)) > 1 else [f"{case} case" for case in cases]
    pairs = set(zip(part["model"], part["evaluated_on"], strict=True))
    if len(pairs) > len(set(texts["defence"])):
        texts["victim"] = part["victim"].tolist()
    return texts


def _figures(part: pd.DataFrame, name: str) -> list[Figure]:
    """Format a figure of every line."""
    text = rate_text if name == "asr" else figure_text
    columns = part[[f"{name}_{column}" for column in PARTS]].to_numpy(dtype=np.float64)
    return [
        Figure(
            ours=NO_VALUE if np.isnan(ours) else text(ours),
            interval="" if np.isnan(low) else f"[{text(low)}, {text(high)}]",
            paper=NO_VALUE if np.isnan(paper) else text(paper),
            ratio=NO_VALUE if np.isnan(ratio) else f"{ratio:.2f}",
        )
        for ours, low, high, paper, ratio in columns
    ]
