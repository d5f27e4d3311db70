"""One table of colours, dashes and marks, for matplotlib and Altair: no two series of a sweep look alike."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from eadbench.harness.labels import series_of
from eadbench.harness.styles import Style, styles, styles_by_victim


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


DEFICIENCIES = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""How linear RGB looks without one kind of cone (Machado, Oliveira & Fernandes 2009, severity 1)."""
XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])


def as_lab(colour: str, deficiency: Any) -> Any:
    """Return a colour as a person with that deficiency sees it, in CIE L*a*b*, where distances are differences seen."""
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(XYZ @ np.clip(np.array(deficiency) @ linear, 0, 1) / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_rules_of_ead_and_cw_have_colours_that_everyone_tells_apart() -> None:
    colours = {
        style.colour for style in drawn(("cw", None, None, "{}"), *((("ead", None, r, "{}")) for r in ("en", "l1")))
    }
    assert len(colours) == 3
    for name, deficiency in DEFICIENCIES.items():
        seen = [as_lab(colour, deficiency) for colour in colours]
        distances = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
        assert min(distances) > 35, name


def test_several_victims_have_dashes_and_attacks_keep_their_colours() -> None:
    lines = lines_of(*PAPER)
    alone = styles(lines)
    names = [f"victim {number}" for number in range(6)]
    found = styles_by_victim(lines, names)
    assert len(set(found.values())) == len(found) == len(names) * len(PAPER)
    cw = [style for style in found.values() if style.colour == drawn(PAPER[0])[0].colour]
    assert {style.dash for style in cw} == {"solid", "dashed", "dash-dotted", "dotted"}
    assert len({style.mark for style in cw}) == 5  # what a legend shows
    assert styles_by_victim(lines, names[:1]) == {(series, names[0]): style for series, style in alone.items()}
