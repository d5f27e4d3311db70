"""The queue of tasks. Tasks are numbers here, because their kind makes no difference to their order."""

from eadbench.harness.execution.ray.policy import Verdict
from eadbench.harness.execution.ray.queue import TaskQueue


def test_tasks_are_drawn_from_their_source_as_needed() -> None:
    drawn: list[int] = []
    source = (drawn.append(i) or i for i in range(100))
    queue = TaskQueue(source)  # type: ignore[type-var]
    assert queue.waiting(3) == 3 and drawn == [0, 1, 2]
    assert [queue.take("a", "a").task for _ in range(4)] == [0, 1, 2, 3]  # type: ignore[union-attr]
    assert len(drawn) == 4


def test_failed_tasks_go_to_other_workers_and_are_given_up() -> None:
    queue = TaskQueue([0, 1])  # type: ignore[type-var]
    workers = ["a", "b"]
    queued = queue.take("a", workers)
    assert queued is not None
    queued = queue.failed(queued, "a")
    assert queued.verdict is Verdict.RETRY
    other = queue.take("a", workers)
    assert other is not None and other.task == 1
    assert queue.take("a", workers) is None and queue.waiting(5) == 1
    again = queue.take("b", workers)
    assert again == queued
    queued = queue.failed(again, "b")
    assert queue.take("a", workers) == queued, "a task that failed on every worker may run on any"
    queued = queue.failed(queued, "a")
    assert queued.verdict is Verdict.GIVE_UP and queued.failed_on == ("a", "b", "a") and queue.waiting(1) == 0
