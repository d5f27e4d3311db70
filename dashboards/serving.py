"""What `streamlit run` serves: the script, and addresses that lead to its pages.

A page's own address, such as /curves, is answered by one that names it in the query: Streamlit's page would otherwise
first look for the server below /curves, and fill the browser's console with errors.
"""

from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

from eadbench.dashboards import PAGES

__all__ = ["app"]


async def _lead(request: Request) -> RedirectResponse:
    query = request.url.query
    return RedirectResponse(f"./?page={request.url.path.rpartition('/')[2]}{'&' if query else ''}{query}")


app = st.App(
    Path(__file__).with_name("app.py"),
    routes=[Route(f"/{page}", _lead) for page in PAGES],
)
