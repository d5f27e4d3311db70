"""Data sets of the Hugging Face hub, by its package `datasets`: from its cache, a local folder, or the network."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from eadbench.harness.datasets.classes import LabelRule, changes_of, classes_of
from eadbench.harness.datasets.data_set import DataSet
from eadbench.harness.datasets.encoded import encoded_data_set, identity_of
from eadbench.harness.datasets.image_files import decoder_for
from eadbench.harness.datasets.own import IMAGE_COLUMNS, LABEL_COLUMNS
from eadbench.harness.datasets.paths import TEST_NAMES, notes_on_splits
from eadbench.harness.datasets.transform import Interpolation, Transform
from eadbench.harness.errors import NotHere, UserError
from eadbench.harness.messages import one_line
from eadbench.harness.places import of_stranger, refuse_elsewhere

__all__ = ["hf"]

BINARY = ("binary", "large_binary")

SAMPLED = 256
"""Images of each split whose bytes enter the identity."""


def hf(
    path: str,
    config: str | None = None,
    called: str | None = None,
    train: str | None = "train",
    test: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    download: bool = True,
    labels: LabelRule = "keep",
    size: int | None = None,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
) -> DataSet:
    """A data set of the Hugging Face hub, by the package `datasets`: from its cache, a folder, or the network.

    Small splits are decoded at the first access and kept in memory as bytes. For large ones, every node needs the same
    files in the package's cache.

    Parameters
    ----------
    path
        The data set's name on the hub, such as `cifar10`, or a local folder.
    config
        Which configuration, if the data set has several.
    train
        The split to train on; null for none.
    test
        The split to attack; unless given, `test`, `val`, `validation` or `valid`.
    download
        Whether to fetch what is not in the cache.
    """
    transform = Transform(size=size, crop=crop, interpolation=interpolation)
    folder = _local_folder(path)
    where = f"hf {path}"
    parts = _loaded(folder or path, config, download and folder is None and not of_stranger())
    train_part, test_part = _splits(parts, train, test, where)
    image_column = _column(test_part, image_column, IMAGE_COLUMNS, where)
    label_column = _column(test_part, label_column, LABEL_COLUMNS, where)
    feature = test_part.features[label_column]
    names = getattr(feature, "names", None)
    raw: list[Sequence[Any]] = []
    images = []
    for part in (train_part, test_part):
        if part is not None:
            _column(part, image_column, (), where)
            _column(part, label_column, (), where)
            if getattr(part.features[label_column], "names", None) != names:
                raise UserError(f"{where}: its splits name their classes differently")
        raw.append(_labels(part, label_column, where))
        images.append(_HubImages(part, image_column, where))
    classes = classes_of(raw, tuple(names) if names else None, rule=labels, where=where)
    name = called or Path(path).name
    content = [path if folder is None else "", config, image_column, label_column]
    fingerprint = [[split.tolist() for split in classes.labels], [split.sample() for split in images]]
    return encoded_data_set(
        name,
        identity_of(name, [*content, fingerprint], transform.changes | changes_of(labels)),
        (images[0], images[1]),
        classes,
        transform,
        decoder_for,
        notes_on_splits(where, id(train_part), id(test_part)),
    )


def _local_folder(path: str) -> str | None:
    """Return the absolute path of a local folder; None if `path` names a data set of the hub."""
    try:
        folder = Path(path).expanduser()
        if folder.is_dir():
            return str(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        pass
    if path.startswith(("/", "~", ".")):
        raise UserError(f"path must be a folder or the name of a data set of the hub, got {path!r}")
    return None


def _refuse_urls(folder: Path) -> None:
    """Refuse a folder whose description names files elsewhere: the package would fetch them even when offline."""
    from huggingface_hub import DatasetCard

    card, description = folder / "README.md", folder / ".huggingface.yaml"
    contents = [DatasetCard.load(card).data.to_dict()] if card.is_file() else []
    contents += [yaml.safe_load(description.read_text("utf-8"))] if description.is_file() else []
    if any("://" in repr(content.get("configs")) for content in contents if isinstance(content, dict)):
        raise UserError(f"{folder} names files at other places; `configs` of its README must name files in the folder")


def _loaded(path: str, config: str | None, download: bool) -> dict[str, Any]:
    """Return the splits of a data set by name; only what is not in the cache is fetched, and only with `download`."""
    try:
        import datasets
    except ImportError as error:
        raise UserError("hf needs the package datasets: pip install 'eadbench[datasets]'") from error
    datasets.disable_progress_bars()
    try:
        with _offline():
            if Path(path).is_dir():
                _refuse_urls(Path(path))
            return _from_files(path, config)
    except UserError:
        raise
    except Exception as error:  # the package raises anything: errors of files, of the network, of pyarrow
        if not download:
            right = "it must be a folder that `datasets` can load, or be in its cache (give download: true)"
            raise NotHere(f"hf {path!r} cannot be loaded offline: {_reason(error)}; {right}") from error
    try:
        return dict(datasets.load_dataset(path, config))
    except Exception as error:
        right = "put it into the cache of `datasets` on a machine with a network, or give a local folder"
        raise NotHere(f"hf {path!r} is not in the cache and was not fetched ({_reason(error)}); {right}") from error


def _from_files(path: str, config: str | None) -> dict[str, Any]:
    """Return the splits of a data set that `save_to_disk` wrote, or that `load_dataset` can read."""
    import datasets

    if Path(path, "dataset_dict.json").is_file() or Path(path, "state.json").is_file():
        loaded = datasets.load_from_disk(path)
        return dict(loaded) if isinstance(loaded, dict) else {"test": loaded}
    return dict(datasets.load_dataset(path, config))


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep the packages of the hub from making requests."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _reason(error: Exception) -> str:
    return one_line(error)[:200] or type(error).__name__


def _splits(parts: dict[str, Any], train: str | None, test: str | None, where: str) -> tuple[Any, Any]:
    """Return the training split, None if there is none, and the test split; the one split of a data set is both."""
    known = ", ".join(parts)
    for name in (train, test):
        if name is not None and name not in parts and name != "train":
            raise UserError(f"{where} has no split {name!r}; its splits are {known}")
    test = test or next((name for name in TEST_NAMES if name in parts), None)
    if test is None and train == "train" and len(parts) == 1:
        [only] = parts.values()
        return only, only
    if test is None:
        raise UserError(f"{where} has no split {', '.join(TEST_NAMES)}; name one of its splits: test: {known}")
    if test == train:
        raise UserError(f"{where}: train and test are both {test!r}; give train: null if nothing is trained")
    return parts.get(train) if train else None, parts[test]


def _column(part: Any, given: str | None, known: Sequence[str], where: str) -> str:
    """Return the column that is given, or the first of the known ones that there is."""
    column = next((name for name in ([given] if given is not None else known) if name in part.column_names), None)
    if column is None:
        wanted = repr(given) if given is not None else " or ".join(map(repr, known))
        raise UserError(f"{where} has no column {wanted}; its columns are {', '.join(part.column_names)}")
    return column


def _labels(part: Any, column: str, where: str) -> list[Any]:
    """Return the labels of a split, integers or texts."""
    labels = [] if part is None else list(part.with_format(None)[column])
    kinds = {type(label) for label in labels}
    if not (kinds <= {int} or kinds <= {str}):
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise UserError(f"{where}: column {column!r} must hold integers or texts, got {names}")
    return labels


class _HubImages:
    """The encoded images of a split; they stay in the package's memory-mapped files."""

    def __init__(self, part: Any, column: str, where: str) -> None:
        self._part, self._column, self._where = None, column, where
        if part is not None:
            import datasets

            kind = part.features[column]
            if isinstance(kind, datasets.Image):
                part = part.cast_column(column, datasets.Image(decode=False))
            elif not (isinstance(kind, dict) and "bytes" in kind) and getattr(kind, "dtype", None) not in BINARY:
                raise UserError(f"{where}: column {column!r} must hold images, got {kind}")
            self._part = part.with_format(None).select_columns([column])

    def __len__(self) -> int:
        return 0 if self._part is None else len(self._part)

    def __getitem__(self, index: int) -> bytes | Path:
        image = self._part[index][self._column]  # type: ignore[index]
        encoded, path = (image.get("bytes"), image.get("path")) if isinstance(image, dict) else (image, None)
        if isinstance(encoded, bytes):
            return encoded
        if path:
            refuse_elsewhere(path, self.where(index))
        if not path or not Path(path).is_file():
            raise UserError(f"{self.where(index)} has no bytes, and its file is not there: {path}")
        return Path(path)

    def where(self, index: int) -> str:
        return f"image {index} of {self._where}"

    def sample(self) -> list[str]:
        """Return the SHA-256 of some images that are spread over the split."""
        count = min(SAMPLED, len(self))
        sources = [self[index * len(self) // count] for index in range(count)]
        encoded = [source.read_bytes() if isinstance(source, Path) else source for source in sources]
        return [hashlib.sha256(image).hexdigest() for image in encoded]
