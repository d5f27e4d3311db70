"""A distributed benchmark of adversarial attacks on image classifiers.

``from eadbench import run, plan, report, leaderboard, robust, Results`` is the Python API
(:mod:`eadbench.harness.api`). It is imported when it is first used, so that ``eadbench.attacks`` needs torch alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eadbench.harness.api import Results, leaderboard, plan, report, robust, run

__all__ = ["Results", "leaderboard", "plan", "report", "robust", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from eadbench.harness import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
