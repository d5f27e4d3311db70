"""The detectors of victims, and the one that an adaptive attack takes into its loss."""

from collections.abc import Mapping, Sequence
from typing import Any

from eadbench.defenses.detectors import Detector, breaches
from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line, shown
from eadbench.harness.registry import ATTACKS, DETECTORS
from eadbench.harness.spec.parameters import parameters_of, validated
from eadbench.harness.spec.resolved import AttackEntry, VictimEntry

__all__ = ["adaptive_detector", "check_adaptive", "made", "resolved_detector", "resolved_detectors"]

DetectorEntry = Mapping[str, Any]
"""`{name: …, parameter: …}` with every parameter."""


def resolved_detectors(given: Sequence[str | DetectorEntry], where: str, *, code: bool) -> list[DetectorEntry]:
    """Resolve the detectors of a victim; refuse one that is there twice."""
    entries = [resolved_detector(each, f"{where}[{i}]", code=code) for i, each in enumerate(given)]
    if twice := [i for i, each in enumerate(entries) if each in entries[:i]]:
        raise UserError(f"{where}[{twice[0]}]: is there twice; leave out one")
    return entries


def resolved_detector(given: str | DetectorEntry, where: str, *, code: bool = True) -> DetectorEntry:
    """Resolve a detector's name or entry: its defaults are filled in, and it is made once."""
    rest = {"name": given} if isinstance(given, str) else dict(given)
    name = rest.pop("name", None)
    if not code and DETECTORS.is_own(name):
        if name not in DETECTORS.facts:
            raise UserError(f"{where}: the results lack the facts of {name}, which is code; --allow-code imports it")
        return {"name": name, **rest}
    try:
        detector = DETECTORS.look_up(name)
        for breach in breaches(detector):
            raise UserError(f"{name} {breach}")
        model = parameters_of(detector)
    except UserError as error:
        raise UserError(f"{where}.name: {error}") from error
    DETECTORS.remember(str(name), detector)
    entry = {"name": str(name), **validated(model, rest, where).model_dump(mode="json")}
    try:
        made(entry)
    except Exception as error:  # an outsider's class may raise anything
        raise UserError(f"{where}.{one_line(error)}") from error
    return entry


def made(entry: DetectorEntry) -> Detector:
    """Return the detector of a resolved entry."""
    detector: Detector = DETECTORS.look_up(entry["name"])(**{key: entry[key] for key in entry if key != "name"})
    return detector


def adaptive_detector(
    given: str | DetectorEntry, attack: type, victims: Sequence[VictimEntry], where: str, *, code: bool
) -> DetectorEntry:
    """Resolve the detector that an attack takes into its loss; a bare name stands for the victims' one of that name.

    Raises
    ------
    UserError
        The attack cannot be adapted, or the detector has no gradient.
    """
    if not getattr(attack, "ADAPTIVE", False):
        able = [name for name, each in ATTACKS.table.items() if getattr(each, "ADAPTIVE", False)]
        raise UserError(f"{where}: must be left out but with {', '.join(able)}, which can attack a detector too")
    theirs = (each for victim in victims if victim.attacked for each in victim.detectors)
    same = next((each for each in theirs if each["name"] == given), None) if isinstance(given, str) else None
    entry = resolved_detector(given if same is None else same, where, code=code)
    if (code or not DETECTORS.is_own(entry["name"])) and not made(entry).differentiable:
        raise UserError(
            f"{where}: {entry['name']} has no gradient that an attack could follow; feature_squeezing has one, and "
            "kernel_density without dropout"
        )
    return entry


def check_adaptive(attacks: Sequence[AttackEntry], victims: Sequence[VictimEntry]) -> None:
    """Refuse an adaptive attack on a victim that lacks its detector: nothing would say what adapting gained."""
    for i, attack in enumerate(attacks):
        entry = attack.parameters.get("adaptive")
        for j, victim in enumerate(victims):
            if entry is not None and victim.attacked and entry not in victim.detectors:
                raise UserError(
                    f"attacks[{i}].adaptive: victims[{j}] has no such detector; it has "
                    f"{shown([each['name'] for each in victim.detectors])}; give it the same one, with equal parameters"
                )
