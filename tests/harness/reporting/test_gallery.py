"""Galleries: which images they choose, and where they put them."""

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
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from eadbench.harness.labels import Labels
from eadbench.harness.parquet.adversarial import write_images
from eadbench.harness.reporting.figures import save
from eadbench.harness.reporting.gallery import choose, galleries, gallery
from tests.harness.reporting.sample_summaries import EAD, UNDEFENDED, cell

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

    labels = Labels(lines=rows, victims=[])
    drawn = dict(galleries(rows, [tmp_path / "part.parquet"], originals, ["zero", "one", "two"], labels))
    assert list(drawn) == [
        "gallery-mnist-cw_no_defence-ead_l1_beta_1e-3_kappa_0-cccccc",
        "gallery-mnist-cw_no_defence-ead_l1_beta_1e-3_kappa_10-dddddd",
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
