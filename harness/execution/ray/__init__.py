"""Workers as actors on a Ray cluster. Nothing else in the project imports ray.

::

    executor.py     RayExecutor: the loop that gives tasks to workers and takes their outcomes
    worker_pool.py  the workers: started, replaced when they are lost, as many as the cluster has room for
    policy.py       its decisions: how many workers, when to give up, whether to retry a task
    queue.py        which task is next
    actor.py        the worker inside an actor
    sending.py      the data set on its way to workers
    connection.py   joining or starting a cluster
    tokens.py       whether a cluster takes this command's token
    metrics.py      counters and gauges on Ray's Prometheus endpoint
"""

import os

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # a local cluster listens on loopback only
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from eadbench.harness.execution.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
