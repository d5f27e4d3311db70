"""One table of colours, dashes and marks, for matplotlib and Altair: no two series of a sweep look alike."""

from typing import Any

import altair as alt
import pandas as pd
from matplotlib.lines import Line2D

from eadbench.harness.labels import series_of
from eadbench.harness.styles import Style, styles


def lines_of(*settings: tuple[str, str | None, str | None, str]) -> pd.DataFrame:
    """Lines from (attack, norm, decision rule, parameters)."""
    lines = pd.DataFrame(settings, columns=["attack", "norm", "decision_rule", "parameters"], dtype=object)
    return lines.assign(series=series_of(lines))


def drawn(*settings: tuple[str, str | None, str | None, str]) -> list[Style]:
    """The style of each setting."""
    lines = lines_of(*settings)
    found = styles(lines)
    return [found[series] for series in lines["series"]]


PAPER: list[tuple[str, str | None, str | None, str]] = [
    ("cw", None, None, "{}"),
    *((attack, norm, None, "{}") for attack in ("fgm", "ifgm") for norm in ("l1", "l2", "linf")),
    *((attack, None, rule, "{}") for attack in ("cov", "ead") for rule in ("en", "l1", "l2")),
]


def test_no_two_series_look_alike() -> None:
    """By colour, dash and mark together; those of one attack without colour as well."""
    found = drawn(*PAPER)
    assert len(set(found)) == len(PAPER)
    for attack in ("fgm", "ifgm", "cov", "ead"):
        own = [style for style, setting in zip(found, PAPER, strict=True) if setting[0] == attack]
        assert len({(style.dash, style.mark) for style in own}) == len(own)


def test_many_variants_of_one_attack_and_many_attacks_of_others() -> None:
    variants = [("ead", None, "en", f'{{"max_iterations":{n}}}') for n in range(60)]
    others: list[Any] = [(f"their.module:Attack{n}", None, None, "{}") for n in range(12)]
    found = drawn(*variants, *others)
    assert len(set(found)) == len(found)


def test_an_attack_keeps_its_colour_whatever_stands_beside_it() -> None:
    whole = dict(zip(PAPER, drawn(*PAPER), strict=True))
    for setting in PAPER:
        assert drawn(setting) == [whole[setting]]
    colours = {
        attack: {style.colour for setting, style in whole.items() if setting[0] == attack} for attack, *_ in PAPER
    }
    assert {attack: len(of_attack) for attack, of_attack in colours.items()} == {
        **dict.fromkeys(("cw", "fgm", "ifgm", "cov"), 1),
        "ead": 2,  # the L1 rule has a colour of its own, as in the paper's figures
    }


def test_matplotlib_and_altair_draw_the_same_styles() -> None:
    """Each side takes every style, and tells apart what the other does."""
    found = drawn(*PAPER, *((f"m:A{n}", norm, None, "{}") for n in range(5) for norm in (None, "l0", "linf")))
    plotted = {Line2D([], [], **style.matplotlib).get_color() for style in found}
    assert plotted == {style.colour for style in found}
    ours = {(m["color"], m["linestyle"], m["marker"]) for m in (style.matplotlib for style in found)}
    theirs = {(colour, tuple(dash), mark) for colour, dash, mark in (style.altair for style in found)}
    assert len(ours) == len(theirs) == len(set(found)) == len(found)
    colours, dashes, marks = zip(*(style.altair for style in found), strict=True)
    alt.Scale(domain=list(range(len(found))), range=list(colours)).to_dict()
    alt.Scale(domain=list(range(len(found))), range=[list(dash) for dash in dashes]).to_dict()
    alt.Scale(domain=list(range(len(found))), range=list(marks)).to_dict()
