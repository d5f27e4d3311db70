"""Curves: which are drawn, and that they show the summary's numbers."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eadbench.harness.paper.comparison import paper_figures
from eadbench.harness.reporting.figures import draw, save, slug
from tests.harness.paper.sample_comparisons import papers_own
from tests.harness.reporting.sample_summaries import (
    CW,
    EAD,
    FGM,
    KINDS,
    NAMES,
    TESTED,
    TRAINED,
    UNDEFENDED,
    cell,
    distilled,
    over_beta,
    over_kappa,
    over_temperature,
    summary,
    victim,
)


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (over_beta(1e-3), []),
        (over_beta(1e-3, 1e-2), ["over_beta-mnist"]),
        (over_kappa(0.0, 10.0), ["over_kappa-mnist"]),
        (over_temperature(10.0), []),
        (over_temperature(1.0, 10.0, 100.0), ["over_temperature-mnist"]),
        (over_beta(1e-3, 1e-2) + over_beta(1e-3, 1e-2, dataset="cifar10"), ["over_beta-mnist", "over_beta-cifar10"]),
        (
            over_temperature(1.0, 100.0) + over_temperature(1.0, 100.0, arch="mlp"),
            ["over_temperature-mnist-cw_distillation", "over_temperature-mnist-mlp_distillation"],
        ),
        (
            over_kappa(0.0, 10.0) + over_kappa(0.0, 10.0, model="b" * 16),
            ["over_kappa-mnist-cw_no_defence_aaaaaa", "over_kappa-mnist-cw_no_defence_bbbbbb"],
        ),
        (
            over_kappa(0.0, 10.0) + over_kappa(0.0, 10.0, **TRAINED),
            ["over_kappa-mnist-cw_no_defence", "over_kappa-mnist-cw_adversarial_training_ead-l1_c_w"],
        ),
        (
            over_beta(1e-3, 1e-2) + over_beta(1e-3, 1e-2, kappa=10.0),
            [
                *("over_beta-mnist-kappa_0", "over_beta-mnist-kappa_10"),
                *("over_kappa-mnist-beta_1e-3", "over_kappa-mnist-beta_1e-2"),
            ],
        ),
    ],
)
def test_a_figure_is_drawn_for_every_axis_with_two_values(cells: list[list[dict[str, Any]]], names: list[str]) -> None:
    drawn = draw(summary(*cells), [])
    assert sorted(drawn) == sorted(f"{kind}_{name}" for kind, name in product(KINDS, names))


def test_of_many_figures_every_victim_has_its_first() -> None:
    victims = (UNDEFENDED, distilled(10))
    cells = [
        cell(who, EAD[0], {"beta": beta, "kappa": kappa})
        for who, beta, kappa in product(victims, (1e-3, 1e-2), (0.0, 20.0))
    ]
    names = [name for name in draw(summary(*cells), [], at_most=2) if name.startswith("asr_over_kappa")]
    assert names == ["asr_over_kappa-mnist-cw_no_defence", "asr_over_kappa-mnist-cw_distillation_t_10"]


def test_nothing_is_drawn_of_no_lines() -> None:
    assert draw(summary(cell(UNDEFENDED, CW)).head(0), []) == {}


def curves(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """The points of every series, by its name in the legend."""
    return {
        str(line.get_label()): (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for line in axes.get_lines()
    }


def average(lines: pd.DataFrame, axis: str, figure: str) -> dict[str, tuple[list[float], list[float]]]:
    """The same from the summary."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for line in lines.sort_values(axis).to_dict("records"):
        if line["case"] == "average":
            norm, rule = (None if pd.isna(line[name]) else line[name] for name in ("norm", "decision_rule"))
            x, y = found.setdefault(NAMES[line["attack"], norm, rule], ([], []))
            x.append(line[axis])
            y.append(line[figure])
    return found


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("axis", "cells", "series"),
    [
        ("beta", over_beta(1e-2, 1e-3, 1e-5), {"EAD (EN)", "EAD (L1)"}),
        ("beta", over_beta(1e-2, 0.0, 1e-5), {"EAD (EN)", "EAD (L1)"}),
        ("kappa", over_kappa(10.0, 0.0, 40.0), {"C&W", "EAD (EN)", "EAD (L1)"}),
        ("temperature", over_temperature(100.0, 1.0, 10.0), {"C&W", "EAD (EN)", "EAD (L1)", "FGM-L1", "FGM-Linf"}),
    ],
)
def test_curves_show_the_average_case_of_the_summary(
    axis: str, cells: list[list[dict[str, Any]]], series: set[str]
) -> None:
    lines = summary(*cells)
    drawn = draw(lines, [])
    panels = [*drawn[f"asr_over_{axis}-mnist"].axes, *drawn[f"distortion_over_{axis}-mnist"].axes]
    for panel, name in zip(panels, ("asr", "l1", "l2", "linf"), strict=True):
        shown = curves(panel)
        assert set(shown) == series
        for label, points in average(lines, axis, name).items():
            np.testing.assert_array_equal(shown[label], points)
    for figure in drawn.values():
        assert set(legend(figure)) == series


