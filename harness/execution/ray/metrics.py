"""Counters and gauges on Ray's Prometheus endpoint; `dashboards/grafana/eadbench.json` draws them.

Ray puts ``ray_`` before a name, and ``_total`` after a counter's.
"""

from ray.util.metrics import Counter, Gauge, Histogram

from eadbench.harness.results.records import ShardRecord

SECONDS = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000]
"""Bounds of the histogram of a shard's seconds."""


class WorkerMeter:
    """What a worker counts."""

    def __init__(self, worker: str) -> None:
        self._examples = Counter("eadbench_examples", "Examples attacked.", ("attack", "outcome"))
        self._gradients = Counter("eadbench_gradient_evaluations", "Gradient evaluations needed.", ("attack",))
        self._seconds = Histogram("eadbench_shard_seconds", "Seconds a shard took.", SECONDS, ("attack",))
        self._batch_size = Gauge("eadbench_batch_size", "Examples attacked at a time.", ("worker",))
        self._slots_busy = Gauge(
            "eadbench_slots_busy", "Rows that did needed work over rows computed, of the last shard.", ("worker",)
        )
        self._worker = {"worker": worker}

    def count(self, record: ShardRecord) -> None:
        """Count a shard. An example succeeds here if it does by the first decision rule."""
        attack = {"attack": record.attack}
        successes = next(iter(record.successes.values()))
        for outcome, number in (("success", successes), ("failure", record.examples - successes)):
            if number:
                self._examples.inc(number, {**attack, "outcome": outcome})
        if record.gradient_evaluations:
            self._gradients.inc(record.gradient_evaluations, attack)
            self._slots_busy.set(record.gradient_evaluations / record.gradient_evaluations_computed, self._worker)
        self._seconds.observe(record.seconds, attack)
        self._batch_size.set(record.batch_size, self._worker)


class DriverMeter:
    """What the driver counts."""

    def __init__(self) -> None:
        self._retries = Counter("eadbench_retries", "Tasks given to another worker.")
        self._set_aside = Counter("eadbench_set_aside", "Tasks given up.")
        self._workers = Gauge("eadbench_workers", "Workers that are ready.")

    def failed(self, *, given_up: bool) -> None:
        """Count a failure of a task."""
        (self._set_aside if given_up else self._retries).inc()

    def workers_ready(self, count: int) -> None:
        """Set the number of workers that are ready."""
        self._workers.set(count)
