"""Galleries of adversarial images, as in the paper's figures 6 and 7: of as many cells as the file has room for."""

import pandas as pd

from eadbench.dashboards.lines import described
from eadbench.dashboards.page.markup import Section, paragraph, plain, within
from eadbench.dashboards.pictures import gallery
from eadbench.harness import datasets
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.parquet.adversarial import read_images
from eadbench.harness.parquet.rows import keys_of
from eadbench.harness.parquet.stored import StoredRows
from eadbench.harness.reporting.gallery import choose
from eadbench.harness.reporting.report import Found
from eadbench.harness.results.folder import Results

__all__ = ["section"]

_COLUMNS = ("cell", "shard", "image", "label", "target", "success")
_MOST_TARGETS = 10
"""Of an image, where there are more classes than the columns of a grid."""
_CAPTION = "Of each class the first image with the most successes. Framed: originals; ×: the attack failed."


def section(results: Results, found: Found, stored: StoredRows, *, room: int) -> Section | None:
    """The galleries that `room` has bytes for; None where no images are stored."""
    lines = stored.lines[stored.lines["model"] == stored.lines["evaluated_on"]]
    if found.spec.save_images != "successes" or lines.empty:
        return None
    try:
        body = _galleries(results, found, stored, lines, room)
    except (UserError, OSError, RuntimeError) as error:  # the last is how torchvision says that files are not there
        body = paragraph(f"There are no galleries: {error}", "note")
    return Section(anchor="images", title="Images", body=body)


def _galleries(results: Results, found: Found, stored: StoredRows, lines: pd.DataFrame, room: int) -> str:
    data = _data(results, found)
    texts = described(found.summary, found.victims).assign(cell=found.summary["cell"])
    titles = texts.drop_duplicates("cell").set_index("cell")[["setting", "victim"]]

    def drawn(line: int) -> str:
        cell = str(lines.at[line, "cell"])
        setting, victim = str(titles.at[cell, "setting"]), str(titles.at[cell, "victim"])
        rows = stored.read(_COLUMNS, [line])
        grid = _grid(results, rows, data, found.spec.images.split, f"{setting}: {victim}")
        return f"<section><h3>{plain(setting)} <small>{plain(victim)}</small></h3>{grid}</section>"

    shown = dict(within(((line, drawn(line)) for line in _in_turn(lines)), room))
    grids = "".join(shown[line] for line in sorted(shown))
    left = len(lines) - len(shown)
    cut = f" {left:,} of {len(lines):,} cells do not fit into this file: `eadbench report --figures`." if left else ""
    return f'<div class="galleries">{grids}</div>' + paragraph(_CAPTION + cut, "note")


def _data(results: Results, found: Found) -> DataSet:
    """The data set that was attacked.

    Raises
    ------
    UserError
        It is not on this machine.
    """
    data, (identity, _) = datasets.at_hand(found.spec.dataset), results.victims()
    if isinstance(data, str):
        raise UserError(f"the data set is not at hand. {data}")
    if data.identity != identity:
        raise UserError(f"the data set at hand is {data.identity}, and the one that was attacked is {identity}.")
    return data


def _in_turn(lines: pd.DataFrame) -> list[int]:
    """The lines, the first β and κ of every victim and attack first, then the second of each."""
    turn = lines.groupby(["model", "attack", "norm", "decision_rule"], dropna=False).cumcount()
    return [int(line) for line in turn.sort_values(kind="stable").index]


def _grid(results: Results, rows: pd.DataFrame, data: DataSet, split: str, said: str) -> str:
    """The gallery of a cell."""
    chosen = choose(rows)
    shown = rows[rows["image"].isin(chosen)].sort_values("target", kind="stable")
    shown = shown.groupby("image", sort=False).head(_MOST_TARGETS)
    parts = [results.image_part(shard) for shard in dict.fromkeys(shown["shard"])]
    keys, pixels = read_images(parts, cells=set(shown["cell"]), images=chosen)
    stored = dict(zip(keys_of(keys), pixels, strict=True))
    originals = getattr(data, split).images(chosen).numpy()
    return gallery(
        dict(zip(chosen, originals, strict=True)),
        dict(zip(shown["image"].tolist(), shown["label"].tolist(), strict=True)),
        {(image, target): stored.get((cell, image, target)) for cell, image, target in keys_of(shown)},
        data.class_names,
        said=said,
    )
