"""The tables of the benchmark at a budget of passes, from rows as it writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.optimality import KEY, rows
from benchmarks.optimality_table import markdown
from eadbench.harness.analysis.optimality import envelope, local_optimality

DISTANCES = {
    "ALMA": [1.0, 2.2, 4.0, 2.0, 3.0, 5.0],
    "adv-lib ALMA": [1.1, 2.0, 4.4, 2.0, 3.3, 5.0],
    "adv-lib FMN": [2.0, np.inf, 6.0, 4.0, 5.0, 7.0],
}


def _rows(**changes: Any) -> list[dict[str, Any]]:
    return [
        dict(zip(KEY, (victim, "l1", 500, False, attack, image), strict=True))
        | {"l1": distance, "forwards": 250, "backwards": 249, "seconds": 0.5, "error": "", "torch": "2.15"}
        | changes
        for victim in ("A", "B")
        for attack, each in DISTANCES.items()
        for image, distance in enumerate(each)
    ]


def _lines(page: str, caption: str) -> list[list[str]]:
    """Return the cells of the lines below a caption."""
    block = page.partition(caption)[2].strip().partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]


def test_the_page_ranks_attacks_and_compares_counterparts() -> None:
    page = markdown(_rows())
    assert "## L1, 500 passes, untargeted" in page
    assert "Images: 6 on A, 6 on B." in page
    distances = np.array([*DISTANCES.values()])
    scores = local_optimality(distances, envelope(distances))
    lines = _lines(page, "against the least distance of all of them:")
    assert [line[1] for line in lines] == ["ALMA", "adv-lib ALMA", "adv-lib FMN"]
    assert [line[2].partition(" ")[0] for line in lines] == [f"{score:.3f}" for score in scores]
    assert [line[5] for line in lines] == ["100.0", "100.0", "83.3"]
    assert {line[7] for line in lines} == {"499"}
    [alone] = _lines(page, "against the least distance of these:")
    assert alone == ["ALMA", f"{scores[0]:.3f}", f"adv-lib ALMA {scores[1]:.3f}", f"{scores[0] - scores[1]:+.3f}"]
    change = 100 * (np.mean(DISTANCES["ALMA"]) / np.mean(DISTANCES["adv-lib ALMA"]) - 1)
    assert _lines(page, "beside adv-lib's:")[0][2:5] == ["100.0", "100.0", f"{change:+.2f} %"]


def test_only_images_of_every_attack_count_and_errors_are_told() -> None:
    whole = _rows()
    page = markdown(
        [row for row in whole if not (row["attack"] == "ALMA" and row["image"] > 2 and row["victim"] == "B")]
    )
    assert "Images: 6 on A, 3 on B." in page
    page = markdown([row | ({"error": "ValueError: no"} if row["attack"] == "ALMA" else {}) for row in whole])
    assert "ALMA raised an error on 12." in page


@pytest.mark.parametrize("cut", [1, 40])
def test_a_line_that_a_kill_cut_short_does_not_count(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "rows.jsonl"
    text = "".join(json.dumps(row) + "\n" for row in _rows())
    path.write_text(text[:-cut])
    assert len(rows([path])) == len(_rows()) - 1
    assert rows([tmp_path / "missing.jsonl"]) == []
