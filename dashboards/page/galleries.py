"""Galleries of adversarial images, as in the paper's figures 6 and 7, of as many cells as the file has room for."""

from collections.abc import Callable

import pandas as pd
from markupsafe import Markup

from eadbench.dashboards.lines import described
from eadbench.dashboards.page.section import Section, fitting
from eadbench.dashboards.pictures import gallery_html
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.parquet.adversarial import read_images
from eadbench.harness.parquet.rows import keys_of
from eadbench.harness.reporting.gallery import choose
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["section"]

_COLUMNS = ("cell", "shard", "image", "label", "target", "success")
_TARGET_LIMIT = 10
"""Targets of an image that are shown, where there are more classes than a grid has columns."""


def section(snapshot: Snapshot, summary: Summary, *, room: int) -> Section | None:
    """Return the galleries that fit into `room` bytes; None if no images are stored."""
    stored = snapshot.stored_rows.lines
    lines = stored[stored["model"] == stored["evaluated_on"]]
    if summary.spec.save_images != "successes" or lines.empty:
        return None
    try:
        body = _galleries(snapshot, lines, _draw(snapshot, summary), room)
    except (UserError, OSError, RuntimeError) as error:  # torchvision raises the last where files are missing
        body = render("galleries.html.j2", problem=str(error))
    return Section(anchor="images", title="Images", body=body)


def _galleries(snapshot: Snapshot, lines: pd.DataFrame, draw: Callable[[int], Markup], room: int) -> Markup:
    """Return the galleries of some cells, in the order of the lines."""
    galleries = dict(fitting(((line, draw(line)) for line in _in_turn(lines)), room))
    return render(
        "galleries.html.j2",
        problem="",
        galleries=[galleries[line] for line in sorted(galleries)],
        total=len(lines),
        left_out=len(lines) - len(galleries),
    )


def _in_turn(lines: pd.DataFrame) -> list[int]:
    """Return the numbers of the lines: the first β and κ of every victim and attack, then the second of each."""
    turn = lines.groupby(["model", "attack", "norm", "decision_rule", "parameters"], dropna=False).cumcount()
    return [int(line) for line in turn.sort_values(kind="stable").index]


def _draw(snapshot: Snapshot, summary: Summary) -> Callable[[int], Markup]:
    """Return the function that draws the gallery of a line."""
    data = _data(snapshot)
    lines = summary.own.drop_duplicates("cell")
    titles = described(summary, lines).set_axis(lines["cell"])[["setting", "victim"]]

    def draw(line: int) -> Markup:
        rows = snapshot.stored_rows.read(_COLUMNS, [line])
        setting, victim = titles.loc[rows["cell"].iloc[0]]
        gallery = _grid(snapshot, rows, data, f"{setting}: {victim}")
        return render("gallery_of_cell.html.j2", setting=setting, victim=victim, gallery=gallery)

    return draw


def _data(snapshot: Snapshot) -> DataSet:
    """Return the data set that was attacked.

    Raises
    ------
    UserError
        It is not on this machine.
    """
    data = snapshot.data()
    if isinstance(data, str):
        raise UserError(f"the data set is not on this machine. {data}")
    if data.identity != snapshot.dataset:
        raise UserError(f"the data set here is {data.identity}, and the one that was attacked is {snapshot.dataset}.")
    return data


def _grid(snapshot: Snapshot, rows: pd.DataFrame, data: DataSet, title: str) -> Markup:
    """Return the gallery of a cell's rows."""
    chosen = choose(rows)
    shown = rows[rows["image"].isin(chosen)].sort_values("target", kind="stable")
    shown = shown.groupby("image", sort=False).head(_TARGET_LIMIT)
    parts = [snapshot.folder.image_part(shard) for shard in dict.fromkeys(shown["shard"])]
    keys, pixels = read_images(parts, cells=set(shown["cell"]), images=chosen)
    stored = dict(zip(keys_of(keys), pixels, strict=True))
    originals = getattr(data, snapshot.spec.images.split).images(chosen).numpy()
    return gallery_html(
        dict(zip(chosen, originals, strict=True)),
        dict(zip(shown["image"].tolist(), shown["label"].tolist(), strict=True)),
        {(image, target): stored.get((cell, image, target)) for cell, image, target in keys_of(shown)},
        data.class_names,
        aria_label=title,
    )
