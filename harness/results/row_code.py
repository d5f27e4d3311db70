"""The user's own code that rows were computed with, against what it is now.

An attack, an architecture or a defence of the user's is named by its import path, and its code is in no digest: rows
stay when it changes. What can be known is said.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping

from eadbench.harness.results.folder import Results
from eadbench.harness.spec.stored import texts_in
from eadbench.models.code import module_hashes

__all__ = ["changed_code", "code_of"]


def code_of(attack: str, victim: str, results: Results) -> Mapping[str, str]:
    """Return the SHA-256 of the files of the user's own code behind an attack's rows on a victim, by module."""
    return module_hashes([attack, *texts_in(results.recipe(victim).to_json())])


def changed_code(results: Results) -> list[str]:
    """Return a sentence for each module that has changed since some of the folder's rows were computed.

    Raises
    ------
    DamagedResults
        A part has lost rows, or is no part.
    """
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    for note in results.notes().values():
        for module, sha256 in note.code.items():
            parts[module][sha256] += 1
    now = module_hashes(f"{module}:" for module in parts)
    changed = {module: counts.total() - counts[now[module]] for module, counts in parts.items() if module in now}
    return [
        f"the module {module} has changed since {count:,} of the {parts[module].total():,} parts of its rows in "
        f"{results.root} were computed; they stay as they are: run into another folder to compute them again"
        for module, count in sorted(changed.items())
        if count
    ]
