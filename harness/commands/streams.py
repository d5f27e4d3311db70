"""Streams to print to, on which printing never fails: a sweep outlives its terminal and the terminal's alphabet."""

import codecs
import os
import unicodedata
from collections.abc import Mapping
from typing import Any, TextIO, cast

__all__ = ["steady"]

SPELLED: Mapping[str, str] = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "epsilon",
    "κ": "kappa",
    "Σ": "sum",
    "∞": "inf",
    "√": "sqrt",
    "∇": "grad",
    "‖": "|",
    "×": "x",
    "·": "-",
    "±": "+-",
    "−": "-",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "…": "...",
    "–": "-",
    "—": "-",
    "✓": "yes",
    "✗": "no",
    "▀": "#",
    "─": "-",
    "└": "`",
    "├": "|",
    "│": "|",
}
"""How characters are written where the stream's encoding lacks them."""
_ERRORS = "eadbench.spelled"


def spelled(character: str) -> str:
    """Return a character in ASCII: by name, without its accent, or as a question mark."""
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return SPELLED.get(character) or plain or "?"


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Replace the characters that an encoding lacks; :func:`codecs.register_error` describes the arguments."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(spelled, error.object[error.start : error.end])), error.end


codecs.register_error(_ERRORS, _spell)


def steady(stream: TextIO) -> TextIO:
    """Return a stream that spells the characters that it lacks, and drops what is written after a write has failed."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=_ERRORS)
    return cast(TextIO, _Steady(stream))


class _Steady:
    """A text stream; the reader of a pipe may leave, a terminal close, a disk be full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text."""
        if not self._lost:
            try:
                self._stream.write(text)
            except OSError:
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        if not self._lost:
            try:
                self._stream.flush()
            except OSError:
                self._lose()

    def _lose(self) -> None:
        """Write to nowhere from now on, also what the stream still buffers."""
        self._lost = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
