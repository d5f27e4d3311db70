"""Entries of torch.hub: `torchhub:folder:entry`, or `torchhub:owner/name:reference:entry` in torch.hub's cache.

An entry is code of its repository, and is run. Nothing of a repository is fetched.
"""

import contextlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from eadbench.models.code import refuse_code

__all__ = ["describe", "network"]


def describe(name: str, parameters: Mapping[str, Any], *, normalised: bool) -> dict[str, Any]:
    """Return nothing: an entry does not say how many classes its network has, nor its normalisation."""
    _folder(name)
    return {"classes": None}


def network(
    name: str, facts: Mapping[str, Any], parameters: Mapping[str, Any], *, classes: int | None, published: bool
) -> Any:
    """Call the entry, with `pretrained` and `num_classes` if it takes them."""
    refuse_code(f"torchhub:{name}")
    arguments = dict(parameters)
    with _entry(_folder(name), name.rpartition(":")[2]) as entry:
        takes = inspect.signature(entry).parameters
        if "pretrained" in takes:
            arguments["pretrained"] = published
        elif "weights" in takes:
            arguments["weights"] = arguments.get("weights", "DEFAULT") if published else None
        if "num_classes" in takes and classes is not None:
            arguments["num_classes"] = classes
        return entry(**arguments)


def _folder(name: str) -> Path:
    """Return the folder of a repository, given or in torch.hub's cache."""
    place, _, entry = name.rpartition(":")
    if not place or not entry:
        raise ValueError("must be torchhub:folder:entry, or torchhub:owner/name:reference:entry")
    folder = Path(place).expanduser()
    if not folder.is_dir():
        cache = Path(torch.hub.get_dir())
        repository, _, reference = place.partition(":")
        cached = f"{repository}_{reference}".replace("/", "_") if reference else f"{repository}_*".replace("/", "_")
        folders = sorted(path for path in cache.glob(cached) if path.is_dir())
        if len(folders) != 1:
            kind = "several references of it" if folders else "nothing of it"
            remedy = f"name a folder, or fetch it on a machine with a network: torch.hub.list({place!r})"
            raise ValueError(f"{place} is no folder, and torch.hub's cache {cache} has {kind}; {remedy}")
        folder = folders[0]
    if not (folder / "hubconf.py").is_file():
        raise ValueError(f"{folder} has no hubconf.py")
    return folder.resolve()


@contextlib.contextmanager
def _entry(folder: Path, name: str) -> Iterator[Callable[..., Any]]:
    """Import a repository's entry, and keep its folder first on the import path while it runs.

    Modules of the repository are forgotten afterwards: another repository may have modules of the same names.
    """
    spec = importlib.util.spec_from_file_location("hubconf", folder / "hubconf.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    hidden = _forgotten(lambda name: _is_in(folder, name.partition(".")[0]))
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
        entry = getattr(module, name, None)
        if not callable(entry):
            entries = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise ValueError(f"{folder} has no entry {name!r}, but {', '.join(entries)}")
        yield entry
    finally:
        sys.path.remove(str(folder))
        _forgotten(lambda name: _is_in(folder, name.partition(".")[0]))
        sys.modules.update(hidden)


def _forgotten(which: Callable[[str], bool]) -> dict[str, ModuleType]:
    """Take modules out of `sys.modules`, and return them."""
    return {name: sys.modules.pop(name) for name in [*sys.modules] if which(name)}


def _is_in(folder: Path, package: str) -> bool:
    """Return whether a folder has a module or a package of a name."""
    return (folder / f"{package}.py").is_file() or (folder / package).is_dir()
