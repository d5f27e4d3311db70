"""Where results are kept: a folder, or a prefix of an object store.

Both are handled as a :class:`pathlib.Path`. For a URI such as ``s3://bucket/sweep`` it is a `UPath`, which has the same
methods over fsspec. Listings are not cached, because other processes write there. What a store raises is an `OSError`
or an :class:`EnvironmentFault`.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import fsspec

from eadbench.harness.errors import UserError
from eadbench.harness.messages import redact, shown

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""The extra of this project that can read a URI, by the URI's scheme."""

WITHOUT_EXTRA = ("http", "https", "memory")
"""Other schemes that fsspec reads; what it raises of any other is not known."""

_STRICT = {
    **dict.fromkeys(("s3", "s3a"), "eadbench.harness.s3.S3FileSystem"),
    **dict.fromkeys(("http", "https"), "eadbench.harness.http_files.HTTPFileSystem"),
}
for _scheme, _name in _STRICT.items():  # imported by fsspec when it is first needed, in workers too
    fsspec.register_implementation(_scheme, _name, clobber=True)


def located(text: str) -> Path:
    """Return the path that a text names: a path of this machine, where ~ is the home folder, or a URI.

    Raises
    ------
    UserError
        The URI holds a password, or is of a scheme that no results are kept at, or nothing installed here reads it.
    """
    scheme, separator, _ = text.partition("://")
    if not separator:
        return Path(text).expanduser()
    if redact(text) != text:
        raise UserError(
            f"{redact(text)}: a URI must not hold a key or a password, which would be stored with the results; "
            "give them as the store's own settings, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if scheme == "file":
        return Path(unquote(urlsplit(text).path))
    if scheme not in (*EXTRAS, *WITHOUT_EXTRA):
        raise UserError(f"{text}: results are kept in a folder or an object store; give a folder, s3://… or gs://…")
    if scheme in EXTRAS and not urlsplit(text).netloc:
        raise UserError(f"{text}: must name a bucket: {scheme}://BUCKET/NAME")
    from upath import UPath

    path = UPath(text, use_listings_cache=False)
    try:
        path.fs  # noqa: B018 - imports the package that reads the scheme
    except ImportError as error:
        remedy = f"install it: pip install 'eadbench[{EXTRAS.get(scheme, 's3')}]'"
        raise UserError(f"{text}: what reads {scheme}:// is not installed here; {remedy}") from error
    return cast(Path, path)


def writable(text: str) -> Path:
    """Return the path that a text names, for results to be written to.

    Raises
    ------
    UserError
        See :func:`located`; or the URI can only be read.
    """
    if text.startswith(("http://", "https://")):
        raise UserError(f"{text}: can be read, but not written to; give a folder, s3://… or gs://…")
    return located(text)


def checked_name(name: str, where: str) -> str:
    """Return a name that a file gives, such as a digest, if it names a file of one folder.

    Raises
    ------
    UserError
        It could lead out of the folder: it is empty, or holds a slash, or begins with a dot.
    """
    if not re.fullmatch(r"[\w+-][\w.+-]*", name):
        raise UserError(f"{where}: must be the name of a file, of letters, digits and . _ + -; got {shown(name)}")
    return name


def refuse_links_out(root: Path) -> None:
    """Check that nothing in a folder leads out of it, so that reading or writing there touches no other file.

    Raises
    ------
    UserError
        A link leads out of the folder, or something is no file and no folder, such as a pipe.
    """
    if not is_local(root):
        return
    inside = root.resolve()
    for folder, folders, files in os.walk(inside):
        for name in (*folders, *files):
            path = Path(folder, name)
            try:
                mode = path.lstat().st_mode
                if stat.S_ISLNK(mode) and not path.resolve().is_relative_to(inside):
                    raise UserError(f"{path}: is a link that leads out of {inside}; put a copy there")
            except (FileNotFoundError, RuntimeError):  # deleted meanwhile, or a link to itself
                continue
            if not (stat.S_ISLNK(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise UserError(f"{path}: must be a file or a folder; delete it")


def read_at_most(path: Path, size: int) -> bytes:
    """Read a file of at most `size` bytes. An object store is asked once: another process may replace the file.

    Raises
    ------
    UserError
        The file is larger.
    """
    content: bytes | None
    if is_local(path):
        with path.open("rb") as file:
            content = file.read(size + 1)
    else:
        remote = cast(Any, path)
        content = remote.fs.cat_file(remote.path) if (remote.fs.size(remote.path) or 0) <= size else None
    if content is None or len(content) > size:
        raise UserError(f"{path}: is larger than {size:,} bytes, more than a sweep writes; delete it")
    return content


def is_local(path: Path) -> bool:
    """Return whether a path is in this machine's file system."""
    return isinstance(path, os.PathLike)


def is_web(path: Path) -> bool:
    """Return whether a path is on a web server."""
    return str(path).startswith(("http://", "https://"))


def is_fault_of_storage(error: Exception) -> bool:
    """Return whether a file could not be read because the storage refused or failed; damage has no error number."""
    if isinstance(error, FileNotFoundError):
        return False
    return isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno is not None)


def is_read_only(error: OSError) -> bool:
    """Return whether a file could not be written because the storage may only be read."""
    return isinstance(error, PermissionError) or error.errno == errno.EROFS


def for_arrow(paths: Sequence[Path]) -> tuple[list[str], Any]:
    """Return paths of one storage as pyarrow takes them, with their file system (None for this machine's)."""
    if not paths or is_local(paths[0]):
        return [str(path) for path in paths], None
    remote = cast(Sequence[Any], paths)
    return [path.path for path in remote], remote[0].fs


@contextmanager
def marked(folders: Sequence[Path]) -> Iterator[list[Path]]:
    """Put a marker file into each local folder, so that workers can check that they share it."""
    markers = [folder / f".here-{uuid4().hex}" for folder in folders if is_local(folder)]
    try:
        for marker in markers:
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
        yield markers
    finally:
        for marker in markers:
            marker.unlink(missing_ok=True)
