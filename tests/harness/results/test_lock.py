"""`results.lock`: the same whatever ran the sweep, and not the same after any change; rows computed again agree."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch

from eadbench.harness.execution.recomputing import recompute
from eadbench.harness.parquet.rows import SCHEMA, encoded
from eadbench.harness.results.folder import Results
from eadbench.harness.results.lock import Lock, attested, differences, read_lock, write_lock
from eadbench.harness.results.merkle import root_of, row_text
from eadbench.harness.results.snapshot import Snapshot
from tests.command import eadbench, refusal
from tests.sweeps import run, small

STUDY: dict[str, Any] = {
    "attacks": [
        {"name": "ead", "beta": [1e-3, 1e-2], "binary_search_steps": 4, "max_iterations": 30},
        {"name": "fgm", "norm": "linf", "epsilons": [0.3, 1]},
    ],
    "victims": [
        {"name": "first", "arch": "digits", "training": {"epochs": 4, "batch_size": 32, "learning_rate": 3e-3}},
        {
            "name": "second",
            "arch": "digits",
            "training": {"epochs": 3, "batch_size": 32, "learning_rate": 3e-3, "seed": 1},
            "attacked": False,
        },
    ],
    "images": {"count": 2},
}
STUDY["victims"][0]["evaluated_on"] = ["second"]


def sha(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


class TestTree:
    def test_the_root_of_three_leaves_is_that_of_rfc_6962(self) -> None:
        a, b, c = (sha(b"\x00" + leaf) for leaf in (b"a", b"b", b"c"))
        assert root_of("abc") == sha(b"\x01" + sha(b"\x01" + a + b) + c).hex()
        assert root_of([]) == sha(b"").hex() and root_of("a") == a.hex()

    def test_a_column_that_is_null_changes_nothing(self) -> None:
        assert row_text({"l1": 0.5, "image": 3, "new": None}) == '{"image":3,"l1":0.5}'


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lock") / "small"
    run(small(**STUDY), folder)
    write_lock(Results(folder), attested(Snapshot(Results(folder))))
    return folder


@pytest.fixture
def ours(done: Path, tmp_path: Path) -> Path:
    shutil.copytree(done, tmp_path / "small")
    return tmp_path / "small"


def lock_of(folder: Path) -> Lock:
    return attested(Snapshot(Results(folder))).lock


def own_parts(folder: Path) -> list[Path]:
    return sorted(part for part in (folder / "examples").glob("*.parquet") if "-" not in part.stem)


def change(part: Path, column: str, value: Any) -> str:
    """Change the first success of a part, with a checksum that fits. Return its cell."""
    table = pq.read_table(part, partitioning=None)
    rows = table.to_pylist()
    row = next(row for row in rows if row["success"])
    row[column] = value
    part.write_bytes(encoded(pa.Table.from_pylist(rows, schema=SCHEMA)))
    cell: str = row["cell"]
    return cell


class TestLock:
    def test_it_does_not_depend_on_files_workers_and_the_shards_that_rows_name(self, ours: Path) -> None:
        lock, results = lock_of(ours), Results(ours)
        for number, part in enumerate(own_parts(ours)):
            table = pq.read_table(part, partitioning=None)
            column = pa.array([f"{number:016x}"] * len(table))
            table = table.set_column(table.schema.get_field_index("shard"), SCHEMA.field("shard"), column)
            for half, rows in enumerate((table.slice(9), table.slice(0, 9))):
                (ours / "examples" / f"{2 * number + half:016x}.parquet").write_bytes(encoded(rows))
            part.unlink()
        spec = results.spec()
        results.begin(replace(spec, resources=spec.resources.model_copy(update={"workers": 3})))
        assert lock_of(ours) == lock and lock.rows == 2 * 5 * 18

    def test_a_lock_is_read_as_it_was_written(self, done: Path) -> None:
        lock = read_lock(done / "results.lock")
        assert lock == lock_of(done) and differences(Results(done), lock, attested(Snapshot(Results(done)))) == []
        assert len((done / "results.lock").read_text()) < 1000

    def test_a_changed_row_is_found_though_its_checksum_fits(self, ours: Path) -> None:
        cell = change(own_parts(ours)[0], "l1", 0.25)
        ended = eadbench("verify", ours)
        assert ended.code == 4 and ended.out == "Every file is as it was written.\n"
        assert ended.err.endswith(f"in the lock; other rows; they differ in cell {cell}\n")

    def test_a_missing_part_is_found(self, ours: Path) -> None:
        own_parts(ours)[1].unlink()
        ended = eadbench("verify", ours)
        assert ended.code == 4 and " rows, and 180 in the lock" in ended.err

    def test_a_swapped_victim_is_found_though_its_record_fits(self, ours: Path) -> None:
        folder = ours / "models" / Snapshot(Results(ours)).victims[0].digest
        weights = safetensors.torch.load_file(folder / "weights.safetensors")
        safetensors.torch.save_file(
            {name: 0.9 * each for name, each in weights.items()}, folder / "weights.safetensors"
        )
        recipe = json.loads((folder / "recipe.json").read_text())
        recipe["sha256"] = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
        (folder / "recipe.json").write_text(json.dumps(recipe))
        ended = eadbench("verify", ours, "--rows", 40)
        assert ended.code == 4 and f"{folder.name}: is another network than the one behind" in ended.err
        found = differences(Results(ours), read_lock(ours / "results.lock"), attested(Snapshot(Results(ours))))
        assert any(f"victim {folder.name}: its weights are {recipe['sha256']}, and " in text for text in found)

    def test_a_published_lock_outlives_the_folders_own(self, ours: Path, done: Path) -> None:
        change(own_parts(ours)[0], "l2", 9.0)
        write_lock(Results(ours), attested(Snapshot(Results(ours))))
        assert eadbench("verify", ours).code == 0
        assert eadbench("verify", ours, "--lock", done / "results.lock").code == 4

    def test_a_lock_of_another_version_is_refused(self, ours: Path) -> None:
        lock = json.loads((ours / "results.lock").read_text()) | {"lock": 2}
        (ours / "results.lock").write_text(json.dumps(lock))
        assert "a lock of version 2 for results of format 3, not 1 and 3" in refusal_after(eadbench, ours)

    def test_a_damaged_lock_is_named(self, ours: Path) -> None:
        (ours / "results.lock").write_text("{}")
        assert "results.lock: not as a sweep wrote it" in eadbench("verify", ours).err


def refusal_after(command: Callable[..., Any], folder: Path) -> str:
    ended = command("verify", folder)
    assert ended.code == 2
    return refusal(ended)


class TestRecomputing:
    def test_every_row_of_the_same_machine_is_equal_bit_for_bit_or_to_rounding(self, done: Path) -> None:
        again = recompute(Snapshot(Results(done)), 1000)
        assert again.sampled == again.total == 180 and not again.others and again.equal > 90

    def test_the_row_that_differs_is_named(self, ours: Path) -> None:
        cell = change(own_parts(ours)[0], "linf", 0.01)
        [named] = recompute(Snapshot(Results(ours)), 1000).others
        assert re.fullmatch(rf"image \d+, target \d, in cell {cell}", named)
