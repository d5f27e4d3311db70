"""Log sweeps to MLflow.

A spec is an experiment, an invocation a parent run, and each victim and each cell a run under it. Each victim is a
logged model too. The code searches for every run by its tags before it writes, so logging a sweep again adds only what
is missing: it completes a run that was cut off, and leaves a finished run alone. MLflow takes seconds to import. Only
this package imports it, when it logs the first sweep.
"""

from eadbench.harness.tracking.sweeps import log_sweep

__all__ = ["log_sweep"]
