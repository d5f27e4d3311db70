"""Widgets whose values stand in the page's address, so that whoever opens it sees the same."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from eadbench.dashboards.lines import FILTERS, filter_options, matching
from eadbench.harness.labels import OWN

NARROW, WIDE = 170, 356
"""Pixels: two narrow widgets, or one wide one, fit side by side on a phone."""
_LONG = frozenset({"victim", "tested"})
"""Filters of long texts."""


def select(heading: str, options: Sequence[str], *, key: str, width: int = NARROW, default: str | None = None) -> str:
    """Return the one of several texts that is chosen, first `default` or the first text.

    A single text is returned without a widget.
    """
    if len(options) == 1:
        return options[0]
    index = options.index(default) if default in options else 0
    return st.selectbox(heading, options, index=index, key=key, bind="query-params", width=width)


def select_several(
    heading: str,
    options: Sequence[str],
    *,
    key: str,
    default: Sequence[str],
    labels: Mapping[str, str] | None = None,
) -> list[str]:
    """Return those of a few texts that are chosen, in their order."""
    label: Callable[[Any], str] = lambda text: (labels or {}).get(text, text)  # noqa: E731
    chosen = st.pills(
        heading, options, selection_mode="multi", default=default, format_func=label, key=key, bind="query-params"
    )
    return [text for text in options if text in chosen]


def search_several(heading: str, options: Sequence[str], *, key: str, default: Sequence[str]) -> list[str]:
    """Return those of many texts that are chosen, in their order, or `default` if none is.

    A single text is returned without a widget.
    """
    if len(options) == 1:
        return [*options]
    chosen = st.multiselect(heading, options, default=default, key=key, bind="query-params", width=WIDE)
    return [text for text in options if text in (chosen or default)]


def toggle(heading: str, *, key: str, value: bool = False, help: str | None = None) -> bool:
    """Return whether a switch is on."""
    return st.toggle(heading, value=value, key=key, bind="query-params", help=help)


def filters(texts: pd.DataFrame) -> "pd.Series[bool]":
    """Offer a filter for every column in which lines differ; return which lines are chosen.

    On a phone the filters are folded away until `Filters` is switched on; see style.css.
    """
    chosen: dict[str, list[str]] = {}
    with st.container(key="unfold"):
        st.toggle("Filters", key="filters")
    with st.container(horizontal=True, key="folding"):
        for name, values in filter_options(texts).items():
            default = [OWN] if name == "tested" else []
            chosen[name] = st.multiselect(
                FILTERS[name],
                values,
                default=default,
                key=name,
                bind="query-params",
                placeholder="all",
                width=WIDE if name in _LONG else NARROW,
            )
    return matching(texts, chosen)
