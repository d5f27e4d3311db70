"""The explorer's script. Streamlit runs it whenever a page is opened or a choice is made."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from eadbench.dashboards import sources
from eadbench.dashboards.sources import Source
from eadbench.dashboards.views import compare, curves, detectors, images, leaderboard, sweep, table, transfer, trust
from eadbench.harness.errors import EadbenchError

_HERE = Path(__file__).parent
_COMPARE = "Compare"
# The pages that show one results folder, by title. (Streamlit would print a bare string of this script on the page.)
_PAGES: dict[str, Callable[[Source], None]] = {
    "Table": table.show,
    "Curves": curves.show,
    "Leaderboard": leaderboard.show,
    "Transfer": transfer.show,
    "Detectors": detectors.show,
    "Images": images.show,
    "Trust": trust.show,
    "Sweep": sweep.show,
}


def main() -> None:
    """Show the page that the address names."""
    pages = [_page(title, _of_chosen(show)) for title, show in _PAGES.items()]
    pages.append(_page(_COMPARE, lambda: compare.show([*sources.names()])))
    page = st.navigation(pages)
    st.set_page_config(page_title=_title(page.title), page_icon=str(_HERE / "icon.png"), layout="wide")
    st.html(_HERE / "templates" / "style.css")
    _redirect(pages)
    try:
        with st.sidebar:
            _sidebar(page.title)
        page.run()
    except EadbenchError as error:
        st.error(str(error))


def _title(page: str) -> str:
    """Return what the browser calls a page: ``Curves · digits – eadbench``."""
    names = list(sources.names())
    asked = st.session_state.get("dir") or st.query_params.get("dir")
    folder = asked if asked in names else next(iter(names), "")
    return f"{page if page == _COMPARE else f'{page} · {folder}'} – eadbench"


def _page(title: str, run: Callable[[], None]) -> st.Page:
    return st.Page(run, title=title, url_path=title.lower(), default=title == "Table")


def _redirect(pages: Sequence[st.Page]) -> None:
    """Go to the page that the address names in its query (see :mod:`dashboards.serving`)."""
    query = st.query_params.to_dict()
    if "page" not in query:
        return
    choices = {name: st.query_params.get_all(name) for name in query if name != "page"}
    target = next((page for page in pages if page.title.lower() == query["page"]), pages[0])
    st.switch_page(target, query_params=choices)


def _of_chosen(show: Callable[[Source], None]) -> Callable[[], None]:
    return lambda: show(sources.source(st.session_state["dir"]))


def _sidebar(title: str) -> None:
    """Show which results the page is of, and when they were read."""
    names, asked = list(sources.names()), st.query_params.get("dir")
    chosen = st.selectbox("Results", names, key="dir", bind="query-params", disabled=title == _COMPARE)
    if asked not in (None, *names):
        st.warning(f"The address asks for {asked}, which is not among the folders of `eadbench dashboard`.")
    if title not in (_COMPARE, "Sweep"):
        seen = sources.source(chosen).seen
        st.caption(f"Rows as of {seen:%H:%M:%S}")
        st.button("Look again", on_click=sources.look_again, help="Read what has been added since.")


main()
