"""Figures: which are drawn, that they show the summary's numbers, and that galleries hold the right images."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from eadbench.harness.analysis.aggregate import summarise
from eadbench.harness.parquet.adversarial import write_images
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.figures import draw, save, slug
from eadbench.harness.reporting.gallery import choose, galleries, gallery

UNDEFENDED = {"model": "a" * 16, "defense": "none", "temperature": None}
EAD = [{"attack": "ead", "norm": None, "decision_rule": rule} for rule in ("en", "l1")]
CW = {"attack": "cw", "norm": None, "decision_rule": "l2"}
FGM = [{"attack": "fgm", "norm": norm, "decision_rule": None, "beta": None, "kappa": 0.0} for norm in ("l1", "linf")]


def distilled(temperature: float) -> dict[str, Any]:
    return {"model": f"{int(temperature):016d}", "defense": "distillation", "temperature": temperature}


def cell(*settings: Mapping[str, Any], images: int = 5, **more: Any) -> list[dict[str, Any]]:
    """The rows of a cell: two targets of each image, distances and successes drawn from its name."""
    shared = {"dataset": "mnist", "split": "test", "arch": "cw", "trained_on": "x", "beta": None, "kappa": 0.0}
    for setting in (*settings, more):
        shared |= setting
    shared["cell"] = "/".join(str(shared[name]) for name in sorted(shared))
    shared.setdefault("evaluated_on", shared["model"])
    generator = np.random.default_rng(sum(map(ord, shared["cell"])))
    rows = []
    for image, target in product(range(images), (1, 2)):
        l1, l2, linf = generator.uniform(1, 5, size=3).tolist()
        figures = {"success": bool(generator.random() < 0.8), "l1": l1, "l2": l2, "linf": linf}
        rows.append(shared | {"image": image, "label": 0, "target": target} | figures)
    return rows


def summary(*cells: list[dict[str, Any]], resamples: int = 20) -> pd.DataFrame:
    rows = pd.DataFrame([row for one in cells for row in one])
    return summarise(rows.astype({"beta": "float64", "temperature": "float64"}), seed=0, resamples=resamples)


def victim(model: str, defense: str = "none", temperature: float | None = None) -> Victim:
    return Victim(
        digest=model,
        arch="cw",
        defense=defense,
        temperature=temperature,
        trained_on="x",
        accuracy=None,
        images=[],
        labels=[],
    )


def over_beta(*betas: float, **more: Any) -> list[list[dict[str, Any]]]:
    return [cell(UNDEFENDED, rule, {"beta": beta}, **more) for rule, beta in product(EAD, betas)]


def over_kappa(*kappas: float, **more: Any) -> list[list[dict[str, Any]]]:
    attacks = [CW, *(rule | {"beta": 1e-3} for rule in EAD)]
    return [cell(UNDEFENDED, attack, {"kappa": kappa}, **more) for attack, kappa in product(attacks, kappas)]


def over_temperature(*temperatures: float, **more: Any) -> list[list[dict[str, Any]]]:
    attacks = [CW, *FGM, *(rule | {"beta": 1e-3} for rule in EAD)]
    return [cell(distilled(t), attack, **more) for t, attack in product(temperatures, attacks)]


TESTED = [{"evaluated_on": distilled(100)["model"]}, {"evaluated_on": "b" * 16}]
KINDS = ("asr", "distortion")


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
            ["over_temperature-mnist-cw", "over_temperature-mnist-mlp"],
        ),
        (
            over_kappa(0.0, 10.0) + over_kappa(0.0, 10.0, model="b" * 16),
            [f"over_kappa-mnist-{'a' * 16}", f"over_kappa-mnist-{'b' * 16}"],
        ),
        (
            over_kappa(0.0, 10.0) + over_kappa(0.0, 10.0, model="b" * 16, defense="adversarial_training: EAD-L1 + C&W"),
            ["over_kappa-mnist-no_defence", "over_kappa-mnist-adversarial_training_ead-l1_c_w"],
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
    assert names == ["asr_over_kappa-mnist-no_defence", "asr_over_kappa-mnist-distillation_t_10"]


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
            rule = f" ({line['decision_rule']})" if line["decision_rule"] else ""
            x, y = found.setdefault(line["attack"] + rule, ([], []))
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


@pytest.mark.parametrize("resamples", [0, 20])
def test_a_setting_without_a_success_leaves_a_gap(resamples: int, tmp_path: Path) -> None:
    failed = [row | {"success": False} for row in cell(UNDEFENDED, CW, kappa=10.0)]
    cells = [cell(UNDEFENDED, CW), failed, cell(UNDEFENDED, CW, kappa=20.0)]
    drawn = draw(summary(*cells, resamples=resamples), [])
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
    for line in draw(lines, [])["asr_over_temperature-mnist"].axes[0].get_lines():
        assert list(map(float, line.get_xdata())) == [1, 10, 10]
        assert line.get_linestyle() == "None"


def test_transfer_has_a_panel_for_every_victim_tested_on() -> None:
    here = over_kappa(0.0, 10.0)
    there = [over_kappa(0.0, 10.0, **onto) + [cell(UNDEFENDED, one, onto) for one in FGM] for onto in TESTED]
    lines = summary(*here, *there[0], *there[1])
    victims = [victim("b" * 16, "pgd_training: linf 0.3"), victim("a" * 16), victim(TESTED[0]["evaluated_on"])]
    drawn = draw(lines, victims)
    assert set(drawn) == {"asr_over_kappa-mnist", "distortion_over_kappa-mnist", "transfer_asr_over_kappa-mnist"}
    panels = drawn["transfer_asr_over_kappa-mnist"].axes
    assert [panel.get_title(loc="left") for panel in panels] == [
        "tested on pgd training: linf 0.3",
        "tested on no defence",
    ]
    for panel, onto in zip(panels, reversed(TESTED), strict=True):
        shown = curves(panel)
        assert set(shown) == {"C&W", "EAD (EN)", "EAD (L1)", "FGM-L1", "FGM-Linf"}
        for label, points in average(lines[lines["evaluated_on"] == onto["evaluated_on"]], "kappa", "asr").items():
            np.testing.assert_array_equal(shown[label], points)


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


GREY, COLOUR = (1, 4, 4), (3, 4, 6)


def picture(number: int, shape: tuple[int, ...] = GREY) -> Any:
    return np.random.default_rng(number).random(shape, dtype=np.float32)


def tiles(figure: Figure) -> dict[tuple[int, int], Any]:
    """The pixels drawn, by row and column of the middles of where they stand."""
    images: Sequence[AxesImage] = figure.axes[0].images
    middles = [
        ((i.get_extent()[0] + i.get_extent()[1]) / 2, (i.get_extent()[2] + i.get_extent()[3]) / 2) for i in images
    ]
    xs, ys = (sorted({round(middle[i], 3) for middle in middles}) for i in (0, 1))
    return {
        (ys.index(round(y, 3)), xs.index(round(x, 3))): np.asarray(image.get_array())
        for image, (x, y) in zip(images, middles, strict=True)
    }


def crosses(figure: Figure) -> int:
    return len(figure.axes[0].get_lines()) // 2


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_a_grid_has_originals_on_its_diagonal_and_crosses_for_failures(shape: tuple[int, ...]) -> None:
    originals = {30: picture(0, shape), 10: picture(1, shape), 20: picture(2, shape)}
    labels = {30: 0, 10: 1, 20: 2}
    found = {
        (image, t): picture(10 * image + t, shape) for image, t in product(originals, range(3)) if t != labels[image]
    }
    figure = gallery(originals, labels, found | {(10, 2): None}, ["cat", "dog", "ship"], "some title")
    shown = tiles(figure)
    assert set(shown) == set(product(range(3), range(3))) - {(1, 2)}
    for (row, column), pixels in shown.items():
        image = list(originals)[row]
        wanted = originals[image] if row == column else found[image, column]
        np.testing.assert_array_equal(pixels, wanted[0] if shape is GREY else wanted.transpose(1, 2, 0))
    assert crosses(figure) == 1
    assert len(figure.axes[0].patches) == 3 + 1  # the originals' frames, and what the cross stands on
    assert {"some title", "target class", "original class", "cat", "dog", "ship"} == set(texts(figure))


@pytest.mark.parametrize(
    ("names", "targets"),
    [
        (["cat", "dog", "ship", "frog"], {3: [1], 5: [0, 2]}),
        ([f"class {i}" for i in range(12)], {3: list(range(1, 9)), 5: [0, *range(2, 11)]}),
        (["cat", "dog"], {3: [None], 5: [None]}),
    ],
)
def test_other_targets_have_a_row_for_each_image(names: list[str], targets: dict[int, list[int | None]]) -> None:
    originals, labels = {image: picture(image) for image in targets}, {3: 0, 5: 1}
    found = {(image, t): picture(100 * image + (t or 0)) for image in targets for t in reversed(targets[image])}
    figure = gallery(originals, labels, found, names, "")
    shown = tiles(figure)
    assert len(shown) == len(originals) + len(found)
    for row, image in enumerate(targets):
        np.testing.assert_array_equal(shown[row, 0], originals[image][0])
        for column, target in enumerate(targets[image], start=1):
            np.testing.assert_array_equal(shown[row, column], found[image, target][0])
            assert ("untargeted" if target is None else f"→ {names[target]}") in texts(figure)
    assert crosses(figure) == 0


def test_no_more_than_ten_targets_are_shown() -> None:
    names = [f"class {i}" for i in range(40)]
    found = {(7, target): picture(target) for target in range(1, 30)}
    assert len(tiles(gallery({7: picture(0)}, {7: 0}, found, names, ""))) == 1 + 10


def rows_of(successes: Mapping[int, tuple[int, Sequence[bool]]], **more: Any) -> pd.DataFrame:
    """Rows from image to (label, success by incorrect class)."""
    shared = cell(UNDEFENDED, EAD[1], beta=1e-3)[0] | {"cell": "c" * 16} | more
    return pd.DataFrame(
        [
            shared | {"image": image, "label": label, "target": target, "success": success}
            for image, (label, outcomes) in successes.items()
            for target, success in zip((t for t in range(3) if t != label), outcomes, strict=True)
        ]
    ).astype({"target": "Int64"})


def test_the_first_of_the_most_successful_images_of_each_class_is_chosen() -> None:
    successes = {
        9: (2, [True, True]),
        8: (0, [True, True]),
        4: (0, [True, True]),
        2: (0, [True, False]),
        7: (1, [False, False]),
        6: (1, [False, False]),
    }
    assert choose(rows_of(successes)) == [4, 6, 9]


def test_ten_classes_at_most_are_chosen() -> None:
    rows = pd.DataFrame([{"label": i, "image": 100 - i, "success": i not in (0, 3)} for i in range(12)])
    assert choose(rows) == [100 - i for i in range(12) if i not in (0, 3)]


def test_every_cell_has_a_gallery_of_its_stored_images(tmp_path: Path) -> None:
    successes = {5: (0, [True, False]), 6: (1, [True, True]), 7: (2, [True, True])}
    two = {"cell": "d" * 16, "kappa": 10.0}
    elsewhere = rows_of(successes, evaluated_on="b" * 16)
    rows = pd.concat([rows_of(successes), elsewhere, rows_of(successes, **two)], ignore_index=True)
    stored = rows[rows["success"] & (rows["evaluated_on"] == rows["model"])]
    keys = list(zip(stored["cell"], stored["image"].tolist(), stored["target"].tolist(), strict=True))
    pixels = np.stack([picture(i) for i in range(len(keys))])
    write_images(tmp_path / "part.parquet", keys, pixels)

    def originals(images: Sequence[int]) -> Any:
        return np.stack([picture(1000 + image) for image in images])

    drawn = dict(galleries(rows, [tmp_path / "part.parquet"], originals, ["zero", "one", "two"]))
    assert list(drawn) == [
        "gallery-mnist-cw-no_defence-ead_l1-beta_1e-3-kappa_0-cccccc",
        "gallery-mnist-cw-no_defence-ead_l1-beta_1e-3-kappa_10-dddddd",
    ]
    for figure, name, kappa in zip(drawn.values(), ("c", "d"), (0, 10), strict=True):
        shown = tiles(figure)
        assert f"MNIST, cw, no defence, EAD (L1), β = 1e-3, κ = {kappa}" in texts(figure)
        assert crosses(figure) == 1
        for row, image in enumerate(successes):
            np.testing.assert_array_equal(shown[row, row], picture(1000 + image)[0])
        for i, (of_cell, image, target) in enumerate(keys):
            if of_cell == name * 16:
                np.testing.assert_array_equal(shown[list(successes).index(image), target], picture(i)[0])


def test_galleries_keep_their_pixels_in_svg_and_are_the_same_bytes(tmp_path: Path) -> None:
    found = {(0, 1): picture(1), (1, 0): None}
    figures = {"pair": gallery({0: picture(2), 1: picture(3)}, {0: 0, 1: 1}, found, ["a", "b"], "title")}
    first, second = (save(figures, tmp_path / folder) for folder in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    embedded = re.findall(r"data:image/png;base64,\s*([^\"]+)", first[0].read_text())
    assert [Image.open(io.BytesIO(base64.b64decode(one))).size for one in embedded] == [(4, 4)] * 3


def test_long_titles_are_broken_into_lines_above_the_images() -> None:
    title = " ".join(["some words"] * 20)
    short, long = (gallery({0: picture(0)}, {0: 0}, {(0, None): picture(1)}, ["a", "b"], t) for t in ("short", title))
    assert any(text.replace("\n", " ") == title and "\n" in text for text in texts(long))
    assert long.get_figheight() > short.get_figheight()
