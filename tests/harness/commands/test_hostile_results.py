"""A stranger's results, opened by every command that reads, with `--no-code` and without.

No file is written outside, no code is run, no request is made, memory stays below 2 GiB, and no terminal is told
anything.
"""

import resource
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from benchmarks.points import forks
from eadbench.harness.registry import ATTACKS as KNOWN
from eadbench.harness.registry import DEFENSES
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed
from tests.command import Ended, eadbench
from tests.harness.commands.hostile import ATTACKS, BOMBS, CONTROL, Target
from tests.harness.commands.test_no_code import MODULE
from tests.sweeps import run, small
from tests.tracking_store import make_store

COMMANDS = {
    "report": [],
    "report ": ["--format", "markdown"],
    "report  ": ["--format", "csv"],
    "report   ": ["--format", "latex"],
    "report    ": ["--format", "html"],
    "report     ": ["--figures"],
    "report      ": ["--compare", "paper"],
    "claims": [],
    "claims ": ["--format", "markdown"],
    "show": [],
    "log": [],
    "verify": [],
}
MEMORY = 2**31
SECONDS = 120


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep with images, a record for MLflow, a report and a failure."""
    folder = tmp_path_factory.mktemp("finished") / "small"
    attacks = [{"name": "fgm", "norm": "l2", "epsilons": [0.5, 2]}, {"name": "ifgm", "norm": "l2", "epsilons": [2]}]
    run(small(attacks=attacks, save_images="successes", images={"count": 2}), folder)
    failed = Failed(task="a", ended="2026-01-01T00:00:00+00:00", workers=["w"], error="Error: b")
    Results(folder).write_failure("a", failed)
    assert eadbench("report", folder, "--format", "html").code == 0
    make_store(folder.parent / "mlflow.db")
    return folder


@pytest.fixture
def requests() -> Iterator[tuple[str, list[object]]]:
    """An address, and the requests that were made to it."""
    made: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                made.append(connection)
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", made


@pytest.fixture
def target(
    finished: Path, tmp_path: Path, requests: tuple[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> Target:
    """A copy of the sweep to attack, and code that would leave a mark."""
    shutil.copytree(finished.parent, tmp_path / "theirs")
    for name in ("outside", "code"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "code" / "theirs.py").write_text(MODULE.format(mark=str(tmp_path / "outside" / "imported")))
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for registry in (KNOWN, DEFENSES):
        monkeypatch.setitem(vars(registry), "facts", {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/theirs/mlflow.db")
    return Target(tmp_path / "theirs" / "small", tmp_path / "outside", requests[0])


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def opened(target: Target, switch: list[str], command: str) -> Ended:
    """Open the folder by a command."""
    return eadbench(*switch, command.strip(), target.folder, *COMMANDS[command])


@pytest.mark.parametrize(
    ("attack", "switch"),
    [(attack, []) for attack in ATTACKS]
    + [(name, ["--no-code"]) for name in ("code", "code without facts", "requests")],
)
def test_nothing_happens(
    attack: str, switch: list[str], target: Target, requests: tuple[str, list[object]], tmp_path: Path
) -> None:
    ATTACKS[attack](target)
    outside, beside = files(target.outside), set(tmp_path.iterdir())
    thorough = attack in ("code", "escapes") and not switch
    for command in COMMANDS if thorough else ("report", "report    ", "show", "log", "verify"):
        ended = opened(target, switch, command)
        assert ended.code in (0, 1, 2, 4), (command, ended)
        assert not CONTROL & set(ended.out + ended.err), (command, ended)
        assert ended.code == 0 or ended.err.count("\n") == 1 or command == "verify", (command, ended)
    assert files(target.outside) == outside and set(tmp_path.iterdir()) == beside
    assert "theirs" not in sys.modules and not requests[1] and not Path("/tmp/climbed.txt").exists()
    assert not any(CONTROL & set(text.decode()) for name, text in files(target.folder / "report").items()
                   if name.endswith((".csv", ".md", ".tex")))  # fmt: skip


def _build(bomb: str, target: Target) -> None:
    BOMBS[bomb].build(target)


def _peak(target: Target, command: str, results: "SimpleQueue[tuple[int, int]]") -> None:
    """Open the folder in a process of its own; put the exit code and the greatest memory into a queue."""
    ended = opened(target, [], command)
    results.put((ended.code, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


@pytest.mark.parametrize("bomb", BOMBS)
def test_memory_is_bounded(bomb: str, target: Target) -> None:
    context = forks()  # a fork of this process would have DuckDB without its threads
    build = context.Process(target=_build, args=(bomb, target))  # whose memory is not counted
    build.start()
    build.join(SECONDS)
    assert build.exitcode == 0
    for command in BOMBS[bomb].commands:
        results = context.SimpleQueue()
        process = context.Process(target=_peak, args=(target, command, results))
        process.start()
        process.join(SECONDS)
        assert process.exitcode == 0, f"{command} hangs or was killed"
        code, peak = results.get()
        assert code in (0, 1, 2, 4) and peak < MEMORY, (command, code, f"{peak:,}")


def test_the_sweep_itself_is_read(target: Target) -> None:
    """Or the attacks above would be refused for another reason."""
    for command in COMMANDS:
        ended = opened(target, ["--no-code"], command)
        assert ended.code == (2 if "paper" in COMMANDS[command] else 0), (command, ended)
