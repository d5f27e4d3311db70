"""How long a sweep said that it would take, how long it took, and what its workers cost."""

import time
from dataclasses import dataclass

from eadbench.harness.execution.pace import span_text

__all__ = ["Forecast", "Meter", "worker_price"]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The seconds of a sweep's attacks, as first expected and as they were."""

    expected: float
    after: float
    """Seconds of work after which that was expected."""
    took: float

    def __str__(self) -> str:
        ratio = f" ({self.expected / self.took:.2g} of it)" if self.took else ""
        expected = f"{span_text(self.expected)} were expected{ratio}"
        return f"{span_text(self.took)} for the attacks; after {span_text(self.after)}, {expected}"


class Meter:
    """The hours that workers have been there, and what they cost.

    Parameters
    ----------
    price
        Of a worker's hour; None if nobody asks.
    """

    def __init__(self, price: float | None) -> None:
        self.price, self._workers, self._hours, self._read = price, 0, 0.0, time.monotonic()

    def count(self, workers: int) -> None:
        """Note how many workers there are from now on."""
        self._hours, self._read, self._workers = self.hours, time.monotonic(), workers

    @property
    def hours(self) -> float:
        """Hours of all workers until now."""
        return self._hours + self._workers * (time.monotonic() - self._read) / 3600

    @property
    def cost(self) -> float | None:
        """What they cost until now."""
        return None if self.price is None else self.hours * self.price


def worker_price(price: float, gpus: float) -> float:
    """Return the price of a worker's hour, from that of a GPU; a worker without a GPU counts as one."""
    return price * (gpus or 1.0)
