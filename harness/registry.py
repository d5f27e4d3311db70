"""What a spec can name: one registry for each kind of thing.

A name is a key of a literal table (``ead``), or an import path (``package.module:Name``). Attacks, defences, detectors
and models are registered here, data sets in :mod:`eadbench.harness.datasets`. An outsider's entry has what a built-in
has: a label, a place in the order of tables, and a colour.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from eadbench import attacks, defenses, models
from eadbench.attacks.adapters import library_attack
from eadbench.attacks.adapters.function import function_attack
from eadbench.defenses import detectors
from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.models.code import imported

__all__ = ["ATTACKS", "DEFENSES", "DETECTORS", "MODELS", "Facts", "Registry"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a reader of results needs to know of the user's own code. Results store it, so that nothing is imported."""

    label: str
    axes: Sequence[str] = ()
    """Parameters that may be lists."""
    varying: Sequence[str] = ()
    """The axes whose value may differ within a batch."""
    scalars: Sequence[str] = ()
    """Parameters that hold one value, so that a list makes an axis of them."""
    targeted: bool = True
    """Of an attack: whether it can aim at target classes."""
    untargeted: bool = True
    """Of an attack: whether it can do without."""


@dataclass(frozen=True)
class Registry:
    """The things of one kind, by name.

    Parameters
    ----------
    kind
        The kind in words, for messages.
    table
        The built-in things, in the order of tables and listings.
    colours
        Colours of the built-in things in figures; others are given what is left.
    facts
        Facts of the user's own code, by import path: of what a spec has named, and of what read results have stored.
    """

    kind: str
    table: Mapping[str, Any]
    colours: Mapping[str, str]
    facts: dict[str, Facts] = field(default_factory=dict, kw_only=True)
    adapted: Callable[[str], Any] = field(default=imported, kw_only=True)
    """Imports the thing at an import path; raises a ValueError of one line."""

    def look_up(self, name: object) -> Any:
        """Return the thing called `name`, or the one at that import path.

        Raises
        ------
        UserError
            Nothing has that name, or it cannot be imported.
        """
        if isinstance(name, str) and name in self.table:
            return self.table[name]
        if not isinstance(name, str) or ":" not in name:
            close = get_close_matches(str(name), self.table, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            known = f"{', '.join(self.table)}, or package.module:name"
            raise UserError(f"must name a known {self.kind}: {known}; got {shown(name)}{hint}")
        try:
            return self.adapted(name)
        except ValueError as error:
            raise UserError(str(error)) from error

    def label(self, name: str) -> str:
        """Return what tables and figures call the thing: its `LABEL`, or the last part of its name.

        Nothing is imported for a label: the facts have it.
        """
        return self.facts[name].label if name in self.facts else _label(name, self.table.get(name))

    def is_own(self, name: object) -> bool:
        """Return whether a name is an import path of the user's own code."""
        return isinstance(name, str) and ":" in name and name not in self.table

    def remember(
        self,
        name: str,
        thing: Any,
        *,
        axes: Sequence[str] = (),
        varying: Sequence[str] = (),
        scalars: Sequence[str] = (),
        targeted: bool = True,
        untargeted: bool = True,
    ) -> None:
        """Keep the facts of the user's own code, which was imported."""
        if self.is_own(name):
            self.facts[name] = Facts(
                label=_label(name, thing),
                axes=list(axes),
                varying=list(varying),
                scalars=list(scalars),
                targeted=targeted,
                untargeted=untargeted,
            )

    def order(self, name: str) -> tuple[int, str]:
        """Return a sort key for tables: built-ins in the order of the table, then the others by name."""
        names = list(self.table)
        return (names.index(name), "") if name in self.table else (len(names), name)

    def colour(self, name: str) -> str | None:
        """Return the thing's own colour, if it has one."""
        return self.colours.get(name)


def _label(name: str, thing: Any) -> str:
    return str(getattr(thing, "LABEL", None) or name.rpartition(":")[2].replace("_", " "))


def _imported_attack(name: str) -> Any:
    """Return an attack of another library, or the class or function at an import path, as a class of ours."""
    attack = library_attack(name) or imported(name)
    return function_attack(attack) if inspect.isfunction(attack) else attack


# Colours that are told apart with any colour vision: Okabe and Ito's, but for EAD's, whose two rules often stand alone.
ATTACKS = Registry(
    "attack",
    attacks.ATTACKS,
    {
        "ead": "#C0392B",
        "cw": "#0072B2",
        "cov": "#009E73",
        "ifgm": "#CC79A7",
        "fgm": "#56B4E9",
        "ddn": "#7F3C8D",
        "alma": "#A5AA99",
        "fmn": "#80BA5A",
        "pdpgd": "#E68310",
        "sigma_zero": "#4B4B8F",
        "deepfool": "#11A579",
        "superdeepfool": "#666666",
        "apgd": "#E73F74",
        "apgd_l1": "#80621F",
        "jsma": "#3969AC",
        "mi_fgm": "#CF1C90",
        "di_fgm": "#008695",
        "ti_fgm": "#F2B701",
        "zoo": "#A14E2E",
        "hopskipjump": "#5B8C2A",
        "universal": "#994E95",
        "substitute": "#7A8B99",
        "fab": "#1F6E8C",
        "square": "#B5651D",
        "autoattack": "#2E4057",
    },
    adapted=_imported_attack,
)
DEFENSES = Registry("defence", defenses.DEFENSES, {})
DETECTORS = Registry("detector", detectors.DETECTORS, {})
MODELS = Registry("architecture", models.MODELS, {})
