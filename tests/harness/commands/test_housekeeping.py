"""`eadbench merge`, `clean` and `cancel`: nothing is lost, and nothing goes without being named."""

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from eadbench.harness.errors import Cancelled
from eadbench.harness.execution import sweep
from eadbench.harness.execution.executor import AnyTask, Outcome
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.serial import SerialExecutor
from eadbench.harness.parquet.rows import encoded
from eadbench.harness.plan.grid import Shard
from eadbench.harness.results.cancelling import ask_to_stop
from eadbench.harness.results.folder import Results
from eadbench.harness.results.owner import CANCEL, Owner
from eadbench.harness.results.owner_record import encoded as encoded_record
from eadbench.harness.results.owner_record import own_record
from tests.command import eadbench, refusal
from tests.sweeps import rows, run, small

TRAINING = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
ONE: dict[str, Any] = {"arch": "digits", "name": "one", "training": TRAINING}
TWO: dict[str, Any] = {"arch": "digits", "name": "two", "training": {**TRAINING, "seed": 1}}
FGM = {"name": "fgm", "norm": "linf", "epsilons": [0.3]}
IFGM = {"name": "ifgm", "norm": "l2", "steps": 2, "epsilons": [0.5, 2]}
TINY: dict[str, Any] = {"images": {"count": 3}, "save_images": "successes", "shard_size": 10}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("housekeeping") / "small"
    run(small(victims=[{**ONE, "evaluated_on": ["two"]}, TWO], attacks=[FGM, IFGM], **TINY), folder)
    return folder


def same(one: pd.DataFrame, two: pd.DataFrame) -> None:
    keys = ["cell", "evaluated_on", "image", "target"]
    one, two = (frame.sort_values(keys, ignore_index=True).drop(columns=["shard"]) for frame in (one, two))
    pd.testing.assert_frame_equal(one, two)


class TestOwnerOfAStranger:
    @pytest.mark.parametrize("command", [["clean"], ["verify", "--repair"]])
    def test_its_host_is_a_text_on_the_line(
        self, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
    ) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(whole, copy)
        record = replace(own_record(), host="there[/red]\nerror: all is lost", pid=2**22, process_started=0)
        (copy / "owner.json").write_bytes(encoded_record(record))
        ended = eadbench(command[0], copy, *command[1:])
        [line] = ended.err.splitlines()
        assert ended.code == 0
        assert line.startswith(f"warning: {copy}: takes over from eadbench on there[/red] error: all is lost (pid ")


