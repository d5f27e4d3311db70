"""Find the files of a data set's splits. Names that begin with a dot are ignored."""

from pathlib import Path

from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.harness.places import refuse_elsewhere

__all__ = ["TEST_NAMES", "existing_folder", "matching", "notes_on_splits", "split_files"]

TEST_NAMES = ("test", "val", "validation", "valid")
"""What layouts call the test split; the first that is there counts."""


def existing_folder(path: str) -> Path:
    """Return a path of the spec that must be a folder."""
    try:
        root = Path(path).expanduser()
        if root.is_dir():
            return root
    except (OSError, RuntimeError, ValueError):  # the name is too long, ~user does not exist, or a byte is 0
        pass
    raise UserError(f"path must be a folder, got {shown(path)}")


def split_files(root: Path, train: str, test: str, suffix: str) -> tuple[list[Path], list[Path]]:
    """Return the files of the training and the test split by patterns of names.

    With the patterns `train*<suffix>` and `test*<suffix>`, there may be no training file, and the test files may be
    named after another of :data:`TEST_NAMES`. If no file is named so, the training files, or else all files, serve for
    both splits.

    Raises
    ------
    UserError
        A pattern is none, or matches no file.
    """
    train_files = matching(root, train)
    if not train_files and train != f"train*{suffix}":
        raise UserError(f"no file in {root} matches {train!r}")
    patterns = [f"{name}*{suffix}" for name in TEST_NAMES] if test == f"test*{suffix}" else [test]
    test_files = next(filter(None, (matching(root, pattern) for pattern in patterns)), [])
    if not test_files and (train, test) == (f"train*{suffix}", f"test*{suffix}"):
        train_files = test_files = train_files or matching(root, f"*{suffix}")
    if not test_files:
        missing = patterns if train_files else [train, *patterns]
        raise UserError(f"no file in {root} matches {' or '.join(map(repr, missing))}; a test split is needed")
    return train_files, test_files


def notes_on_splits(where: object, train: object, test: object) -> list[str]:
    """Return a note that one split serves for both, if it does; nothing else."""
    if train != test:
        return []
    danger = "a victim that is trained here is attacked on images that it learned from"
    return [f"{where} has one split, which serves for training and test: {danger}"]


def matching(root: Path, pattern: str) -> list[Path]:
    """Return the files that match a pattern, sorted."""
    try:
        paths = sorted(path for path in root.glob(pattern) if not path.name.startswith("."))
    except (ValueError, NotImplementedError, IndexError) as error:
        raise UserError(f"{pattern!r} is no pattern of file names: {error}") from error
    for path in paths:
        refuse_elsewhere(path)
    return paths
