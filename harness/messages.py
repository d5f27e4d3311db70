"""Values and places as messages name them; secrets are left out."""

import math
import re
import reprlib
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

NUMBER = "a finite number, and an integer one of at most 64 bits"

_USERINFO = re.compile(r"://(?:[^/\s]*|[^/\s:@]*:[^\s@]*)@")
_SECRET_FIELD = re.compile(
    r"([?&;#][^=&;#\s]*?(?:passw|pwd|secret|token|signature|credential|authori|bearer|session|jwt|hmac"
    r"|(?:api|access|account|private|shared)[-_.]?key)[^=&;#\s]*="
    r"|[?&;#](?:(?:[^=&;#\s]*[-_.])?key|[^=&;#\s]*%[^=&;#\s]*|sig|sas|auth|code|pass|otp)=)[^&;#\s\"']+",
    re.IGNORECASE,
)
"""Fields of a query, of path parameters or of a fragment whose values grant access, or whose names are encoded."""
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of control and format characters, half surrogates, and separators of lines and paragraphs."""
_WORD = re.compile(r"[\w.*-]{1,80}")


class _Repr(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if fits(x) else f"an integer of {x.bit_length()} bits"


_SHORT = _Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlevel = 3


def shown(value: object) -> str:
    """Return a value's repr, a long one without its middle."""
    return _SHORT.repr(value)


def fits(value: object) -> bool:
    """Whether JSON and 64 bits hold the value; what is no number does."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return not isinstance(value, float) or math.isfinite(value)


def at(where: str, part: str | int) -> str:
    """Return the path of an item or a key of what is at `where`: ``attacks[0].beta``."""
    if isinstance(part, int):
        return f"{where}[{part}]"
    return f"{where}.{part if _WORD.fullmatch(part) else shown(part)}".removeprefix(".")


def one_line(error: object) -> str:
    """Return an error's message on one line."""
    return " ".join(str(error).split())


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def printable(text: str) -> str:
    """Return a text for a terminal or a file: control characters, and those that reorder others, become escapes.

    Without this, a stranger's results could move the cursor, retitle the window, or hide what is printed.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _UNPRINTABLE and c not in "\n\t" else c for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def redact(text: str) -> str:
    """Return a URI, or a message that quotes URIs, with users, passwords and tokens replaced by ``***``."""
    return _SECRET_FIELD.sub(r"\1***", _USERINFO.sub("://***@", text))


def ago(moment: datetime) -> str:
    """Return the time since a moment: ``12 s ago``, ``3 min ago``."""
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{max(0, seconds)} s ago"
