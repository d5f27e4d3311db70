"""The progress of a sweep: bars that fit a terminal, the time left, and lines without a terminal."""

import io
import re
import time
from collections.abc import Sequence

import pytest
from rich.console import Console

from eadbench.harness.execution import progress as progress_module
from eadbench.harness.execution.executor import Outcome
from eadbench.harness.execution.forecast import Forecast
from eadbench.harness.execution.pace import Pace, kind_of, span_text, work_of
from eadbench.harness.execution.progress import Progress
from eadbench.harness.plan import grid
from eadbench.harness.plan.grid import Shard
from eadbench.harness.results.records import ShardRecord
from tests.harness.execution.test_remaining import victim
from tests.sweeps import small

SPEC = small(
    attacks=[{"name": "ead", "max_iterations": 100}, {"name": "fgm", "norm": ["l1", "linf"]}],
    shard_size=9,
)
VICTIMS = [victim("a" * 16, 3)]
SHARDS = [*grid.shards(SPEC, "digits", range(10), VICTIMS)]
WORK = work_of(SPEC, "digits", 10, VICTIMS)


@pytest.fixture(autouse=True)
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time left is told at once."""
    monkeypatch.setattr(progress_module, "WARM_UP", 0.0)


def record(shard: Shard, seconds: float) -> ShardRecord:
    numbers = {name: 0 for name, kind in ShardRecord.__annotations__.items() if kind in (int, float)}
    texts = {name: "" for name in ShardRecord.__annotations__ if name not in numbers}
    known = {"shard": shard.digest, "victim": shard.victim.digest, "attack": shard.setting.attack}
    known |= {"examples": shard.size, "seconds": seconds, "successes": {}, "unconfirmed": {}, "random": False}
    return ShardRecord(**{**numbers, **texts, **known})


def drawn(console: Console, progress: Progress) -> list[str]:
    with console.capture() as capture:
        console.print(progress._bars.get_renderable())
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_bars_fit(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    progress = Progress(console)
    progress.report("training cw_mnist, adversarial training: C&W + EAD-L1 (965c7c), 50 epochs", 1_200_000, 3_000_000)
    progress.begin_sweep(grid.size(SPEC, 10, VICTIMS), grid.examples_per_cell(SPEC, 10, VICTIMS), Pace(WORK))
    progress.workers_ready(2)
    progress.advanced(SHARDS[0], 0.5, 30.0)
    training, attacking, *figures = drawn(console, progress)
    assert all(len(line) <= width for line in (training, attacking, *figures))
    assert "training" in training and "1,200,000/3,000,000" in training
    assert "attacking" in attacking and re.search(r" 4/81 +\d+ (s|min) left", attacking)
    assert training.count("━") + training.count("╸") >= 3  # at 40 %
    assert "waiting" not in " ".join(figures) and "2 workers" in " ".join(figures)


def test_the_bar_moves_within_a_shard_and_counts_it_once() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    progress = Progress(console)
    progress.begin_sweep(grid.size(SPEC, 10, VICTIMS), grid.examples_per_cell(SPEC, 10, VICTIMS), Pace(WORK))

    def done() -> str:
        return re.findall(r"(\d+)/81", drawn(console, progress)[0])[0]

    shares: Sequence[str] = []
    progress.advanced(SHARDS[0], 0.4, 1.0)
    shares = [*shares, done()]
    progress.advanced(SHARDS[0], 0.8, 2.0)
    progress.advanced(SHARDS[1], 0.5, 2.0)
    shares = [*shares, done()]
    progress.shard_ended(Outcome(task=SHARDS[0], workers=["w"], record=record(SHARDS[0], 3.0)))
    shares = [*shares, done()]
    progress.retried(Outcome(task=SHARDS[1], workers=["w"], error="it stumbled"))
    progress.skip(SHARDS[2], ())
    shares = [*shares, re.findall(r"(\d+)/72", drawn(console, progress)[0])[0]]
    assert shares == ["3", "11", "13", "9"]


def test_it_says_at_the_end_how_far_off_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "WARM_UP", 10.0)
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    progress = Progress(console, price=36.0)
    progress.begin_sweep(grid.size(SPEC, 10, VICTIMS), grid.examples_per_cell(SPEC, 10, VICTIMS), Pace(WORK))
    progress.workers_ready(2)
    assert progress.forecast is None
    now[0] += 9
    progress.advanced(SHARDS[0], 0.4, 9.0)
    assert " left" not in "".join(drawn(console, progress)) and progress.forecast is None
    now[0] += 1
    progress.advanced(SHARDS[0], 0.5, 10.0)
    left = re.findall(r"cost 0.20 of about (\S+)", drawn(console, progress)[1])
    pace = Pace(WORK)
    pace.advanced(SHARDS[0], 0.4, 9.0)
    pace.advanced(SHARDS[0], 0.5, 10.0)
    expected = 10 + (pace.seconds_left(2) or 0)
    assert [float(each) for each in left] == pytest.approx([0.02 * expected], abs=0.01)
    now[0] += 30
    progress.workers_ready(1)
    now[0] += 10
    progress.shard_ended(Outcome(task=SHARDS[0], workers=["w"], record=record(SHARDS[0], 3.0)))
    assert progress.forecast == Forecast(expected=pytest.approx(expected), after=10, took=50)
    assert str(Forecast(expected=45, after=10, took=50)) == (
        "50 s for the attacks; after 10 s, 45 s were expected (0.9 of it)"
    )
    progress.meter.count(0)
    now[0] += 3600
    assert progress.meter.cost == pytest.approx((40 * 2 + 10) * 0.01)


class TestPace:
    def test_nothing_measured(self) -> None:
        assert Pace(WORK).seconds_left(1) is None

    def test_a_running_shard_tells_from_its_start(self) -> None:
        pace = Pace(WORK)
        pace.advanced(SHARDS[0], 0.5, 10.0)  # 4.5 of 27 examples of EAD
        passes = {kind: work.passes for kind, work in WORK.items()}
        fgm = 54 * passes["a" * 16, "fgm"] / passes["a" * 16, "ead"]
        assert pace.seconds_left(1) == pytest.approx((22.5 + fgm) * 10 / 4.5)
        assert pace.seconds_left(3) == pytest.approx((22.5 + fgm) * 10 / 4.5 / 3)

    def test_what_a_search_skips_at_its_start_is_no_rate(self) -> None:
        pace = Pace({("a" * 16, "ead"): WORK["a" * 16, "ead"]})
        pace.advanced(SHARDS[0], 1 / 3, 0.1)
        pace.advanced(SHARDS[0], 2 / 3, 30.1)  # 3 of 27 examples in 30 s
        assert pace.seconds_left(1) == pytest.approx((27 - 6) * 10)

    def test_each_kind_has_its_own_rate(self) -> None:
        pace = Pace(WORK)
        for shard in SHARDS:
            if shard is not SHARDS[-1]:
                pace.ended(shard, 90.0 if shard.setting.attack == "ead" else 9.0)
        assert kind_of(SHARDS[-1])[1] == "fgm"
        assert pace.seconds_left(1) == pytest.approx(9.0)
        pace.ended(SHARDS[-1], None)
        assert pace.seconds_left(1) == 0

    def test_records_of_an_earlier_run_tell_before_anything_runs(self) -> None:
        pace = Pace(WORK, [record(SHARDS[0], 18.0), record(SHARDS[-1], 9.0)])
        assert pace.seconds_left(2) == pytest.approx((27 * 2 + 54 * 1) / 2)
        pace.skipped(kind_of(SHARDS[0]), 9)
        assert pace.seconds_left(2) == pytest.approx((18 * 2 + 54 * 1) / 2)


def test_without_a_terminal_it_prints_lines() -> None:
    stream = io.StringIO()
    with Progress(Console(file=stream, width=80), line_seconds=0.05) as progress:
        progress.begin_sweep(grid.size(SPEC, 10, VICTIMS), grid.examples_per_cell(SPEC, 10, VICTIMS), Pace(WORK))
        progress.workers_ready(1)
        progress.advanced(SHARDS[0], 0.5, 30.0)
        end = time.monotonic() + 10
        while "\n" not in stream.getvalue() and time.monotonic() < end:
            time.sleep(0.02)
    first = stream.getvalue().splitlines()[0]
    assert re.fullmatch(r"attacking, 4/81, .* left · 0/4 cells · 0/9 shards · 1 worker", first), first
    time.sleep(0.2)
    assert stream.getvalue().count("\n") < 400  # it has ended


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (3600, "60 min"), (6000, "1.7 h"), (360_000, "100.0 h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span_text(seconds) == text