def test_bands_are_the_intervals_of_the_summary() -> None:
    lines = summary(*(cell(UNDEFENDED, EAD[0], {"beta": beta}) for beta in (1e-3, 1e-2)))
    panel = draw(lines, [])["distortion_over_beta-mnist"].axes[0]
    [band] = panel.collections
    corners = {tuple(corner) for path in band.get_paths() for corner in path.vertices.tolist()}
    wanted = lines[lines["case"] == "average"]
    for end in ("l1_lo", "l1_hi"):
        assert set(zip(wanted["beta"], wanted[end], strict=True)) <= corners


def test_a_setting_without_a_success_leaves_a_gap(tmp_path: Path) -> None:
    failed = [row | {"success": False} for row in cell(UNDEFENDED, CW, kappa=10.0)]
    cells = [cell(UNDEFENDED, CW), failed, cell(UNDEFENDED, CW, kappa=20.0)]
    drawn = draw(summary(*cells), [])
    _, l1 = curves(drawn["distortion_over_kappa-mnist"].axes[0])["C&W"]
    assert [bool(np.isnan(value)) for value in l1] == [False, True, False]
    _, asr = curves(drawn["asr_over_kappa-mnist"].axes[0])["C&W"]
    assert asr[1] == 0
    assert len(save(drawn, tmp_path)) == 4


def test_a_setting_in_which_nothing_ever_succeeds_can_be_saved(tmp_path: Path) -> None:
    failed = [[row | {"success": False} for row in one] for one in over_kappa(0.0, 10.0)]
    assert len(save(draw(summary(*failed), []), tmp_path)) == 4


def test_victims_that_share_an_axis_value_are_points_and_no_curve() -> None:
    lines = summary(*over_temperature(1.0, 10.0), *over_temperature(10.0, model="c" * 16))
    drawn = draw(lines, [])["asr_over_temperature-mnist"].axes[0].get_lines()
    assert len(drawn) > 0
    for line in drawn:
        assert list(map(float, line.get_xdata())) == [1, 10, 10]
        assert line.get_linestyle() == "None"


def test_transfer_has_a_panel_for_every_victim_tested_on() -> None:
    here = over_kappa(0.0, 10.0)
    there = [over_kappa(0.0, 10.0, **onto) + [cell(UNDEFENDED, one, onto) for one in FGM] for onto in TESTED]
    lines = summary(*here, *there[0], *there[1])
    trained = victim("b" * 16, "pgd_training", epsilon=0.3)
    victims = [trained, victim("a" * 16), victim(TESTED[0]["evaluated_on"])]
    drawn = draw(lines, victims)
    assert set(drawn) == {"asr_over_kappa-mnist", "distortion_over_kappa-mnist", "transfer_asr_over_kappa-mnist"}
    panels = drawn["transfer_asr_over_kappa-mnist"].axes
    assert [panel.get_title(loc="left") for panel in panels] == [
        "tested on PGD training: epsilon 0.3",
        "tested on no defence",
    ]
    for panel, onto in zip(panels, reversed(TESTED), strict=True):
        shown = curves(panel)
        assert set(shown) == {"C&W", "EAD (EN)", "EAD (L1)", "FGM-L1", "FGM-Linf"}
        for label, points in average(lines[lines["evaluated_on"] == onto["evaluated_on"]], "kappa", "asr").items():
            np.testing.assert_array_equal(shown[label], points)


def test_an_attack_without_beta_is_a_horizontal_line() -> None:
    lines = summary(*over_beta(1e-3, 1e-2), cell(UNDEFENDED, CW), cell(UNDEFENDED, CW, kappa=10.0))
    drawn = draw(lines, [])
    of_cw = lines[(lines["attack"] == "cw") & (lines["kappa"] == 0) & (lines["case"] == "average")].iloc[0]
    panels = [*drawn["asr_over_beta-mnist"].axes, *drawn["distortion_over_beta-mnist"].axes]
    for panel, figure in zip(panels, ("asr", "l1", "l2", "linf"), strict=True):
        assert set(curves(panel)) == {"C&W", "EAD (EN)", "EAD (L1)"}
        assert curves(panel)["C&W"] == ([0, 1], 2 * [of_cw[figure]])  # from the left edge to the right one
    assert "C&W" in legend(drawn["asr_over_beta-mnist"])


