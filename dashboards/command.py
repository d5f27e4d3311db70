"""The command `eadbench dashboard`, which starts the explorer's server."""

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from eadbench.dashboards.hosts import HOSTS
from eadbench.harness.commands.options import AllowCode, Folders
from eadbench.harness.errors import EnvironmentFault, UserError

# Flags of `streamlit run`. The browser loads nothing from other machines, and reports nothing to them.
_FLAGS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "theme.light.primaryColor": "#0072B2",
    "theme.dark.primaryColor": "#56B4E9",
    "theme.light.backgroundColor": "#ffffff",  # as in style.css
    "theme.dark.backgroundColor": "#171614",
}


def dashboard(
    folders: Folders,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8501,
    host: Annotated[
        str, typer.Option(help="Address to listen on; with 0.0.0.0, other machines reach the page too.")
    ] = "127.0.0.1",
    host_name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another host name of this page, such as a proxy's."),
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Serve a web page of the tables, curves, images and progress of sweeps, and of their differences."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder; give the folders that `eadbench run` wrote")
    _check_free(host, port)
    os.environ[HOSTS] = ",".join([host, *(host_name or ())])
    from streamlit.web import cli  # takes a second to import

    flags = _FLAGS | {"server.address": host, "server.port": str(port)}
    script = Path(__file__).with_name("serving.py")
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    own = [*(["--allow-code"] if allow_code else []), *map(str, folders)]
    cli.main(["run", *arguments, str(script), "--", *own], standalone_mode=False)


def _check_free(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        reason = error.strerror or error
        raise EnvironmentFault(f"--host {host} --port {port}: cannot listen there: {reason}; give others") from error
