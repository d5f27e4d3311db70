"""The policy of the worker pool: rules for every state of a small pool, and cases."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from eadbench.harness.execution.ray.policy import (
    ATTEMPTS,
    FIRST_TIME_LIMIT,
    LEAST_TIME_LIMIT,
    MOST_FAILED_STARTS,
    PATIENCE,
    SILENT,
    TIME_MARGIN,
    Cap,
    PoolState,
    Resize,
    Verdict,
    after_failed_start,
    after_task_failure,
    out_of_patience,
    resize,
    target,
    time_limit,
    worth_a_notice,
)

NODES = frozenset({"one", "two"})
OTHERS = frozenset({"one", "three"})


def pool(**changes: Any) -> PoolState:
    fields: dict[str, Any] = {"asked": None, "room": 4, "nodes": NODES, "ready": 0, "busy": 0, "starting": 0}
    return PoolState(**{**fields, **changes})


STATES = [
    pool(asked=asked, room=room, ready=ready, busy=busy, starting=starting, cap=cap)
    for asked, room, ready, busy, starting in product((None, 1, 3), range(4), range(4), range(4), range(4))
    for cap in (None, Cap(1, NODES), Cap(2, OTHERS))
    if busy <= ready
]


class TestTarget:
    def test_without_a_number_it_is_what_fits(self) -> None:
        assert target(pool(room=7)) == 7

    def test_one_worker_waits_for_room(self) -> None:
        assert target(pool(room=0)) == 1

    @pytest.mark.parametrize("room", [0, 2, 9])
    def test_a_number_is_kept_whatever_fits(self, room: int) -> None:
        assert target(pool(asked=5, room=room)) == 5

    def test_a_cap_limits_it(self) -> None:
        assert target(pool(asked=5, cap=Cap(2, NODES))) == 2
        assert target(pool(room=5, cap=Cap(2, NODES))) == 2

    def test_a_cap_never_raises_it(self) -> None:
        assert target(pool(asked=2, cap=Cap(3, NODES))) == 2

    def test_a_cap_ends_when_the_nodes_change(self) -> None:
        assert target(pool(asked=5, nodes=OTHERS, cap=Cap(2, NODES))) == 5


class TestResize:
    def test_starts_one_worker_a_task_up_to_the_target(self) -> None:
        assert [resize(pool(room=3), waiting).start for waiting in range(6)] == [0, 1, 2, 3, 3, 3]

    def test_busy_workers_do_not_take_waiting_tasks(self) -> None:
        assert resize(pool(room=4, ready=2, busy=2), 1) == Resize(start=1, stop=0)

    def test_idle_and_starting_workers_do(self) -> None:
        assert resize(pool(room=4, ready=1, starting=1), 2) == Resize(start=0, stop=0)

    def test_stops_workers_that_no_longer_fit_and_are_not_ready(self) -> None:
        assert resize(pool(room=2, ready=2, starting=3), 9) == Resize(start=0, stop=3)
        assert resize(pool(room=4, ready=2, starting=3), 9) == Resize(start=0, stop=1)

    def test_never_stops_a_ready_worker(self) -> None:
        assert resize(pool(room=1, ready=4), 9) == Resize(start=0, stop=0)

    @pytest.mark.parametrize("waiting", [0, 1, 2, 9])
    def test_in_every_state(self, waiting: int) -> None:
        assert len(STATES) == 3 * 4 * 10 * 4 * 3
        for state in STATES:
            start, stop = resize(state, waiting)
            after = state.workers + start - stop
            useful = min(target(state), state.busy + waiting)
            assert 0 <= start <= waiting and 0 <= stop <= state.starting, state
            assert after >= min(useful, state.workers + waiting), state
            if start:
                assert stop == 0 and after == useful, state
            if stop:
                assert after == max(target(state), state.ready), state

    @pytest.mark.parametrize("waiting", [0, 1, 2, 9])
    def test_one_step_is_enough(self, waiting: int) -> None:
        for state in STATES:
            start, stop = resize(state, waiting)
            assert resize(replace(state, starting=state.starting + start - stop), waiting) == Resize(0, 0), state


class TestPatience:
    def test_ends_after_a_while_without_a_ready_worker(self) -> None:
        assert not out_of_patience(pool(starting=1, seconds_without_worker=PATIENCE))
        assert out_of_patience(pool(starting=1, seconds_without_worker=PATIENCE + 1))

    def test_says_before_it_ends_what_it_waits_for(self) -> None:
        assert SILENT < 10 < PATIENCE
        assert not worth_a_notice(pool(starting=1, seconds_without_worker=SILENT))
        assert worth_a_notice(pool(starting=1, seconds_without_worker=SILENT + 1))
        assert not worth_a_notice(pool(ready=1, starting=1, seconds_without_worker=SILENT + 1))

    def test_does_not_end_with_a_ready_worker(self) -> None:
        assert not out_of_patience(pool(ready=1, starting=1, seconds_without_worker=2 * PATIENCE))

    def test_does_not_end_before_a_worker_is_started(self) -> None:
        assert not out_of_patience(pool(seconds_without_worker=2 * PATIENCE))


class TestFailedStarts:
    @pytest.mark.parametrize("failures", range(1, MOST_FAILED_STARTS))
    @pytest.mark.parametrize(("ready", "starting"), [*product(range(3), range(3))])
    def test_a_few_are_retried(self, failures: int, ready: int, starting: int) -> None:
        assert after_failed_start(pool(ready=ready, starting=starting, failed_starts=failures)) is Verdict.RETRY

    @pytest.mark.parametrize("starting", range(3))
    @pytest.mark.parametrize("ready", [1, 2])
    def test_many_cap_the_pool_at_its_ready_workers(self, ready: int, starting: int) -> None:
        state = pool(ready=ready, starting=starting, failed_starts=MOST_FAILED_STARTS)
        assert after_failed_start(state) == Cap(ready, NODES)

    def test_many_cap_the_pool_at_the_starting_ones_if_none_is_ready(self) -> None:
        assert after_failed_start(pool(starting=2, failed_starts=MOST_FAILED_STARTS)) == Cap(2, NODES)

    def test_many_end_a_pool_without_workers(self) -> None:
        assert after_failed_start(pool(failed_starts=MOST_FAILED_STARTS)) is Verdict.GIVE_UP

    def test_a_capped_pool_starts_no_more_until_the_nodes_change(self) -> None:
        state = pool(asked=4, ready=2, busy=2, failed_starts=MOST_FAILED_STARTS)
        cap = after_failed_start(state)
        assert isinstance(cap, Cap)
        assert resize(replace(state, cap=cap), 9) == Resize(0, 0)
        assert resize(replace(state, cap=cap, nodes=OTHERS), 9) == Resize(start=2, stop=0)


def test_a_task_is_run_three_times() -> None:
    verdicts = [after_task_failure(failures) for failures in range(1, ATTEMPTS + 1)]
    assert verdicts == [Verdict.RETRY, Verdict.RETRY, Verdict.GIVE_UP]


@pytest.mark.parametrize(
    ("asked", "slowest", "size", "seconds"),
    [
        (None, None, 200, FIRST_TIME_LIMIT),
        (None, 0.001, 200, LEAST_TIME_LIMIT),
        (None, 60.0, 200, TIME_MARGIN * 12_000.0),
        (None, 60.0, 3, LEAST_TIME_LIMIT),
        (5.0, None, 200, 5.0),
        (5.0, 60.0, 200, 5.0),
        (1e6, 0.001, 1, 1e6),
    ],
)
def test_a_task_may_take(asked: float | None, slowest: float | None, size: int, seconds: float) -> None:
    assert time_limit(asked, slowest, size) == seconds
