"""The explorer answers no page that has given its own name this machine's address (DNS rebinding)."""

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from eadbench.dashboards import hosts
from eadbench.dashboards.hosts import HOSTS, is_known
from eadbench.dashboards.serving import app


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:8501", True),
        ("127.0.0.1:8501", True),
        ("[::1]:8501", True),
        ("[::1]", True),
        ("192.168.1.7", True),
        ("bench.example:8501", True),
        ("BENCH.example.:8501", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:8501", False),
        ("", False),
    ],
)
def test_hosts(host: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOSTS, "0.0.0.0,bench.example")
    hosts._own_names.cache_clear()
    assert is_known(host) == known
    hosts._own_names.cache_clear()


def test_the_explorer_refuses_a_foreign_host() -> None:
    headers = {"host": "evil.example", "origin": "http://evil.example"}
    client = TestClient(app)
    assert client.get("/curves", headers=headers, follow_redirects=False).status_code == 400
    assert client.get("/curves", headers={"host": "localhost"}, follow_redirects=False).status_code == 307
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/_stcore/stream", headers=headers):
        pass
    assert refused.value.code == 1008
