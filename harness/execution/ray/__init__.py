"""Workers as actors on a Ray cluster. Nothing else in the project imports ray.

::

    dispatch.py    RayExecutor: the loop that gives tasks to workers and takes their outcomes
    jobs.py        which task is next, and what becomes of one that failed
    team.py        the workers: started, greeted, replaced, as many as the cluster has room for
    remote.py      what runs in an actor
    code.py        the code that workers are sent
    connection.py  joining or starting a cluster; how many workers it has room for
    metrics.py     counters and gauges on Ray's Prometheus endpoint
"""

import os

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # a local cluster listens on loopback only
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from eadbench.harness.execution.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
