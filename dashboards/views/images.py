"""Adversarial images: a grid of a setting's, and one example large."""

from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from eadbench.dashboards import choices, pictures
from eadbench.dashboards.lines import described
from eadbench.dashboards.sources import Source
from eadbench.dashboards.views import example
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.datasets import DataSet
from eadbench.harness.labels import OWN
from eadbench.harness.parquet.rows import keys_of
from eadbench.harness.reporting import gallery

_GRID, _ONE = "grid", "one example"
_COLUMNS = ("cell", "shard", "image", "label", "target", "success")


def show(source: Source) -> None:
    """The page."""
    st.title("Images")
    found = rows_or_stop(source)
    if found.spec.save_images == "none":
        st.info("This sweep stored no images. Give its spec `save_images: successes`, and run it into a new folder.")
        return
    texts = described(found.summary, found.victims)
    own = (texts["tested"] == OWN) & (found.summary["case"] == "best")
    lines, texts = found.summary[own], texts[own]
    with st.container(horizontal=True):
        victim = choices.one("Victim", list(dict.fromkeys(texts["victim"])), key="victim", width=choices.WIDE)
        here = texts["victim"] == victim
        lines, texts = lines[here], texts[here]
        setting = choices.one("Attack", list(dict.fromkeys(texts["setting"])), key="setting", width=choices.WIDE)
        view = choices.one("Show", [_GRID, _ONE], key="view")
        line = lines[texts["setting"] == setting].iloc[:1]
        rows = source.read(_COLUMNS, int(source.numbers(line).iloc[0]))
        chosen = gallery.choose(rows)
        if view == _ONE:
            image, target = _example(rows, chosen[0])
    data = source.data()
    if isinstance(data, str):
        st.warning(f"The originals are not shown: the data set is not here. {data}")
    if view == _ONE:
        addresses = [_of_example(image, target, setting=text) for text in texts["setting"]]
        lines = lines.assign(setting=texts["setting"], address=addresses)
        example.show(source, found, lines, line, (image, target), data)
    else:
        _grid(source, rows[rows["image"].isin(chosen)], chosen, data, setting)


def _grid(source: Source, rows: pd.DataFrame, chosen: list[int], data: DataSet | str, setting: str) -> None:
    """The paper's figures 6 and 7."""
    stored = source.adversarial(rows)
    adversarial = {(image, target): stored.get((cell, image, target)) for cell, image, target in keys_of(rows)}
    labels = dict(zip(rows["image"].tolist(), rows["label"].tolist(), strict=True))
    originals = example.originals(source, data, chosen)
    names = example.class_names(data, labels.values(), [target for _, target in adversarial])
    st.html(pictures.gallery(originals, labels, adversarial, names, _of_example, said=f"Adversarial images: {setting}"))
    st.caption(
        "Of each class the first image with the most successes. Framed: originals; ×: the attack failed. "
        "An image leads to its example."
    )


def _of_example(image: int, target: int | None, **other: str) -> str:
    """The address of an example, which differs from that of what is shown in `other` choices too."""
    changed = {**other, "view": _ONE, "image": str(image)} | ({} if target is None else {"target": str(target)})
    kept = [(name, value) for name in st.query_params for value in st.query_params.get_all(name)]
    return "?" + urlencode([*(one for one in kept if one[0] not in changed), *changed.items()])


def _example(rows: pd.DataFrame, first: int) -> tuple[int, int | None]:
    """The image and target that are shown large; the first that succeeded, unless others are chosen."""
    images = [str(image) for image in sorted(set(rows["image"].tolist()))]
    image = int(choices.one("Image", images, key="image", default=str(first)))
    of_image = rows[rows["image"] == image].sort_values("target", kind="stable")
    if of_image["target"].isna().all():
        return image, None
    targets, broken = of_image["target"].astype(str).tolist(), of_image["success"].to_numpy(dtype=bool)
    default = targets[int(broken.argmax())]
    return image, int(choices.one("Target class", targets, key="target", default=default))
