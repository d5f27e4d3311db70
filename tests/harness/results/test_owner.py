"""One command at a time writes to a results folder; a dead owner's folder is taken over, a live one's is refused."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eadbench.harness.results.folder import Results
from eadbench.harness.results.owner import FILE, FolderInUse, Owner
from eadbench.harness.tracking import invocation
from tests.command import eadbench, refusal
from tests.harness.commands.spec_files import QUICK, content, spec_file
from tests.sweeps import run, small

FAST = {"patience": 0.6, "beat": 0.05}


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # a store that is away at once


def claimed(folder: Path, lines: list[str] | None = None) -> bool:
    """Claim a folder for a moment; return whether it was free or its owner dead."""
    with Owner(folder, (lines if lines is not None else []).append, **FAST) as owner:
        try:
            owner.claim()
        except FolderInUse:
            return False
        return json.loads((folder / FILE).read_text())["pid"] == os.getpid()


def of_elsewhere(folder: Path, **changes: Any) -> None:
    """Make the owner one of another machine."""
    record = json.loads((folder / FILE).read_text()) | {"host": "far", "machine": "another", **changes}
    (folder / FILE).write_text(json.dumps(record))


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the owner of a folder leaves there when it is killed."""
    folder = tmp_path_factory.mktemp("left")
    code = "import os; from pathlib import Path; from eadbench.harness.results.owner import Owner; \
        Owner(Path(), print).claim(); os._exit(9)"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=False)
    record: dict[str, Any] = json.loads((folder / FILE).read_text())
    return record


@pytest.fixture
def killed(left: dict[str, Any], tmp_path: Path) -> int:
    """Leave the folder of a killed owner; return its pid."""
    (tmp_path / FILE).write_text(json.dumps(left))
    return int(left["pid"])


def test_a_folder_is_free_again_after_its_owner(tmp_path: Path) -> None:
    for _ in range(2):
        assert claimed(tmp_path / "a")
        assert not (tmp_path / "a" / FILE).exists()


def test_a_live_owner_is_refused_in_one_line(tmp_path: Path) -> None:
    with Owner(tmp_path, print) as owner:
        owner.claim()
        with pytest.raises(FolderInUse) as error:
            Owner(tmp_path, print).claim()
    line = str(error.value)
    assert re.match(rf"{tmp_path}: eadbench on \S+ \(pid {os.getpid()}\), which began \d+ s ago, works in", line)
    assert "\n" not in line and error.value.exit_code == 1


def test_a_killed_owner_is_followed_at_once(killed: int, tmp_path: Path) -> None:
    lines = list[str]()
    started = time.monotonic()
    with Owner(tmp_path, lines.append) as owner:  # with the patience that commands have
        owner.claim()
    assert time.monotonic() - started < 5
    [line] = lines
    assert f"takes over from eadbench on {os.uname().nodename} (pid {killed})" in line and "has ended" in line


def test_another_process_of_that_pid_is_not_the_owner(killed: int, tmp_path: Path) -> None:
    record = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(record | {"pid": os.getpid()}))
    assert claimed(tmp_path)


@pytest.mark.parametrize("damage", [None, "", "{}", '{"pid": "x"}'])
def test_an_owner_elsewhere_is_watched_before_its_folder_is_taken_over(
    killed: int, tmp_path: Path, damage: str | None
) -> None:
    of_elsewhere(tmp_path)
    if damage is not None:
        (tmp_path / FILE).write_text(damage)
    lines, started = list[str](), time.monotonic()
    assert claimed(tmp_path, lines)
    assert time.monotonic() - started > FAST["patience"]
    first, last = lines
    name = "eadbench on far (pid" if damage is None else "an unknown owner (owner.json is damaged)"
    assert "waits up to 1 s to see whether" in first and name in first
    assert "takes over from" in last and "no heartbeat for 1 s" in last


@contextmanager
def beating(folder: Path) -> Iterator[None]:
    """An owner on another machine, whose heart beats."""
    of_elsewhere(folder)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            of_elsewhere(folder, beat=time.monotonic_ns())

    thread = threading.Thread(target=beat)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_an_owner_elsewhere_whose_heart_beats_is_refused(killed: int, tmp_path: Path) -> None:
    with beating(tmp_path), pytest.raises(FolderInUse, match="eadbench on far"):
        Owner(tmp_path, print, **FAST).claim()


