"""Sweeps in MLflow: one experiment per spec, one parent run per invocation, under it a run per victim and per cell.

Each victim is a logged model as well. Everything is looked for by its tags before it is written, so logging a sweep
again adds only what is missing: a run that was cut off between its creation and its end is completed, one that has
ended is left alone. MLflow takes seconds to import and is therefore imported in this package only, when the first
sweep is logged.
"""

from eadbench.harness.tracking.sweeps import log_sweep

__all__ = ["log_sweep"]
