"""Any attack on a budget of passes, or reported by the nearest image that it queried.

Shapes: N images, R rules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.attack import BATCH_SIZE, Attack, traits_of
from eadbench.attacks.engine.checks import per_example
from eadbench.attacks.engine.confirm import confirmed
from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.inputs import attacked
from eadbench.attacks.engine.ledger import LEAST_BUDGET, Ledger, Measure, Metered, Spent, Unserved
from eadbench.attacks.result import Adversarial, AttackResult

__all__ = ["ACCOUNTING", "Budgeted", "class_within", "defaults_within", "with_budget", "within"]

ACCOUNTING = ("budget", "best_queried", "published", "quantised", "adaptive", "adaptive_weight")
"""The keys of a spec's attack that are no hyperparameters of its class."""
ROUNDING = 1e-5
"""How much longer than ε a perturbation may be by rounding, relatively."""


@dataclass(frozen=True, kw_only=True)
class Budgeted:
    """An attack that never spends more than a budget of passes on an example.

    A forward and a backward pass of the victim count one each, wherever the attack makes them. Two things are outside
    the budget, and outside the counts of the result: the look at the logits of a few images before the attack, and the
    float32 tests of the images that it returns. So `iterations` + `forward_passes` is at most the budget.

    An attack that does not say which examples the rows of its batch are runs on one example at a time.

    Parameters
    ----------
    attack : Attack
        The attack.
    budget : int, optional
        The most passes of an example, at least 32; None for any number.
    best_queried : bool
        Report the nearest adversarial image that was queried, by each rule (or by the norm), instead of the image that
        the attack returns. Adversarial means with the margin κ. If the budget ends an attack before it returns
        anything, that image is reported in any case.
    """

    attack: Attack
    budget: int | None = None
    best_queried: bool = False

    def __post_init__(self) -> None:
        if self.budget is not None and self.budget < LEAST_BUDGET:
            raise ValueError(f"budget must be at least {LEAST_BUDGET}, got {self.budget}")
        if self.best_queried and not self.measured:
            raise ValueError(f"best_queried needs a distance, but {type(self.attack).__name__} declares no NORMS")

    @property
    def targeted(self) -> bool:
        """Whether labels are classes to reach."""
        return self.attack.targeted

    @property
    def measured(self) -> tuple[str, ...]:
        """The decision rules, or the norm, whose distance the ledger knows."""
        traits = traits_of(type(self.attack))
        norm = getattr(self.attack, "norm", None) or next(iter(traits.norms), "")
        return tuple(rule for rule in traits.rules or (norm,) if rule == "en" or rule in distances.NORMS)

    @property
    def most_passes(self) -> int:
        """The budget, or less if the attack never needs it."""
        return self.attack.most_passes if self.budget is None else min(self.budget, self.attack.most_passes)

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] with `labels` (N,), at most `batch_size` rows at a time."""
        images = torch.as_tensor(images)
        ledger = self._ledger(images)
        cut = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        try:
            result = self.attack(Metered(model, ledger), images, labels, batch_size=batch_size)
        except Unserved:
            result = self._one_by_one(model, ledger, images, labels, cut)
        if not ledger.is_open:  # there are no images
            return result
        kept = {rule: self._traced(ledger, rule, own) for rule, own in result.items()}
        for rule in kept:
            if self.best_queried or cut.any():
                kept[rule] = self._nearer(ledger, rule, kept[rule], cut | self.best_queried, batch_size)
        backwards = ledger.backwards[:-1]
        return replace(result, kept=kept, iterations=backwards, forward_passes=ledger.passes[:-1] - backwards)

    def _ledger(self, images: Tensor) -> Ledger:
        """Return a ledger of the distances by the attack's rules."""
        measures: dict[str, Measure] = {}
        for rule in self.measured:
            norm = distances.NORMS.get(rule)
            measures[rule] = self._elastic_net(images) if norm is None else _distance(norm)
        return Ledger(self.budget, measures, targeted=self.attack.targeted)

    def _elastic_net(self, images: Tensor) -> Measure:
        """Return β‖δ‖₁ + ‖δ‖₂², the distance by the rule "en"."""
        beta = per_example("beta", getattr(self.attack, "beta", 0.0), images)
        beta = torch.cat([beta, beta[-1:]])
        return lambda delta, examples: beta[examples] * distances.l1(delta) + distances.l2_squared(delta)

    def _traced(self, ledger: Ledger, rule: str, own: Adversarial) -> Adversarial:
        """Return what the attack reports by a rule, with its trace."""
        r = ledger.index(rule)
        if self.budget is None or r is None:
            return own
        trace = ledger.trace[:-1, r]
        return replace(own, trace=trace.masked_fill(trace.isinf(), torch.nan))

    def _nearer(self, ledger: Ledger, rule: str, own: Adversarial, wanted: Tensor, batch_size: int) -> Adversarial:
        """Return the nearest image queried within ε where it is `wanted` (N,) and nearer than the attack's own."""
        r = ledger.index(rule)
        if r is None:
            return own
        images, labels, kappa = (part[:-1] for part in (ledger.images, ledger.labels, ledger.kappa))
        measure = [*ledger.measures.values()][r]
        distance = measure(own.images - images, torch.arange(len(images), device=images.device))
        nearer = wanted & (ledger.least[:-1, r] < distance.masked_fill(~own.success, torch.inf))
        radius = getattr(self.attack, "epsilon", None)
        if isinstance(radius, int | float) and rule == getattr(self.attack, "norm", None):  # a fixed ε
            nearer &= ledger.least[:-1, r] <= (1 + ROUNDING) * radius
        with torch.inference_mode(False), frozen(ledger.victim):
            queried = confirmed(
                ledger.victim,
                images,
                labels,
                nearer,
                ledger.nearest[:-1, r],
                kappa=kappa,
                targeted=self.attack.targeted,
                batch_size=batch_size,
            )
        return _merged(own, queried)

    def _one_by_one(
        self, model: nn.Module, ledger: Ledger, images: Tensor, labels: Tensor, cut: Tensor
    ) -> AttackResult:
        """Attack one example at a time; mark those whose budget ended the attack in `cut` (N,)."""
        kappa = getattr(self.attack, "kappa", 0.0)
        with attacked(Metered(model, ledger), images, labels, 1, targeted=self.attack.targeted, kappa=kappa) as call:
            ledger.one_by_one = True
        results: list[AttackResult | None] = []
        for i in range(len(call.images)):
            one = slice(i, i + 1)
            ledger.serve(torch.tensor([i], device=call.images.device))
            try:
                results.append(_for_one(self.attack, i)(call.model, call.images[one], call.labels[one], batch_size=1))
            except Spent:
                results.append(None)
                cut[i] = True
        rules = next((list(result) for result in results if result is not None), [*(self.measured or ("cut",))])
        return AttackResult(
            kept={
                rule: _joined(
                    [
                        _failure(call.images[i : i + 1]) if result is None else result[rule]
                        for i, result in enumerate(results)
                    ]
                )
                for rule in rules
            },
            iterations=ledger.backwards[:-1],
            forward_passes=ledger.backwards[:-1],
            computed=int(ledger.backwards[:-1].sum()),
        )


