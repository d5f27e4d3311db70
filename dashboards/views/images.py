"""Adversarial images: the grid of one setting, or one example large."""

from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from eadbench.dashboards import choices
from eadbench.dashboards.lines import described
from eadbench.dashboards.pictures import Example, gallery_html
from eadbench.dashboards.rendering import as_text
from eadbench.dashboards.sources import Source
from eadbench.dashboards.views import example
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.datasets import DataSet
from eadbench.harness.parquet.rows import keys_of
from eadbench.harness.reporting import gallery

_GRID, _EXAMPLE = "grid", "one example"
_COLUMNS = ("cell", "shard", "image", "label", "target", "success")


def show(source: Source) -> None:
    """Show the page."""
    st.title("Images")
    summary = rows_or_stop(source)
    if summary.spec.save_images == "none":
        st.info("This sweep stored no images. Give its spec `save_images: successes`, and run it into a new folder.")
        return
    lines = summary.own[summary.own["case"] == "best"]
    texts = described(summary, lines)
    with st.container(horizontal=True):
        victim = choices.select("Victim", list(dict.fromkeys(texts["victim"])), key="victim", width=choices.WIDE)
        here = texts["victim"] == victim
        lines, texts = lines[here], texts[here]
        setting = choices.select("Attack", list(dict.fromkeys(texts["setting"])), key="setting", width=choices.WIDE)
        view = choices.select("Show", [_GRID, _EXAMPLE], key="view")
        line = lines[texts["setting"] == setting].iloc[:1]
        rows = source.read(_COLUMNS, int(source.numbers(line).iloc[0]))
        images = gallery.choose(rows)
        if view == _EXAMPLE:
            image, target = _chosen_example(rows, images[0])
    data = source.data()
    if isinstance(data, str):
        st.warning(f"The originals are not shown: the data set is not here. {as_text(data)}")
    if view == _EXAMPLE:
        addresses = [_address_of(image, target, setting=text) for text in texts["setting"]]
        lines = lines.assign(setting=texts["setting"], address=addresses)
        example.show(source, summary, lines, line, (image, target), data)
    else:
        _grid(source, rows[rows["image"].isin(images)], images, data, setting)


def _grid(source: Source, rows: pd.DataFrame, images: list[int], data: DataSet | str, setting: str) -> None:
    """Show the grid of the paper's figures 6 and 7."""
    stored = source.adversarial(rows)
    adversarial = {(image, target): stored.get((cell, image, target)) for cell, image, target in keys_of(rows)}
    labels = dict(zip(rows["image"].tolist(), rows["label"].tolist(), strict=True))
    originals = example.originals(source, data, images)
    names = example.class_names(source, data, labels.values(), [target for _, target in adversarial])
    title = f"Adversarial images: {setting}"
    st.html(gallery_html(originals, labels, adversarial, names, _address_of, aria_label=title))
    st.caption(
        "For each class, the first image with the most successes. Framed: originals; ×: the attack failed. Press an "
        "image to see its example."
    )


def _address_of(image: int, target: int | None, **changes: str) -> str:
    """Return the address of an example's page, with the present choices except those given here."""
    changed = {**changes, "view": _EXAMPLE, "image": str(image)} | ({} if target is None else {"target": str(target)})
    present = [(name, value) for name in st.query_params for value in st.query_params.get_all(name)]
    return "?" + urlencode([*((name, value) for name, value in present if name not in changed), *changed.items()])


def _chosen_example(rows: pd.DataFrame, first: int) -> Example:
    """Return the image and target that are chosen, at first the image `first` and its first target that succeeded."""
    images = [str(image) for image in sorted(set(rows["image"].tolist()))]
    image = int(choices.select("Image", images, key="image", default=str(first)))
    of_image = rows[rows["image"] == image].sort_values("target", kind="stable")
    if of_image["target"].isna().all():
        return image, None
    targets, successes = of_image["target"].astype(str).tolist(), of_image["success"].to_numpy(dtype=bool)
    default = targets[int(successes.argmax())]
    return image, int(choices.select("Target class", targets, key="target", default=default))
