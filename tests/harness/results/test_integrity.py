"""Damaged parts and models are named with a remedy, missing rows are said, and precision never mixes in a cell."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch

from eadbench import models
from eadbench.harness.errors import DamagedResults
from eadbench.harness.parquet.rows import SCHEMA, encoded
from eadbench.harness.results.folder import Results as Folder
from tests.command import Ended, eadbench, refusal
from tests.harness.commands.spec_files import spec_file
from tests.sweeps import rows, run, small

STUDY: dict[str, Any] = {
    "attacks": [{"name": "fgm", "norm": "linf", "epsilons": [0.3, 1]}],
    "victims": [
        {
            "name": "first",
            "arch": "digits",
            "training": {"epochs": 4, "batch_size": 32, "learning_rate": 3e-3},
            "evaluated_on": ["second"],
        },
        {
            "name": "second",
            "arch": "digits",
            "training": {"epochs": 3, "batch_size": 32, "learning_rate": 3e-3, "seed": 1},
            "attacked": False,
        },
    ],
    "shard_size": 9,
}
COMMANDS = {"report": ["report", "small"], "claims": ["claims", "small"]}


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # a store that is away at once


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of three shards, each tested on another victim."""
    folder = tmp_path_factory.mktemp("integrity") / "small"
    run(small(**STUDY), folder)
    return folder


@pytest.fixture
def ours(done: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    shutil.copytree(done, tmp_path / "small")
    return tmp_path / "small"


def again() -> Ended:
    return eadbench("run", spec_file(**STUDY), "--executor", "serial", "--results", "small")


def parts(folder: Path, *, transfers: bool = False) -> list[Path]:
    return sorted(path for path in (folder / "examples").glob("*.parquet") if ("-" in path.stem) == transfers)


def rewrite(part: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a part's rows and keep its note, as another tool would."""
    table = pq.read_table(part, partitioning=None)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), part)


def with_other_l2(table: pa.Table) -> pa.Table:
    column = table.schema.get_field_index("l2")
    return table.set_column(column, SCHEMA.field("l2"), pa.array([1.5] * len(table), pa.float32()))


def stripped(part: Path) -> None:
    table = pq.read_table(part, partitioning=None)
    pq.write_table(table.replace_schema_metadata({}), part)


LOST: dict[str, tuple[Callable[[Path], Any], str]] = {
    "fewer rows": (lambda part: rewrite(part, lambda table: table.slice(2)), "has 7 of its 9 rows"),
    "no note": (stripped, "not the rows of a sweep: it has no note of its rows"),
    "cut off": (lambda part: part.write_bytes(part.read_bytes()[:-50]), "not the rows of a sweep: "),
}


class TestParts:
    @pytest.mark.parametrize("kind", LOST)
    def test_a_part_that_lost_rows_is_named_and_made_anew(self, ours: Path, kind: str) -> None:
        wanted = rows(ours)
        part, (damage, says) = parts(ours)[1], LOST[kind]
        damage(part)
        line = f"{part.relative_to(ours.parent)}: {says}"
        for ended in (again(), *(eadbench(*words) for words in COMMANDS.values())):
            assert ended.code == 4
            assert refusal(ended).startswith(line)
            assert refusal(ended).endswith("`eadbench verify DIR --repair` sets damaged files aside, then run again")
        assert eadbench("verify", "small").code == 4
        repaired = eadbench("verify", "small", "--repair")
        assert repaired.code == 0 and repaired.err.startswith(line)
        assert (ours / "damaged" / "examples" / part.name).is_file() and not part.exists()
        assert again().code == 0
        out = eadbench("verify", "small").out
        assert out.startswith("Every file is as it was written.\n") and out.endswith(", as the lock says.\n")
        pd.testing.assert_frame_equal(rows(ours), wanted, check_exact=True)

    def test_other_values_do_not_have_the_checksum(self, ours: Path) -> None:
        part = parts(ours, transfers=True)[0]
        rewrite(part, with_other_l2)
        ended = eadbench("verify", "small")
        assert ended.code == 4 and ended.err.count("\n") == 1
        assert f"{part.name}: its rows do not have the checksum that was written with them" in ended.err

    def test_images_have_a_checksum(self, ours: Path) -> None:
        [part, *_] = sorted((ours / "images").iterdir())
        table = pq.read_table(part, partitioning=None)
        pq.write_table(table.take([0, *range(len(table) - 1)]), part)
        assert "its rows do not have the checksum" in eadbench("verify", "small").err

    def test_parts_that_contradict_each_other_are_both_named(self, ours: Path) -> None:
        first = parts(ours)[0]
        other = first.with_name("f" * 16 + ".parquet")
        other.write_bytes(encoded(with_other_l2(pq.read_table(first, partitioning=None))))
        shutil.copy(ours / "shards" / f"{first.stem}.json", ours / "shards" / f"{other.stem}.json")
        for words in COMMANDS.values():
            ended = eadbench(*words)
            names = [str(path.relative_to(ours.parent)) for path in (first, other)]
            assert ended.code == 4 and f"{names[0]} and {names[1]}: contradictory rows of image" in refusal(ended)
        assert eadbench("verify", "small", "--repair").code == 0
        assert not first.exists() and not other.exists()
        assert again().code == 0

    def test_equal_rows_twice_are_no_contradiction(self, ours: Path) -> None:
        first = parts(ours)[0]
        shutil.copy(first, first.with_name("f" * 16 + ".parquet"))
        assert eadbench("report", "small").code == 0