def test_the_papers_figures_are_hollow_marks_on_its_own_curves() -> None:
    lines, victims = papers_own()
    compared = 0
    for figure in draw(lines, victims, paper=paper_figures(lines, victims)).values():
        assert [text.get_text() for text in figure.legends[0].get_texts()].count("the paper's") == 1
        for axes in figure.axes:
            marks = [line for line in axes.get_lines() if line.get_markerfacecolor() == "none"]
            curves = [line for line in axes.get_lines() if line not in marks]
            for mark, curve in zip(marks, curves, strict=True):
                (x, y), (our_x, our_y) = np.asarray(mark.get_data()), np.asarray(curve.get_data())
                if len(x) == 1:  # of a horizontal line, at its right end
                    our_x, our_y = our_x[-1:], our_y[-1:]
                order = np.argsort(x)
                np.testing.assert_array_equal((x[order], y[order]), (our_x, our_y))
                assert mark.get_color() == curve.get_color()
                compared += 1
    assert compared > 50


def test_without_a_figure_of_the_paper_there_is_no_hollow_mark() -> None:
    lines = summary(*over_kappa(1.0, 3.0))
    paper = paper_figures(lines, [])
    assert paper.isna().all(axis=None)
    for figure in draw(lines, [], paper=paper).values():
        assert "the paper's" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_temperature_is_on_a_logarithmic_axis() -> None:
    drawn = draw(summary(*over_temperature(1.0, 10.0, 100.0)), [])
    axes = [axes for figure in drawn.values() for axes in figure.axes]
    assert {panel.get_xscale() for panel in axes} == {"log"}
    assert [text.get_text() for text in axes[0].get_xticklabels()] == ["1", "10", "100"]


def test_series_are_told_apart_without_colour() -> None:
    others = [cell(distilled(t), CW | {"attack": name}) for name in ("my:One", "my:Two") for t in (1.0, 10.0)]
    drawn = draw(summary(*over_temperature(1.0, 10.0), *others), [])
    lines = drawn["asr_over_temperature-mnist"].axes[0].get_lines()
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines]
    assert len(set(looks)) == len(looks) == 7
    within = {str(line.get_label()): (line.get_linestyle(), line.get_marker()) for line in lines}
    assert within["EAD (EN)"] != within["EAD (L1)"]
    assert within["FGM-L1"] != within["FGM-Linf"]


def test_distortions_that_span_a_decade_are_on_a_logarithmic_scale() -> None:
    wide = [row | {"l1": row["l1"] * 1000} for row in cell(UNDEFENDED, CW, kappa=10.0)]
    scales = [a.get_yscale() for a in draw(summary(cell(UNDEFENDED, CW), wide), [])["distortion_over_kappa-mnist"].axes]
    assert scales == ["log", "linear", "linear"]


def test_files_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    lines = summary(*over_kappa(0.0, 10.0))
    first, second = (save(draw(lines, []), tmp_path / folder) for folder in ("one", "two"))
    assert [path.name for path in first] == [
        *("asr_over_kappa-mnist.svg", "asr_over_kappa-mnist.png"),
        *("distortion_over_kappa-mnist.svg", "distortion_over_kappa-mnist.png"),
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"<?xml")
    assert b"<dc:date>" not in first[0].read_bytes()
    assert first[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "part"), [("EAD (L1)", "ead_l1"), ("κ = 0.5", "kappa_0.5"), ("a/b: é", "a_b"), ("I-FGM-L1", "i-fgm-l1")]
)
def test_names_of_files_are_plain(text: str, part: str) -> None:
    assert slug(text) == part


def test_names_of_files_stay_within_what_file_systems_take() -> None:
    """A list of hyperparameters may be long, and victims whose names are cut alike are told apart by their digests."""
    long = {"defense": "pgd_training", "defense_parameters": json.dumps({f"parameter_{i}": i + 1 for i in range(60)})}
    longer = long | {"defense_parameters": long["defense_parameters"].replace("60}", "61}"), "model": "b" * 16}
    names = list(draw(summary(*over_kappa(0.0, 10.0, **long), *over_kappa(0.0, 10.0, **longer)), []))
    assert len(names) == 4
    for name in names:
        assert len(f"{name}.svg") < 255
        assert name.endswith(("a" * 16, "b" * 16))


def test_a_series_looks_the_same_in_every_figure() -> None:
    """Also where a figure has no line of the series before it."""
    variants = [EAD[0] | {"parameters": f'{{"max_iterations":{n}}}'} for n in (2, 40)]
    cells = [cell(UNDEFENDED, one, {"beta": beta}) for one in variants for beta in (1e-3, 1e-2)]
    cells += [cell(UNDEFENDED, variants[1], {"beta": 1e-3, "kappa": 10.0})]
    looks: dict[str, set[Any]] = {}
    for figure in draw(summary(*cells), []).values():
        for line in figure.axes[0].get_lines():
            look = (line.get_color(), line.get_linestyle(), line.get_marker())
            looks.setdefault(str(line.get_label()), set()).add(look)
    assert list(looks) == ["EAD (EN), max_iterations 2", "EAD (EN), max_iterations 40"]
    first, second = looks.values()
    assert len(first) == len(second) == 1
    assert first.isdisjoint(second)
