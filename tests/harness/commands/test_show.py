"""`eadbench show`: one example, drawn in the terminal, and its rows."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from eadbench.harness import datasets
from eadbench.harness.analysis import example as one_example
from eadbench.harness.analysis.example import Named, named
from eadbench.harness.parquet.adversarial import read_images
from eadbench.harness.reporting.drawn_example import shown
from eadbench.harness.reporting.pixels import in_terminal, signed
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot
from tests import sweeps
from tests.command import eadbench, refusal

VICTIM = {"arch": "digits", "training": {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}}
STUDY = {
    "victims": [
        {**VICTIM, "evaluated_on": "all"},
        {**VICTIM, "training": {**VICTIM["training"], "seed": 1}, "attacked": False},
    ],
    "attacks": [
        {"name": "ead", "beta": [1e-3, 1e-2], "initial_const": 1, "binary_search_steps": 2, "max_iterations": 30},
        {"name": "fgm", "norm": ["l2", "linf"], "epsilons": [1e-6]},
    ],
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show") / "small"
    sweeps.run(sweeps.small(**STUDY), folder)
    return folder


def snapshot(folder: Path) -> Snapshot:
    return Snapshot(Results(folder))


@pytest.fixture(scope="module")
def example(done: Path) -> Named:
    """One that every cell of EAD broke."""
    rows = sweeps.rows(done)
    ead = rows[(rows["attack"] == "ead") & (rows["model"] == rows["evaluated_on"])]
    image, target = ead.groupby(["image", "target"])["success"].min().idxmax()
    return Named(image=int(image), target=int(target))


def pixels_of(text: Text) -> np.ndarray:
    """What a drawing shows, as bytes (H, W, 3)."""
    console = Console(file=io.StringIO(), color_system="truecolor", force_terminal=True, width=200)
    lines = [list(console.render(line)) for line in text.split("\n")]
    rows = []
    for line in lines:
        cells = [segment.style for segment in line for _ in segment.text.strip("\n")]
        for side in ("color", "bgcolor"):
            rows.append([tuple(getattr(style, side).triplet) for style in cells])
    return np.array(rows, dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "width", "drawn"),
    [
        ((3, 30, 28), 28, (30, 28)),
        ((1, 8, 8), 60, (24, 24)),
        ((1, 8, 8), 9, (8, 8)),
        ((3, 299, 299), 64, (64, 64)),
        ((1, 20, 60), 30, (10, 30)),
        ((1, 1, 300), 10, (2, 10)),
        ((1, 7, 30), 30, (8, 30)),
    ],
)
def test_a_picture_fits(shape: tuple[int, int, int], width: int, drawn: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    text = in_terminal(pixels, width, colour=True)
    found = pixels_of(text)
    assert found.shape == (*drawn, 3)
    if shape[1:] == drawn:
        assert np.array_equal(found, (np.moveaxis(pixels, 0, -1) * 255).round().repeat(3 // shape[0], axis=-1))
    shaded = in_terminal(pixels, width, colour=False).plain.split("\n")
    assert (2 * len(shaded), len(shaded[0])) == drawn


def test_shades_go_with_brightness() -> None:
    ramp = np.linspace(0, 1, 30, dtype=np.float32)[None, None].repeat(2, axis=1)
    line = in_terminal(ramp, 30, colour=False).plain
    assert [*dict.fromkeys(line)] == [*" .:-=+*#%@"]


def test_a_perturbation_has_a_colour_for_each_sign() -> None:
    change = np.array([[[-0.5, 0, 0.25, 0.5]]], dtype=np.float32)
    red, _, blue = signed(change, 0.5)
    assert (red - blue)[0].tolist() == pytest.approx([-178 / 255, 0, 213 / 510, 213 / 255], abs=1e-6)
    assert np.array_equal(signed(change.repeat(3, axis=0), 0.5)[0], [[0, 0.5, 0.75, 1]])
    assert np.array_equal(signed(0 * change, 0), np.full((3, 1, 4), np.float32(244 / 255)))


def test_pictures_are_those_of_the_example(done: Path, example: Named) -> None:
    found = one_example.find(snapshot(done), example)
    data = datasets.load("digits")
    assert np.array_equal(found.original, data.test.images([example.image]).numpy()[0])
    keys, stored = read_images(sorted((done / "images").glob("*.parquet")), cells=[found.row["cell"]])
    [adversarial] = stored[(keys["image"] == example.image) & (keys["target"] == example.target)]
    assert np.array_equal(found.adversarial, adversarial)
    assert found.row["attack"] == "ead" and found.row["beta"] == 1e-3
    assert np.abs(adversarial - found.original).sum() == pytest.approx(found.row["l1"], rel=1e-5)


def test_rows_are_of_every_cell_and_victim(done: Path, example: Named) -> None:
    said = eadbench("show", done, "--example", example)
    assert said.code == 0, said
    rows = sweeps.rows(done)
    mine = rows[(rows["image"] == example.image) & (rows["target"] == example.target)]
    crafted = mine.loc[mine["success"] & (mine["model"] == mine["evaluated_on"]), "cell"]
    assert len(crafted) == 4 and len(mine) == 2 * 6
    lines = [line for line in said.out.splitlines() if line[:6] in {cell[:6] for cell in mine["cell"]}]
    assert len(lines) == 6 + 4
    assert f"digits, image {example.image}: class" in said.out and f"target {example.target}" in said.out
    for head in ("β", "κ", "on", "L1", "L∞"):
        assert head in said.out
    assert said.out.count("✓") == mine["success"].sum()


@pytest.mark.parametrize("width", [160, 80, 60, 40])
def test_a_narrow_terminal_has_fewer_columns_and_no_line_too_long(done: Path, example: Named, width: int) -> None:
    found = one_example.find(snapshot(done), example)
    console = Console(file=io.StringIO(), width=width, color_system="truecolor", force_terminal=True)
    console.print(*shown(found, console), sep="\n\n")
    plain = Text.from_ansi(console.file.getvalue()).plain  # type: ignore[attr-defined]
    assert max(map(len, plain.splitlines())) <= width
    assert "…" not in plain and all(head in plain for head in ("attack", "L1", "L2", "L∞"))
    assert ("gradients" in plain) == (width == 160)


def test_another_cell_is_drawn_by_its_first_digits(done: Path, example: Named) -> None:
    rows = sweeps.rows(done)
    fgm = rows.loc[(rows["attack"] == "fgm") & (rows["norm"] == "l2"), "cell"].iloc[0]
    found = one_example.find(snapshot(done), named(f"{example}:{fgm[:8]}"))
    assert found.row["cell"] == fgm and found.adversarial is None
    assert "FGM-L2" in eadbench("show", done, "--example", f"{example}:{fgm[:8]}").out


def test_without_an_example_it_is_the_first_success(done: Path) -> None:
    found = one_example.find(snapshot(done), one_example.first(Results(done)))
    assert found.row["success"] and found.adversarial is not None
    assert f"image {found.name.image}:" in eadbench("show", done).out


def test_a_data_set_that_is_not_at_hand(done: Path, example: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eadbench.harness.datasets.at_hand", lambda *_, **__: "it is on another machine")
    said = eadbench("show", done, "--example", example)
    assert said.code == 0 and "No original: it is on another machine" in said.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "--example x: must be IMAGE:TARGET or IMAGE:TARGET:CELL, such as 17:3"),
        ("1:2:zz", "--example 1:2:zz: must be IMAGE:TARGET"),
        ("-1:2", "--example -1:2: must be IMAGE:TARGET"),
        ("99999:1", "--example 99999:1: there are no rows of it; the images are "),
    ],
)
def test_what_is_no_example(done: Path, text: str, message: str) -> None:
    ended = eadbench("show", done, f"--example={text}")
    assert ended.code == 2 and refusal(ended).startswith(message)


def test_what_is_no_cell(done: Path, example: Named) -> None:
    ended = eadbench("show", done, "--example", f"{example}:ffffffffffffffffffff")
    assert ended.code == 2 and "none of its cells begins so: " in refusal(ended)


def test_a_sweep_without_rows(tmp_path: Path) -> None:
    Results(tmp_path).begin(sweeps.small())
    ended = eadbench("show", tmp_path)
    assert ended.code == 2 and refusal(ended) == f"{tmp_path}: has no rows yet; run its spec first"


@pytest.mark.parametrize("text", ["3", "3:4", "3:4:0a1b", "3::0a1b"])
def test_a_name_is_read_as_it_is_written(text: str) -> None:
    assert str(named(text)) == text