class TestMissing:
    @pytest.mark.parametrize("transfers", [False, True])
    def test_missing_rows_are_said(self, ours: Path, transfers: bool) -> None:
        parts(ours, transfers=transfers)[1].unlink()
        line = (
            "9 of 54 rows are missing, in 1 of 2 lines; the command that was to compute them goes on where it stopped"
        )
        for words in COMMANDS.values():
            ended = eadbench(*words)
            assert ended.code == 3 and f"warning: small: {line}" in ended.err
        assert f"Warning: {line}" in eadbench("report", "small", "--format", "markdown").out
        assert eadbench("report", "small", "--format", "html").code == 3
        html = (ours / "report" / "report.html").read_text()
        assert "Unfinished: " in html and "Complete: " not in html
        assert again().code == 0
        assert all(eadbench(*words).code == 0 for words in COMMANDS.values())


class TestMixture:
    def test_is_said(self, ours: Path) -> None:
        for words in COMMANDS.values():
            ended = eadbench(*words)
            assert "different" not in ended.out + ended.err
        again_smaller = small(**STUDY, batch_size=4)
        for part in parts(ours)[:1]:
            part.unlink()
        assert run(again_smaller, ours).shards == 1
        line = "the rows were computed with different batch_size (16, 4); such rows agree to rounding only"
        assert line in eadbench(*COMMANDS["report"]).out
        assert line in eadbench(*COMMANDS["claims"]).err


class TestPrecision:
    def test_another_precision_shares_no_row(self, tmp_path: Path) -> None:
        what = {"attacks": STUDY["attacks"]}
        run(small(**what), tmp_path / "small")
        before = rows(tmp_path / "small")
        done = run(small(**what, precision="bf16"), tmp_path / "small")
        after = rows(tmp_path / "small")
        assert done.shards == 2 and not set(before["cell"]) & set(after["cell"])
        assert (set(before["precision"]), set(after["precision"])) == ({"float32"}, {"bf16"})
        assert len(after) == len(before)

    def test_is_part_of_a_network_that_learns_from_examples(self, tmp_path: Path) -> None:
        defense = {"adversarial_training": {"images": 2, "attacks": [{"name": "fgm", "norm": "l2", "epsilons": [1]}]}}
        training = {"epochs": 2, "batch_size": 32}
        victims = [
            {"arch": "digits", "training": training},
            {"arch": "digits", "training": training, "defense": defense},
        ]
        digests = []
        for precision in ("float32", "bf16"):
            run(small(attacks=STUDY["attacks"], victims=victims, precision=precision), tmp_path / precision)
            digests.append({path.parent.name for path in (tmp_path / precision / "models").glob("*/recipe.json")})
        assert all(len(found) == 2 for found in digests)
        [undefended] = digests[0] & digests[1]
        for precision, found in zip(("float32", "bf16"), digests, strict=True):
            [trained] = found - {undefended}
            recipe = Folder(tmp_path / precision).recipe(trained)
            assert recipe.precision == precision and recipe.defense["name"] == "adversarial_training"


def stored(folder: Path) -> list[Path]:
    return sorted(path.parent for path in (folder / "models").glob("*/recipe.json"))


def other_weights(folder: Path) -> None:
    """Replace weights by others that fit, as of another training."""
    file = folder / "weights.safetensors"
    tensors = safetensors.torch.load(file.read_bytes())
    file.write_bytes(safetensors.torch.save({name: tensor + 0.01 for name, tensor in tensors.items()}))


def other_recipe(folder: Path) -> None:
    content = json.loads((folder / "recipe.json").read_text())
    content["recipe"]["training"]["seed"] = 7
    (folder / "recipe.json").write_text(json.dumps(content))


MODELS: dict[str, tuple[Callable[[Path], None], str]] = {
    "another training's weights": (other_weights, "does not have the SHA-256 that recipe.json says"),
    "another recipe": (other_recipe, "describes the model "),
}


