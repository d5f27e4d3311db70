"""The list of checks, and how they are run on an attack."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from eadbench.attacks.attack import Attack, breaches, traits_of
from eadbench.attacks.contract import interface, measured, reported, rows, side_effects
from eadbench.attacks.contract.subject import Breach, NotApplicable, Subject

Check = Callable[[Subject], None]
"""Raises a Breach if a rule is broken, or NotApplicable."""

CHECKS: Sequence[Check] = (
    interface.declares_the_protocol,
    interface.works_in_its_modes,
    interface.refuses_other_modes,
    interface.returns_an_entry_per_rule,
    interface.accepts_an_empty_batch,
    side_effects.leaves_inputs_untouched,
    side_effects.attacks_in_eval_mode,
    side_effects.restores_the_model,
    side_effects.leaves_parameter_gradients_alone,
    reported.stays_in_the_box,
    reported.failed_rows_carry_nothing,
    reported.successes_hold,
    reported.kappa_is_the_least_margin,
    reported.distances_are_the_images,
    rows.rows_do_not_depend_on_the_batch,
    rows.beta_and_kappa_may_differ_by_row,
    rows.repeats_itself,
    rows.nan_logits_give_failed_rows,
    rows.zero_gradients_give_failed_rows,
    rows.solved_images_are_successes,
    measured.half_space_distances_are_near_the_least,
    measured.counts_its_passes,
    measured.stays_within_most_passes,
    measured.stays_within_a_budget,
)


@dataclass(frozen=True)
class Outcome:
    """How one check ended."""

    name: str
    passed: bool
    why: str = ""
    """What is wrong, or why the check does not apply; empty if it passed."""


def check(attack: Attack | type, **hyperparameters: Any) -> list[Outcome]:
    """Run every check on an attack.

    Parameters
    ----------
    attack
        An attack; or a class, which is built with its CHECKED_WITH (see :func:`instances`).
    **hyperparameters
        Change the attack's own.

    Returns
    -------
    list of Outcome
        One for each check and instance. A class that breaks the protocol is not run, and gets a single one.
    """
    thing = attack if isinstance(attack, type) else type(attack)
    if problems := breaches(thing):
        return [Outcome(name_of(interface.declares_the_protocol), False, "; ".join(problems))]
    if isinstance(attack, type):
        attacks = instances(attack, **hyperparameters)
    else:
        attacks = [Subject(attack).variant(**hyperparameters)]
    return [run(check, subject) for subject in map(Subject, attacks) for check in CHECKS]


def run(check: Check, subject: Subject) -> Outcome:
    """Run one check; whatever it or the attack raises is in the outcome."""
    try:
        check(subject)
    except NotApplicable as reason:
        return Outcome(name_of(check), True, f"not applicable: {reason}")
    except Breach as breach:
        return Outcome(name_of(check), False, str(breach))
    except Exception as error:  # an attack may raise anything
        return Outcome(name_of(check), False, f"raises {type(error).__name__}: {' '.join(str(error).split())}")
    return Outcome(name_of(check), True)


def name_of(check: Check) -> str:
    """The name of a check in words."""
    return check.__name__.replace("_", " ")


def instances(attack: type, **hyperparameters: Any) -> list[Attack]:
    """Build a class with its CHECKED_WITH; if it needs a `norm` that is not given, once for each of NORMS."""
    traits = traits_of(attack)
    given = {"targeted": traits.targeted, **traits.checked_with, **hyperparameters}
    needed = {field.name for field in fields(attack) if field.default is field.default_factory is MISSING}
    norms = traits.norms if "norm" in needed - given.keys() else ()
    if norms:
        return [attack(**given, norm=norm) for norm in norms]
    return [attack(**given)]
