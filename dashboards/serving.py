"""The application that `streamlit run` serves: the script, and redirects to its pages.

A page's own address, such as /curves, redirects to one that names the page in its query. Otherwise Streamlit's page
would first look for its server below /curves, and fill the browser's console with errors.
"""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

from eadbench.dashboards import PAGES
from eadbench.dashboards.hosts import KnownHosts

__all__ = ["app"]


async def _redirect(request: Request) -> RedirectResponse:
    query = request.url.query
    return RedirectResponse(f"./?page={request.url.path.rpartition('/')[2]}{'&' if query else ''}{query}")


app = st.App(
    Path(__file__).with_name("app.py"),
    routes=[Route(f"/{page}", _redirect) for page in PAGES],
    middleware=[Middleware(KnownHosts)],
)
