"""The public contract of attacks: what every attack owes its caller, as checks that anyone can run.

On the command line, ``eadbench check package.module:MyAttack``; in a test suite::

    from eadbench.attacks.contract import parametrize_with_checks

    @parametrize_with_checks([MyAttack()])
    def test_contract(check):
        check()

The checks are those of :data:`CHECKS`; the docstring of each states its rule.
"""

from eadbench.attacks.contract.plugin import parametrize_with_checks
from eadbench.attacks.contract.suite import CHECKS, Outcome, check, instances

__all__ = ["CHECKS", "Outcome", "check", "instances", "parametrize_with_checks"]
