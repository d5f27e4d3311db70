"""Specs of strangers, under `--no-code`: they name files that the user would expect, and no address."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from eadbench.harness.errors import UserError
from eadbench.harness.places import FILES, refuse_elsewhere
from eadbench.models.code import NO_CODE
from tests.command import eadbench, refusal
from tests.sweeps import SMALL


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder below a folder of other files, with `--no-code`."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv(NO_CODE, "1")
    monkeypatch.setenv(FILES, str(tmp_path / "allowed"))
    (tmp_path / "allowed").mkdir()
    for folder in (tmp_path, work, tmp_path / "allowed"):
        (folder / "file").touch()
    (work / "inside").symlink_to("file")
    (work / "outside").symlink_to(tmp_path / "file")
    os.mkfifo(work / "pipe")
    return work


@pytest.mark.parametrize("place", ["file", "./file", "inside", "none", "../allowed/file", "../work/file", "."])
def test_files_that_are_allowed(place: str, strange: Path) -> None:
    refuse_elsewhere(place)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("../file", "not below the working folder"),
        ("outside", "not below the working folder"),
        ("/proc/kmsg", "not below the working folder"),
        ("/dev/zero", "not below the working folder"),
        ("~", "not below the working folder"),
        ("pipe", "not a device or a pipe"),
        ("http://h/w.pt", "is a URI"),
        ("file:///etc/passwd", "is a URI"),
        ("simplecache::http://h/w.pt", "is a URI"),
        ("zip::s3://h/w.zip", "is a URI"),
        ("a\0b", "cannot be read"),
    ],
)
def test_files_that_are_not(place: str, reason: str, strange: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=reason):
        refuse_elsewhere(place, "victims[0].weights")
    monkeypatch.setenv(NO_CODE, "")
    refuse_elsewhere(place)


FIELDS = {
    "victims[0].arch": {"victims": [{"arch": "onnx:/proc/kmsg", "training": {"epochs": 1}}]},
    "victims[0].parameters.folder": {
        "victims": [{"arch": "robustbench:X", "parameters": {"folder": "PLACE", "pretrained": True}}]
    },
    "victims[0].weights": {"victims": [{"arch": "digits", "weights": "PLACE"}]},
    "victims[0].class_map": {
        "victims": [{"arch": "digits", "training": {"epochs": 1}, "class_map": "PLACE", "network_classes": 20}]
    },
    "dataset: path": {"dataset": {"name": "tensors", "path": "PLACE"}},
    "dataset: path ": {"dataset": {"name": "hf", "path": "PLACE"}},
    "dataset: root": {"dataset": {"name": "torchvision:SVHN", "root": "PLACE"}},
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("place", ["http://127.0.0.1:9/x", "/proc/kmsg"])
def test_every_field(field: str, place: str) -> None:
    changes = yaml.safe_load(yaml.safe_dump(FIELDS[field]).replace("PLACE", place))
    Path("small.yaml").write_text(yaml.safe_dump(yaml.safe_load(SMALL) | changes))
    refused = eadbench("--no-code", "plan", "small.yaml")
    assert refused.code == 2
    assert re.match(rf"small\.yaml: {re.escape(field.strip())}: '[^']*' is (a URI|not below)", refusal(refused))


def test_the_command_line_allows_a_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    images, labels = np.zeros((20, 8, 8), np.float32), np.arange(20) % 10
    np.savez(elsewhere / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    dataset = {"name": "tensors", "path": str(elsewhere / "a.npz")}
    Path("small.yaml").write_text(yaml.safe_dump(yaml.safe_load(SMALL) | {"dataset": dataset}))
    refused = eadbench("--no-code", "plan", "small.yaml")
    assert refused.code == 2 and f"--allow-files {elsewhere} allows it" in refusal(refused)
    assert eadbench("--no-code", "--allow-files", elsewhere, "plan", "small.yaml").code == 0
    assert refusal(eadbench("--allow-files", elsewhere, "plan", "small.yaml")).startswith("--allow-files: needs")


def test_links_and_patterns_of_a_data_set(strange: Path, tmp_path: Path) -> None:
    from eadbench.harness.datasets.paths import matching

    (strange / "data").mkdir()
    (strange / "data" / "test.parquet").symlink_to(tmp_path / "file")
    for pattern in ("test*.parquet", "../../fil*"):
        with pytest.raises(UserError, match="not below the working folder"):
            matching(strange / "data", pattern)
