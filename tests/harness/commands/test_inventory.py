"""`eadbench list` says what there is, and `eadbench export` writes it for other programs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from eadbench.harness.datasets import load
from eadbench.harness.frames import Results
from eadbench.harness.parquet.adversarial import read_images
from eadbench.harness.parquet.rows import SCHEMA, encoded
from eadbench.harness.results.model_files import load_model, read_model
from tests.command import eadbench, refusal
from tests.sweeps import rows, run, small

FGM = [{"name": "fgm", "norm": "linf", "epsilons": [0.3]}]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished sweep, one that lacks half of its rows and has a failure, and a damaged one."""
    root = tmp_path_factory.mktemp("inventory")
    run(small(attacks=FGM, save_images="successes", images={"count": 2}), root / "whole")
    run(small(attacks=FGM, images={"count": 2}, shard_size=9), root / "more" / "half")
    min((root / "more" / "half" / "examples").iterdir()).unlink()
    (root / "more" / "half" / "failures").mkdir()
    (root / "more" / "half" / "failures" / "a.json").write_text("{}")
    (root / "broken").mkdir()
    (root / "broken" / "spec.yaml").write_text("name: [")
    (root / "broken" / "format.json").write_text('{"format": 3}')
    (root / "artifacts").mkdir()
    (root / "artifacts" / "spec.yaml").write_text("name: a copy, as MLflow has it")
    return root


def test_every_sweep_is_a_line(root: Path) -> None:
    ended = eadbench("list", root)
    lines = [" ".join(line.split()) for line in ended.out.strip().split("\n")]
    assert ended.code == 0 and len(lines) == 4
    assert lines[1].startswith(f"{root}/broken 0 cannot be read 0 20 B ")
    assert ended.err.startswith(f"warning: {root}/broken/spec.yaml: not valid YAML: ")
    assert lines[2].startswith(f"{root}/more/half small 1 50 %, 1 failed 9 ")
    assert (
        lines[3].startswith(f"{root}/whole small 1 complete 18 ") and " kB " in lines[3] and lines[3].endswith(" ago")
    )


def test_a_folder_without_sweeps_is_said(tmp_path: Path) -> None:
    assert refusal(eadbench("list", tmp_path)).endswith("there are no results in it, nor up to three folders below")
    assert refusal(eadbench("list")) == "results: there is no such folder; give one that holds results"


def test_rows_and_images_are_exported(root: Path, tmp_path: Path) -> None:
    folder = root / "whole"
    assert eadbench("export", folder, "--to", tmp_path, "--images").code == 0
    written = pd.read_csv(tmp_path / "rows.csv").sort_values(["cell", "image", "target"], ignore_index=True)
    stored = rows(folder)
    assert list(written.columns) == list(stored.columns)
    for name in ("image", "target", "success", "linf", "margin"):
        pd.testing.assert_series_equal(written[name].astype(stored[name].dtype), stored[name], check_exact=True)
    keys, images = read_images(sorted((folder / "images").iterdir()))
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert files == sorted(f"images/{key.cell}/{key.image}-{key.target}.png" for key in keys.itertuples())
    for key, pixels in zip(keys.itertuples(), images, strict=True):
        levels = np.asarray(Image.open(tmp_path / "images" / key.cell / f"{key.image}-{key.target}.png"))
        np.testing.assert_allclose(levels / 255, pixels[0], atol=0.5 / 255 + 1e-6)
    assert set(json.loads((folder / "cells.json").read_text())) == set(keys["cell"])


@pytest.mark.parametrize("search", [False, True])
def test_the_column_quantised_is_right_of_every_file(search: bool, tmp_path: Path) -> None:
    attacks = [{"name": "ead", "beta": 1e-3, "binary_search_steps": 4, "max_iterations": 30}]
    run(small(attacks=attacks, save_images="successes", quantised=search), tmp_path / "results")
    ended = eadbench("export", tmp_path / "results", "--to", tmp_path, "--images")
    stored = rows(tmp_path / "results").set_index(["cell", "image", "target"])
    [victim] = Results(tmp_path / "results").snapshot.victims
    network = load_model(read_model(tmp_path / "results" / "models" / victim.digest))
    originals = load("digits").test
    files = sorted((tmp_path / "images").rglob("*.png"))
    for file in files:
        read = Image.open(file)
        row = stored.loc[(file.parent.name, *map(int, file.stem.split("-")))]
        image, target = torch.tensor(np.asarray(read))[None, None] / 255, int(file.stem.split("-")[1])
        assert (network(image).argmax(1).item() == target) == row["quantised"]
        assert read.info["eadbench:quantised"] == str(row["quantised"]) and read.info["eadbench:attack"] == "ead"
        if row["quantised"]:
            delta = image - (originals.images([int(file.stem.split("-")[0])]) * 255).round() / 255
            assert delta.abs().sum().item() == pytest.approx(row["quantised_l1"], abs=1e-4)
    succeeding = int(stored["quantised"].sum())
    assert len(files) == stored["success"].sum() > 20 and f"{len(files)}, of which {succeeding} still" in ended.out
    assert succeeding == len(files) if search else 0 < succeeding < len(files)
    assert eadbench("verify", tmp_path / "results").code == 0
    tables = eadbench("report", tmp_path / "results").out
    assert ("after rounding to 8 bits: " in tables) == search
    summary = Results(tmp_path / "results").table("all_targets", quantised=True)
    en = stored[stored["decision_rule"] == "en"]
    assert summary["asr"][0] == pytest.approx(100 * en["quantised"].mean())
    assert summary["l1"][0] == pytest.approx(en["quantised_l1"].mean())


def test_a_sweep_without_images_is_said(root: Path, tmp_path: Path) -> None:
    ended = eadbench("export", root / "more" / "half", "--to", tmp_path, "--images")
    assert ended.code == 2 and "no images are stored there" in ended.err


def test_missing_rows_are_said(root: Path, tmp_path: Path) -> None:
    folder = root / "more" / "half"
    ended = eadbench("export", folder, "--to", tmp_path)
    assert ended.code == 3 and ended.err.startswith(f"warning: {folder}: 9 of 18 rows are missing")


def test_images_are_those_of_the_spec_and_texts_are_clean(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "whole"
    shutil.copytree(root / "whole", copy)
    run(small(attacks=FGM, save_images="successes", images={"count": 1}), copy)
    [part] = (copy / "examples").iterdir()
    rows_of_a_stranger = pq.read_table(part).to_pylist()
    for row in rows_of_a_stranger:
        row["arch"] = "\x1b]0;title\x07"
    part.write_bytes(encoded(pa.Table.from_pylist(rows_of_a_stranger, schema=SCHEMA)))
    assert eadbench("export", copy, "--to", tmp_path / "to", "--images").code == 0
    written = pd.read_csv(tmp_path / "to" / "rows.csv")
    assert set(written["arch"]) == {r"\x1b]0;title\x07"}
    [image] = set(written["image"])
    files = [path.name for path in (tmp_path / "to" / "images").rglob("*.png")]
    assert len(files) == written["success"].sum() and all(name.startswith(f"{image}-") for name in files)


@pytest.mark.parametrize("command", [["export", "--to"], ["list"], ["merge", "--to"]])
def test_a_uri_is_no_folder_here(root: Path, tmp_path: Path, command: list[str]) -> None:
    words = command if command == ["list"] else [command[0], root / "whole", command[1]]
    assert (
        refusal(eadbench(*words, "memory://there/x")) == "memory://there/x: must be a folder on this machine, not a URI"
    )
    assert not list(tmp_path.iterdir())
