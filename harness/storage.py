"""Where results are kept: a folder, or a prefix of an object store.

Both are handled as a :class:`pathlib.Path`: for a URI such as ``s3://bucket/sweep`` it is a `UPath`, which has the same
methods over fsspec. Listings are not cached, because other processes write there.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from eadbench.harness.errors import UserError
from eadbench.harness.tracking_uri import redact

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""By a URI's scheme, the extra of this project that reads it."""


def located(text: str) -> Path:
    """The place that a path or a URI names.

    Raises
    ------
    UserError
        A URI with a password in it, or of a scheme that nothing installed here reads.
    """
    scheme, separator, _ = text.partition("://")
    if not separator:
        return Path(text)
    if redact(text) != text:
        raise UserError(
            f"{redact(text)}: a URI must not hold a key or a password, which would be stored with the results; "
            "give them as the store's own settings, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if scheme == "file":
        return Path(unquote(urlsplit(text).path))
    from upath import UPath

    try:
        place = UPath(text, use_listings_cache=False)
        place.fs  # noqa: B018 - imports what reads the scheme
    except ImportError as error:
        extra = EXTRAS.get(scheme)
        wanted = f"install it: pip install 'eadbench[{extra}]'" if extra else str(error)
        raise UserError(f"{text}: what reads {scheme}:// is not installed here; {wanted}") from error
    except ValueError as error:
        raise UserError(f"{text}: no storage is called {scheme}://; give a folder, s3://… or gs://…") from error
    return cast(Path, place)


def is_local(place: Path) -> bool:
    """Whether a place is a folder or a file that this machine's file system shows."""
    return isinstance(place, os.PathLike)


def for_arrow(places: Sequence[Path]) -> tuple[list[str], Any]:
    """Places of one storage as pyarrow takes them: their paths, and their file system (None for this machine's)."""
    if not places or is_local(places[0]):
        return [str(place) for place in places], None
    remote = cast(Sequence[Any], places)
    return [place.path for place in remote], remote[0].fs


@contextmanager
def marked(places: Sequence[Path]) -> Iterator[list[Path]]:
    """Files in those of the places that are folders, by which other machines can tell that they see them too."""
    marks = [place / f".here-{uuid4().hex}" for place in places if is_local(place)]
    try:
        for mark in marks:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        yield marks
    finally:
        for mark in marks:
            mark.unlink(missing_ok=True)
