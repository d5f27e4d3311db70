"""A sweep whose targets a file gives, from the file to the tables."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eadbench.harness import api, frames, spec
from eadbench.harness.errors import UserError
from eadbench.harness.results.folder import Results
from eadbench.harness.results.status import Watched
from eadbench.harness.spec import Spec
from tests.sweeps import rows, run, small

FAST: dict[str, Any] = {"attacks": [{"name": "fgm", "norm": "l2", "epsilons": [1, 4]}]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the victim of the small sweep, and its misclassified images."""
    folder = tmp_path_factory.mktemp("trained")
    run(small(images={"count": 1}, **FAST), folder)
    return folder


def misclassified(trained: Path) -> int:
    dataset, [victim] = Results(trained).victims()
    evaluation = Results(trained).evaluation(victim.digest, dataset, "test")
    assert evaluation is not None
    return evaluation.wrong[0]


def wanted(trained: Path, path: Path) -> tuple[Spec, list[tuple[int, int]]]:
    """Write a file of three images, one of them misclassified; return a sweep of it, and its pairs."""
    import torch

    from eadbench.harness import datasets

    labels = datasets.load("digits").test.labels
    wrong = misclassified(trained)
    right = [image for image in (3, 5, 8, 11) if image != wrong][:2]
    classes = [[c for c in range(10) if c != labels[image]] for image in right]
    assert isinstance(labels, torch.Tensor)
    pairs = [(right[0], classes[0][-1]), (right[1], classes[1][0]), (right[1], classes[1][3])]
    lines = [*pairs, (wrong, (int(labels[wrong]) + 1) % 10)]
    path.write_text("image,target\n" + "".join(f"{image},{target}\n" for image, target in lines))
    return small(images={}, targets={"file": str(path)}, **FAST), pairs


def test_from_the_file_to_the_tables(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "targets.csv"
    sweep, pairs = wanted(trained, path)
    folder = tmp_path / "results"
    assert run(sweep, folder, models=trained / "models").examples == 3
    path.unlink()  # neither the report nor a resumed sweep needs it
    table = rows(folder)
    assert sorted(zip(table["image"], table["target"], strict=True)) == sorted(pairs)
    results = frames.Results(folder)
    [image_lines] = {line["images"] for line in results.summary.lines.to_dict("records")}
    assert image_lines == 2
    assert (results.summary.lines["targets"] == "file targets.csv").all()
    text = api.report(results)
    assert "2 images, targets from targets.csv, up to 2 per image, victim" in text
    assert f"Images: all of {path} that the attacked victim classifies correctly, of the test split." in text
    assert results.summary.missing is None
    progress = Watched(Results(folder)).progress()
    assert progress is not None and progress.complete and (progress.rows, progress.shards) == (3, 1)
    page = Path(api.report(results, "html")).read_text(encoding="utf-8")
    assert "Complete: all 3 rows of 1 cells are there." in page
    assert run(spec.load(folder / "spec.yaml"), folder).nothing
    (next((folder / "examples").glob("*.parquet"))).unlink()
    assert "3 of 3 rows are missing" in str(frames.Results(folder).summary.missing)
    assert run(spec.load(folder / "spec.yaml"), folder).examples == 3


def test_each_case_is_over_the_targets_of_its_image(trained: Path, tmp_path: Path) -> None:
    sweep, pairs = wanted(trained, tmp_path / "targets.csv")
    run(sweep, tmp_path / "results", models=trained / "models")
    results = frames.Results(tmp_path / "results")
    of_image = results.rows().groupby("image")["success"]
    lines = results.summary.lines.set_index("case")
    assert lines.at["best", "asr"] == 100 * of_image.any().mean()
    assert lines.at["worst", "asr"] == 100 * of_image.all().mean()
    assert lines.at["best", "all_targets_asr"] == pytest.approx(100 * results.rows()["success"].mean())
    assert lines["targets_per_image"].tolist() == [2, 2, 2] and len(pairs) == 3


def test_count_limits_the_images_of_the_file(trained: Path, tmp_path: Path) -> None:
    sweep, pairs = wanted(trained, tmp_path / "targets.csv")
    content = spec.written(sweep)
    content["images"]["count"] = 1
    run(spec.parse(content), tmp_path / "one", models=trained / "models")
    images = set(rows(tmp_path / "one")["image"])
    assert len(images) == 1 and images <= {image for image, _ in pairs}
    content["images"]["count"] = 3  # one of the three is misclassified
    with pytest.raises(UserError, match=r"images\.count: 3 asked for, but digits classifies only 2 images of the test"):
        run(spec.parse(content), tmp_path / "one", models=trained / "models")


def test_other_rows_are_other_cells(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "targets.csv"
    sweep, pairs = wanted(trained, path)
    folder = tmp_path / "results"
    run(sweep, folder, models=trained / "models")
    path.write_text(yaml.safe_load(path.read_text()).replace(" ", "\n"))  # the same rows
    same = small(images={}, targets={"file": str(path)}, **FAST)
    assert run(same, folder).nothing
    path.write_text("image,target\n" + "{},{}\n".format(*pairs[0]))
    assert run(small(images={}, targets={"file": str(path)}, **FAST), folder).examples == 1
    assert len(rows(folder)) == 1  # those of the other rows answer another spec