class TestMerge:
    def test_two_machines_share_the_attacks(self, whole: Path, tmp_path: Path) -> None:
        victims = [{**ONE, "evaluated_on": ["two"]}, TWO]
        for name, attack in (("a", FGM), ("b", IFGM)):
            run(small(victims=victims, attacks=[attack], **TINY), tmp_path / name)
        arguments = ["merge", tmp_path / "a", tmp_path / "b", "--to", tmp_path / "both"]
        assert "would be written to" in eadbench(*arguments, "--dry-run").out
        assert not (tmp_path / "both").exists()
        ended = eadbench(*arguments)
        assert ended.code == 0 and "2 models of 2 victims" in ended.out
        same(rows(tmp_path / "both"), rows(whole))
        done = run(Results(tmp_path / "both").spec(), tmp_path / "both")
        assert done.nothing
        assert eadbench("verify", tmp_path / "both").code == 0

    def test_two_machines_share_the_victims(self, tmp_path: Path) -> None:
        for name, victim in (("a", ONE), ("b", TWO)):
            run(small(victims=[victim], attacks=[FGM], **TINY), tmp_path / name)
        assert eadbench("merge", tmp_path / "a", tmp_path / "b", "--to", tmp_path / "both").code == 0
        run(small(victims=[ONE, TWO], attacks=[FGM], **TINY), tmp_path / "alone")
        same(rows(tmp_path / "both"), rows(tmp_path / "alone"))

    def test_another_seed_is_refused(self, tmp_path: Path) -> None:
        for name, seed in (("a", 0), ("b", 1)):
            run(small(victims=[ONE], attacks=[FGM], seed=seed, **TINY), tmp_path / name)
        text = refusal(eadbench("merge", tmp_path / "a", tmp_path / "b", "--to", tmp_path / "both"))
        assert text.startswith(f"{tmp_path / 'a'} and {tmp_path / 'b'}: their specs differ in seed: 0 and 1")

    def test_contradictory_rows_are_refused(self, whole: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        shutil.copytree(whole, other)
        part = max(other.glob("examples/*.parquet"))
        table = pq.read_table(part).to_pylist()
        table[0]["success"] = not table[0]["success"]
        part.write_bytes(encoded(pq.read_table(part).from_pylist(table, schema=pq.read_schema(part))))
        ended = eadbench("merge", whole, other, "--to", tmp_path / "both")
        assert ended.code == 2 and "contradictory rows" in ended.err
        assert refusal(ended).endswith("; leave out one of the folders")
        assert str(whole / "examples" / part.name) in ended.err and str(part) in ended.err
        assert not (tmp_path / "both").exists()

    def test_another_training_of_a_model_is_refused(self, whole: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        shutil.copytree(whole, other)
        weights = min(other.glob("models/*/weights.safetensors"))
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        text = refusal(eadbench("merge", whole, other, "--to", tmp_path / "both"))
        assert "are two trainings of one model" in text and str(weights) in text

    def test_a_folder_with_files_is_not_written_to(self, whole: Path, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("mine")
        text = refusal(eadbench("merge", whole, "--to", tmp_path))
        assert text == f"--to {tmp_path}: must be an empty folder, or not be there"


class TestClean:
    def test_what_the_spec_lacks_goes_and_is_named(self, whole: Path, tmp_path: Path) -> None:
        folder = tmp_path / "folder"
        shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("owner.json*", "report", "invocations"))
        smaller = small(victims=[ONE], attacks=[FGM], **TINY)
        run(smaller, folder)
        expected = rows(folder)
        (folder / "examples" / f".x.parquet.{'0' * 32}.tmp").write_bytes(b"half")
        before = sorted(folder.rglob("*"))
        files = [path for path in before if path.is_file()]
        preview = eadbench("clean", folder, "--dry-run")
        assert preview.code == 0 and sorted(folder.rglob("*")) == before
        ended = eadbench("clean", folder)
        assert ended.code == 0 and ended.out == preview.out.replace("would remove", "removes")
        removed = {path.relative_to(folder).as_posix() for path in files if not path.exists()}
        assert removed == {line.strip() for line in ended.out.splitlines() if line.startswith("  ")}
        assert len(list((folder / "models").glob("*/weights.safetensors"))) == 1
        assert len(list((folder / "shards").iterdir())) == len(list((folder / "images").iterdir())) == 3
        same(rows(folder), expected)
        assert run(smaller, folder).nothing and eadbench("verify", folder).code == 0
        assert eadbench("clean", folder).out == "Nothing to remove: the spec needs every file.\n"

    def test_a_needed_file_stays(self, whole: Path) -> None:
        assert "models/" not in eadbench("clean", whole, "--dry-run").out.replace(".lock", "").partition("rows")[2]

    def test_a_folder_without_a_sweep(self, tmp_path: Path) -> None:
        assert "no spec.yaml there" in refusal(eadbench("clean", tmp_path))


class _Asking(SerialExecutor):
    """Asks the run to stop when its first shard has ended, and waits until the heartbeat has seen it."""

    owner: Owner
    root: Path

    def run(self, tasks: Iterable[AnyTask]) -> Iterator[Outcome[AnyTask]]:
        for outcome in super().run(tasks):
            if isinstance(outcome.task, Shard) and not self.owner.asked_to_stop:
                ask_to_stop(self.root)
                while not self.owner.asked_to_stop:
                    time.sleep(0.01)
            yield outcome


class TestCancel:
    def test_a_run_stops_after_its_running_shards(self, tmp_path: Path) -> None:
        what, folder = small(victims=[ONE], attacks=[FGM], **TINY), tmp_path / "sweep"

        def executor(*arguments: Any) -> _Asking:
            asking = _Asking(*arguments)
            asking.owner, asking.root = owner, folder
            return asking

        console = Console(quiet=True)
        with (
            pytest.raises(Cancelled, match="and the same command goes on from there") as caught,
            Progress(console) as progress,
            Owner(folder, progress.warn, beat=0.02) as owner,
        ):
            sweep.run(what, Results(folder), executor, progress, owner=owner)
        assert caught.value.exit_code == 130
        assert len(list((folder / "examples").glob("*.parquet"))) == 1
        assert not (folder / CANCEL).exists()
        assert run(what, folder).shards == 2

    def test_nothing_runs(self, whole: Path) -> None:
        text = refusal(eadbench("cancel", whole))
        assert text == f"{whole}: no command works in this folder, so there is nothing to cancel"

    def test_who_is_asked_is_named(self, tmp_path: Path) -> None:
        with Owner(tmp_path, print, beat=60) as owner:
            owner.claim()
            ended = eadbench("cancel", tmp_path)
            assert ended.code == 0 and "(pid " in ended.out and "to stop after its running tasks" in ended.out
        assert not (tmp_path / CANCEL).exists()
