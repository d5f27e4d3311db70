"""A slow server: few requests for a cell, and no more seconds than a run has for it."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from eadbench.harness import tracking
from eadbench.harness.errors import TrackingFault
from tests.harness.tracking.sample_records import a_sweep, log_sweep
from tests.harness.tracking.tracking_server import TrackingServer


def test_logging_stops_in_time_and_goes_on_later(tmp_path: Path) -> None:
    server = TrackingServer(tmp_path / "mlflow")
    uri, whole = f"http://127.0.0.1:{server.port}", a_sweep("slow")
    try:
        log_sweep(replace(whole, invocation="first", cells=whole.cells[:1]), uri)
        one = server.requests
        log_sweep(replace(whole, invocation="second"), uri)
        assert server.requests - 2 * one <= 4 * (len(whole.cells) - 1)

        server.delay = 0.1
        with pytest.raises(TrackingFault, match=r"the server is slow, and [1-6] of 6 cells are left"):
            tracking.log_sweep(whole, uri, tmp_path, deadline=time.monotonic() + 0.6)
        server.delay = 0.0
        logged = log_sweep(whole, uri)
        assert logged.cells_written + logged.cells_found == 6 and logged.cells_written >= 1
    finally:
        server.close()
