"""Sweeps of every image, or of chosen ones; and the names of images and classes beside the rows."""

import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from eadbench.harness import api, datasets
from eadbench.harness.errors import NotHere, UserError
from eadbench.harness.reporting.report import images_text
from eadbench.harness.results.folder import Results
from tests.command import eadbench
from tests.sweeps import rows, run, small

FAST: dict[str, Any] = {"targets": "untargeted", "attacks": [{"name": "fgm", "norm": "l2", "epsilons": [4]}]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run(small(images={"count": 1}, **FAST), folder)
    return folder


def wrong(trained: Path) -> set[int]:
    dataset, [victim] = Results(trained).victims()
    evaluation = Results(trained).evaluation(victim.digest, dataset, "test")
    assert evaluation is not None and evaluation.wrong
    return set(evaluation.wrong)


def test_every_image(trained: Path, tmp_path: Path) -> None:
    sweep = small(images={"count": "all"}, **FAST)
    assert run(sweep, tmp_path / "all", models=trained / "models").failures == []
    assert set(rows(tmp_path / "all")["image"]) == set(range(400)) - wrong(trained)
    line = pd.read_parquet(tmp_path / "all" / "originals.parquet").set_index("image").loc[17]
    label = int(datasets.load("digits").test.labels[17])
    assert (line["split"], line["label"], line["class"]) == ("test", label, str(label)) and pd.isna(line["file"])
    assert "all of the test split's seeded order" in images_text(Results(tmp_path / "all").spec())
    assert small(images={"count": 1}, **FAST).images.limit == 1


@pytest.mark.parametrize("as_file", [False, True])
def test_chosen_images(trained: Path, tmp_path: Path, as_file: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """In their order, without those that are misclassified, which a plan and a run count."""
    mistake = min(wrong(trained))
    right = [image for image in (31, 5, 20) if image not in wrong(trained)]
    chosen: list[int] | str = [*right, mistake]
    if as_file:
        (tmp_path / "chosen.txt").write_text("\n".join(["# mine", *map(str, chosen), ""]))
        chosen = str(tmp_path / "chosen.txt")
    sweep = small(images={"indices": chosen}, **FAST)
    folder = tmp_path / "results"
    run(sweep, folder, models=trained / "models")
    (tmp_path / "chosen.txt").unlink(missing_ok=True)  # a resumed sweep does not need it
    assert Results(folder).victims()[1][0].images == right
    assert set(rows(folder)["image"]) == set(right)
    warnings = api.plan(Results(folder).spec(), results=folder).warnings
    assert warnings[-1].endswith(f"1 of the {len(right) + 1} chosen images are misclassified, and not attacked")
    with pytest.raises(UserError, match=r"images.count: 9 asked for, but .* only \d images? of .* in images"):
        api.plan(small(images={"indices": chosen if not as_file else [1], "count": 9}, **FAST), results=folder)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"indices": [400]}, r"images.indices: '400': the image must be in 0\.\.399 of the test split"),
        ({"indices": ["cat/1.png"]}, "images.indices: 'cat/1.png': the data set has no file names; give an index"),
        ({"indices": [1, 1]}, "images.indices: has the image '1' twice; leave out one"),
        ({"indices": "nowhere.txt"}, "nowhere.txt cannot be read: .*; give a text file with an image on a line"),
        ({"indices": []}, "images.indices: must be a list of indices, or of the names of files"),
        ({"count": "some"}, "images.count: must be a number, at least 1, or all; got 'some'"),
        ({}, "images.count: is missing"),
    ],
)
def test_mistakes(images: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        api.plan(small(images=images, **FAST), results=tmp_path)
    assert "\n" not in str(caught.value)


def test_names_of_files_and_classes(tmp_path: Path) -> None:
    """Files choose images, stand beside the rows, and are shown where the data set is not."""
    split = datasets.load("digits").test
    for index in range(60):
        image, label = split[index]
        file = tmp_path / "birds" / "test" / f"kind{label}" / f"{index:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).byte().numpy()).save(file)
    (tmp_path / "birds" / "test" / "kind0" / "lost.gif").write_bytes(b"GIF89a")
    victim = {"arch": "digits", "training": None, "weights": str(_weights(tmp_path))}
    data = {"name": "folder", "path": str(tmp_path / "birds")}
    sweep = small(dataset=data, victims=[victim], images={"indices": ["kind9/001.png", 0]}, **FAST)
    assert any("1 files are left out (1 .gif)" in text for text in api.plan(sweep, results=tmp_path / "x").warnings)
    run(sweep, tmp_path / "results")
    (tmp_path / "birds").rename(tmp_path / "elsewhere")
    table = pd.read_parquet(tmp_path / "results" / "originals.parquet")
    [line] = table[table["file"] == "test/kind9/001.png"].to_dict("records")
    assert line["class"] == "kind9"
    shown = eadbench("show", str(tmp_path / "results"), "--example", str(line["image"]))
    assert "(test/kind9/001.png): class kind9, untargeted" in shown.out


def _weights(tmp_path: Path) -> Path:
    """Return the weights of the small sweep's victim."""
    run(small(images={"count": 1}, **FAST), tmp_path / "trained")
    [file] = (tmp_path / "trained" / "models").glob("*/weights.safetensors")
    return file


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": {"name": "mnist", "root": "none"}}, "mnist is not on this machine in root 'none': `eadbench run`"),
        ({"dataset": {"name": "torchvision:SVHN", "root": "none"}}, "torchvision:SVHN is not on this machine in root"),
        (
            {"victims": [{"arch": "resnet18", "parameters": {"weights": "IMAGENET1K_V1"}, "class_map": [*range(10)]}]},
            "weights 'IMAGENET1K_V1' of 'resnet18' are not in .*: `eadbench run` would fetch it",
        ),
    ],
)
def test_a_plan_downloads_nothing(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a plan must not ask the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        api.plan(small(**changes), results=tmp_path / "results")
    assert "\n" not in str(caught.value) and (("mnist" not in str(caught.value)) or isinstance(caught.value, NotHere))