def test_one_of_many_takes_a_folder_over(killed: int, tmp_path: Path) -> None:
    owners = [Owner(tmp_path, lambda _: None, **FAST) for _ in range(8)]

    def won(owner: Owner) -> bool:
        try:
            owner.claim()
        except FolderInUse:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(won, owners)) == 1
    for owner in owners:
        owner.__exit__(None, None, None)


def test_an_owner_that_slept_too_long_ends(tmp_path: Path) -> None:
    with Owner(tmp_path, print, **FAST) as owner:
        owner.claim()
        owner.check()
        of_elsewhere(tmp_path, id="of the other")
        time.sleep(0.5)
        with pytest.raises(FolderInUse, match=r"eadbench on far .* took over this folder"):
            owner.check()
    assert (tmp_path / FILE).exists(), "it belongs to the other"


COMMANDS: dict[str, Callable[[], list[Any]]] = {
    "another spec": lambda: ["run", spec_file(images={"count": 4}), "--executor", "serial", "--results", "small"],
    "the same spec": lambda: ["run", spec_file(), "--executor", "serial", "--results", "small"],
    "transfer": lambda: ["transfer", "small", "--to", spec_file(), "--executor", "serial"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_driver_is_refused_before_it_writes(tmp_path: Path, name: str) -> None:
    run(small(**QUICK, save_images="successes"), tmp_path / "small")
    with Owner(tmp_path / "small", print, beat=60) as owner:
        owner.claim()
        before = content(tmp_path / "small")
        ended = eadbench(*COMMANDS[name]())
        assert ended.code == 1 and "works in this folder" in refusal(ended)
        assert content(tmp_path / "small") == before


def test_a_record_is_not_written_for_a_driver_that_runs(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    run(small(**QUICK), folder)
    with Owner(folder, print) as owner:
        owner.claim()
        for words in (["log", folder], ["report", folder, "--format", "html"]):
            eadbench(*words)
            assert invocation.owed(Results(folder))
    eadbench("report", folder, "--format", "html")
    assert not invocation.owed(Results(folder))


def test_a_folder_of_another_name_is_refused(tmp_path: Path) -> None:
    run(small(**QUICK), tmp_path / "small")
    before = content(tmp_path / "small")
    for command in ("run", "plan"):
        options = ["--executor", "serial"] if command == "run" else []
        ended = eadbench(command, spec_file(name="other"), "--results", "small", *options)
        assert ended.code == 2
        assert "small: holds the sweep 'small', not 'other'; give this one a folder of its own" in refusal(ended)
    assert content(tmp_path / "small") == before


def test_an_invocation_keeps_the_spec_that_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has happened to spec.yaml since."""
    from eadbench.harness import api

    conclude = api.conclude

    def after_a_change(*arguments: Any, **options: Any) -> Any:
        path = Path("small/spec.yaml")
        path.write_text(path.read_text().replace("count: 2", "count: 1"))
        return conclude(*arguments, **options)

    monkeypatch.setattr(api, "conclude", after_a_change)
    assert eadbench("run", spec_file(images={"count": 2}), "--executor", "serial", "--results", "small").code == 0
    [record] = Path("small/invocations").glob("*.json")
    assert json.loads(record.read_text())["params"]["images"] == 2


def test_a_complete_sweep_that_cannot_be_written_to_has_nothing_to_do(tmp_path: Path) -> None:
    folder, mount = tmp_path / "small", tmp_path / "mounted"
    words = ["run", spec_file(), "--executor", "serial", "--results"]
    assert eadbench(*words, folder).code == 0
    mount.mkdir()
    try:
        subprocess.run(["mount", "--bind", "-o", "ro", folder, mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount")
    try:
        ended = eadbench(*words, mount)
        more = eadbench("run", spec_file(images={"count": 4}), "--executor", "serial", "--results", mount)
    finally:
        subprocess.run(["umount", mount], check=True)
    assert ended.code == 0 and "Nothing to do" in ended.out and not ended.err
    assert more.code == 1 and "Read-only file system" in refusal(more)
