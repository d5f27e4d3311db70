"""Choices that stand in the page's address: whoever opens it makes the same ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from eadbench.dashboards.lines import FILTERS, matching, options
from eadbench.harness.labels import OWN

NARROW, WIDE = 170, 356
"""Pixels: two, or one, side by side on a phone."""
_NAMES = frozenset({"victim", "tested"})
"""Filters of long texts."""


def one(heading: str, of: Sequence[str], *, key: str, width: int = NARROW, default: str | None = None) -> str:
    """One of several texts, the first unless another is chosen; where there is one alone, nothing is asked."""
    if len(of) == 1:
        return of[0]
    index = of.index(default) if default in of else 0
    return st.selectbox(heading, of, index=index, key=key, bind="query-params", width=width)


def few(
    heading: str, of: Sequence[str], *, key: str, default: Sequence[str], called: Mapping[str, str] | None = None
) -> list[str]:
    """Any of a few texts, in their order."""
    names: Callable[[Any], str] = lambda text: (called or {}).get(text, text)  # noqa: E731
    chosen = st.pills(
        heading, of, selection_mode="multi", default=default, format_func=names, key=key, bind="query-params"
    )
    return [text for text in of if text in chosen]


def switch(heading: str, *, key: str, value: bool = False, help: str | None = None) -> bool:
    """Yes or no."""
    return st.toggle(heading, value=value, key=key, bind="query-params", help=help)


def filtered(texts: pd.DataFrame) -> "pd.Series[bool]":
    """Filters for all that lines differ in; returns which of them are taken."""
    chosen: dict[str, list[str]] = {}
    with st.container(horizontal=True):
        for name, values in options(texts).items():
            default = [OWN] if name == "tested" else []
            chosen[name] = st.multiselect(
                FILTERS[name],
                values,
                default=default,
                key=name,
                bind="query-params",
                placeholder="all",
                width=WIDE if name in _NAMES else NARROW,
            )
    return matching(texts, chosen)
