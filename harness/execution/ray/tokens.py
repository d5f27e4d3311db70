"""Ask a Ray cluster whether it takes this command's token. Ray itself would try for half a minute, and log it."""

import os
from collections.abc import Mapping
from pathlib import Path

from eadbench.harness.errors import EnvironmentFault

__all__ = ["check_token", "token_of"]

SECONDS = 5.0
"""Seconds to wait for an answer."""
_METHOD = "/ray.rpc.InternalKVGcsService/InternalKVKeys"
"""A question that every cluster answers."""


def check_token(address: str) -> None:
    """Refuse a cluster that does not take this command's token; return if it does, or does not say.

    Raises
    ------
    EnvironmentFault
        It asks for a token, and none is set here, or another one.
    """
    place = _place(address, os.environ)
    if place is None:
        return
    import grpc

    token = token_of(os.environ)
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(place, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_METHOD)(b"", timeout=SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                return
            problem = "takes another token than the one that is set here" if token else "asks for a token"
            raise EnvironmentFault(
                f"--address {address}: the cluster {problem}; `ray get-auth-token` on its head prints it: put it into "
                "~/.ray/auth_token or RAY_AUTH_TOKEN, and set RAY_AUTH_MODE=token"
            ) from None


def token_of(environment: Mapping[str, str]) -> str | None:
    """Return the token that Ray sends: that of the environment, of the file that it names, or of the home folder.

    None if there is none, or `RAY_AUTH_MODE` is not ``token``; unless it is set, a token in the home folder is sent.
    """
    if environment.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if token := environment.get("RAY_AUTH_TOKEN"):
        return token.strip()
    file = environment.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    try:
        return Path(file).read_text().strip() or None
    except OSError:
        return None


def _place(address: str, environment: Mapping[str, str]) -> str | None:
    """Return host and port of the cluster at an address; None if they are not known, as for Ray's client."""
    if address == "auto":
        file = Path(environment.get("RAY_TMPDIR") or "/tmp") / "ray" / "ray_current_cluster"
        address = environment.get("RAY_ADDRESS") or (file.read_text().strip() if file.is_file() else "")
    _, _, port = address.rpartition(":")
    return address if port.isdecimal() and "://" not in address else None