class TestModels:
    @pytest.mark.parametrize("kind", MODELS)
    def test_a_model_of_another_training_is_not_attacked(self, ours: Path, kind: str) -> None:
        wanted, (damage, says) = rows(ours), MODELS[kind]
        for part in parts(ours):
            part.unlink()
        for folder in stored(ours):
            damage(folder)
        ended = again()
        assert ended.code == 4 and says in refusal(ended)
        assert refusal(ended).endswith("; delete its folder and run again") and not parts(ours)
        assert eadbench("verify", "small", "--repair").code == 0 and not stored(ours)
        assert again().code == 0
        pd.testing.assert_frame_equal(rows(ours), wanted, check_exact=True)

    @pytest.mark.parametrize("kind", MODELS)
    def test_nor_taken_from_a_store(self, ours: Path, tmp_path: Path, kind: str) -> None:
        damage, says = MODELS[kind]
        for folder in stored(ours):
            damage(folder)
        words = ["--executor", "serial", "--results", "new", "--models", ours / "models"]
        ended = eadbench("run", spec_file(**STUDY), *words)
        assert ended.code == 4 and says in refusal(ended)
        assert not stored(tmp_path / "new")

    def test_a_record_without_a_checksum_gains_one(self, ours: Path, tmp_path: Path) -> None:
        """Those of earlier versions have none."""
        folder = stored(ours)[0]
        wanted = (folder / "recipe.json").read_bytes()
        content = json.loads(wanted)
        del content["sha256"]
        (folder / "recipe.json").write_text(json.dumps(content, indent=2) + "\n")
        models.load(folder)
        models.copy(folder, tmp_path / "copy")
        assert (tmp_path / "copy" / "recipe.json").read_bytes() == wanted


def trained_again(folder: Path) -> None:
    """Replace a model by one of the same recipe with other weights, as another device trains it."""
    other_weights(folder)
    content = json.loads((folder / "recipe.json").read_text())
    content["sha256"] = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    (folder / "recipe.json").write_text(json.dumps(content))


class TestRowsOfOtherWeights:
    @pytest.mark.parametrize(("name", "count"), [("first", 6), ("second", 3)])
    def test_are_not_joined_by_new_ones(self, ours: Path, name: str, count: int) -> None:
        """An example tested on another victim is one of the network that it was crafted on, too."""
        digests = {victim.name: victim.digest for victim in Folder(ours).victims()[1]}
        wanted, model = rows(ours), ours / "models" / digests[name]
        spec = (ours / "spec.yaml").read_bytes()
        trained_again(model)
        line = f"{model.name}: is another network than the one behind {count} parts of rows, such as "
        for what in (small(**STUDY), small(**STUDY, images={"count": 4})):
            with pytest.raises(DamagedResults, match=line):
                run(what, ours)
        assert (ours / "spec.yaml").read_bytes() == spec
        ended = eadbench("verify", "small", "--repair")
        assert ended.code == 0 and line in ended.err and len(ended.err.splitlines()) == 1
        run(small(**STUDY), ours)
        assert len(rows(ours)) == len(wanted) and eadbench("verify", "small").code == 0

    def test_are_said_to_be_mixed(self, ours: Path) -> None:
        part = parts(ours)[0]
        table = pq.read_table(part)
        note = json.loads(table.schema.metadata[b"eadbench"])
        [victim] = note["weights"]
        line = f"the rows of victim {victim} are of 2 networks with different weights, so that figures mix them"
        assert line not in eadbench(*COMMANDS["report"]).out
        part.write_bytes(encoded(table, note["computed"], {victim: "0" * 64}))
        assert line in eadbench(*COMMANDS["report"]).out
        assert line in eadbench(*COMMANDS["claims"]).err


@pytest.mark.parametrize(
    "values",
    [{"success": None}, {"l1": None}, {"l2": float("nan")}, {"l1": float("inf")}, {"linf": -1.0}],
    ids=str,
)
def test_values_that_no_row_has_are_named(ours: Path, values: dict[str, float | None]) -> None:
    """The part has a note and a checksum: another program wrote it, or a fault of ours."""
    part = parts(ours)[1]
    changed = [row | values if row["success"] else row for row in pq.read_table(part).to_pylist()]
    assert any(row["success"] != False for row in changed)  # noqa: E712 - or None
    part.write_bytes(encoded(pa.Table.from_pylist(changed, schema=SCHEMA)))
    line = f"small/examples/{part.name}: a row of image "
    for words in ([*COMMANDS["report"]], [*COMMANDS["claims"]], ["leaderboard", "small"], ["verify", "small"]):
        ended = eadbench(*words)
        assert ended.code == 4 and ended.err.removeprefix("error: ").startswith(line), ended
        assert len(ended.err.splitlines()) == 1 and "is a success without a distance" in ended.err