def within(attack: type, budget: int, **hyperparameters: Any) -> Budgeted:
    """Build a class for a budget: with its setting for one if it has one, and the defaults that depend on a budget."""
    chosen: Any = class_within(attack, {"budget": budget})
    return Budgeted(attack=chosen(**{**defaults_within(chosen, budget), **hyperparameters}), budget=budget)


def with_budget(attack: Any, accounting: Mapping[str, Any]) -> Any:
    """Return the attack under the keys of :data:`ACCOUNTING` in a mapping; the attack itself if it has none of them."""
    given = {name: accounting[name] for name in ("budget", "best_queried") if name in accounting}
    return Budgeted(attack=attack, **given) if given else attack


def class_within(attack: type, accounting: Mapping[str, Any]) -> type:
    """Return the class that runs under the keys of :data:`ACCOUNTING` in a mapping.

    On a budget this is the attack's `WITHIN`, a class whose search is made for a budget, unless the published one is
    asked for.
    """
    if "budget" not in accounting or accounting.get("published"):
        return attack
    return getattr(attack, "WITHIN", attack)


def defaults_within(attack: type, budget: int | None) -> Mapping[str, Any]:
    """Return the hyperparameters whose defaults depend on a budget: those of the class's method of this name."""
    defaults = getattr(attack, "defaults_within", None)
    return {} if budget is None or defaults is None else defaults(budget)


def _for_one(attack: Any, i: int) -> Any:
    """Return the attack for one example, if some of its hyperparameters have a value for each."""
    values = {field.name: getattr(attack, field.name) for field in fields(attack) if field.init}
    own = {name: value[i : i + 1] for name, value in values.items() if isinstance(value, Tensor) and value.ndim}
    return replace(attack, **own)


def _names() -> list[str]:
    return [field.name for field in fields(Adversarial) if field.name != "trace"]


def _joined(parts: Sequence[Adversarial]) -> Adversarial:
    """Return the examples of several calls as those of one."""
    return Adversarial(**{name: torch.cat([getattr(part, name) for part in parts]) for name in _names()})


def _distance(norm: Callable[[Tensor], Tensor]) -> Measure:
    """Return a norm of δ as a measure, which needs no example's number."""
    return lambda delta, _: norm(delta)


def _merged(own: Adversarial, queried: Adversarial) -> Adversarial:
    """Return `queried` where it succeeds, and `own` elsewhere."""
    taken = queried.success

    def choice(name: str) -> Tensor:
        theirs, ours = getattr(queried, name), getattr(own, name)
        return torch.where(taken.view(-1, *[1] * (ours.ndim - 1)), theirs, ours)

    return Adversarial(**{name: choice(name) for name in _names()}, trace=own.trace)


def _failure(image: Tensor) -> Adversarial:
    """Return the failed row of one image (1, C, H, W)."""
    nan, no = image.new_full((1,), torch.nan), torch.zeros(1, dtype=torch.bool, device=image.device)
    figures = dict.fromkeys(("l0", "l1", "l2", "linf", "margin", "const", "epsilon"), nan)
    return Adversarial(images=image.clone(), success=no, unconfirmed=no, **figures)
