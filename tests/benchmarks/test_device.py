"""The measurement for a machine with a GPU, on a CPU and random images."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from benchmarks import device


def test_every_figure_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for split in ("train", "t10k"):
        pixels, labels = generator.integers(256, size=(64, 28, 28)), generator.integers(10, size=64)
        for name, values, head in ("images-idx3", pixels, 16), ("labels-idx1", labels, 8):
            with gzip.open(folder / f"{split}-{name}-ubyte.gz", "wb") as file:
                file.write(bytes(head) + values.astype(np.uint8).tobytes())
    out = tmp_path / "out"
    monkeypatch.setattr(
        "sys.argv",
        ["device.py", "--data", str(tmp_path), "--out", str(out), "--tiny", "--only", "waits", "batches", "profile"],
    )
    device.main()
    measures = [line.split(" | ")[0].strip("| ") for line in (out / "table.md").read_text().splitlines()]
    assert {"machine", "iterations without a wait for the device", "profile of some iterations of EAD"} <= {*measures}
    assert "EAD: examples × iterations a second, batch 9" in measures
    assert "addmm" in (out / "profile.txt").read_text()
