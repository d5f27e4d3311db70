"""Without a home folder, as a container's random user has none."""

from pathlib import Path
from typing import Any

import pytest

from eadbench.harness.execution.ray.connection import home_holds_token
from eadbench.harness.home import ensure_home


def test_a_home_is_made_only_for_a_user_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ensure_home()
    assert Path.home() == tmp_path

    def unknown(_: int) -> Any:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    ensure_home()
    assert Path.home() != tmp_path and Path.home().stat().st_mode & 0o777 == 0o700
    Path.home().rmdir()


@pytest.mark.parametrize(
    ("environment", "holds"),
    [
        ({}, False),
        ({"RAY_AUTH_MODE": "disabled"}, True),
        ({"RAY_AUTH_MODE": "token"}, False),
        ({"RAY_AUTH_TOKEN": "t"}, True),
        ({"RAY_AUTH_TOKEN_PATH": "/token"}, True),
    ],
)
def test_rays_token_needs_a_home_that_holds_it(
    environment: dict[str, str], holds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert home_holds_token(environment) is holds
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_holds_token(environment)
