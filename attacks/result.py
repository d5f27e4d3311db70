"""What an attack returns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, repr=False)
class Adversarial:
    """The examples that one decision rule keeps; N rows, in the order of the attacked images.

    Attributes
    ----------
    images : Tensor
        (N, C, H, W) in [0, 1]; the original image if the attack failed.
    success : Tensor
        (N,) bool: the stored `images` were tested once more and succeed.
    l0, l1, l2, linf : Tensor
        (N,) distances to the originals; NaN if the attack failed.
    margin : Tensor
        (N,) the margin in that test; NaN if the attack failed.
    const, epsilon : Tensor
        (N,) the weight c, or the step size ε, that gave the example; NaN if the attack failed or has no such
        parameter.
    unconfirmed : Tensor
        (N,) bool: the attack claimed a success that failed that test, and so is a failure.
    trace : Tensor, optional
        (N, 6), of an attack on a budget: the least distance, by this rule, of the adversarial images queried within
        1/32, 1/16, 1/8, 1/4, 1/2 and all of its passes; NaN before the first.
    """

    images: Tensor
    success: Tensor
    l0: Tensor
    l1: Tensor
    l2: Tensor
    linf: Tensor
    margin: Tensor
    const: Tensor
    epsilon: Tensor
    unconfirmed: Tensor
    trace: Tensor | None = None

    def __repr__(self) -> str:
        """How many succeed, and their mean distances: ``8 of 9 succeed; mean L1 3.21, L2 0.81, L∞ 0.402``."""
        count = int(self.success.sum())
        means = ((name, getattr(self, field).nanmean().item()) for field, name in _DISTANCES.items())
        distances = "; mean " + ", ".join(f"{name} {mean:.4g}" for name, mean in means) if count else ""
        return f"{count} of {len(self.success)} succeed{distances}"


_DISTANCES = {"l1": "L1", "l2": "L2", "linf": "L∞"}


@dataclass(frozen=True, kw_only=True, repr=False)
class AttackResult(Mapping[str, Adversarial]):
    """Decision rule ("en", "l1", "l2") or norm ("l1", "l2", "linf") to its adversarial examples.

    Attributes
    ----------
    iterations : Tensor
        (N,) gradient evaluations (backward passes) of each example.
    forward_passes : Tensor
        (N,) forward passes of each example, the final tests included.
    computed : int
        Gradient evaluations of the whole batch, rows that only fill it up included.
    const_end : Tensor, optional
        (N,) int8, of a search over c: -1 if every c that it tried succeeded, down to the least that its steps reach; 1
        if none did, up to the greatest; else 0. An example that needs no change counts as 0.
    nonfinite_gradients : Tensor, optional
        (N,) gradient evaluations with a derivative that is not finite, which counts as 0. FGM and I-FGM look at the
        gradient at x₀ alone.
    found_by : sequence of str or None, optional
        Of an ensemble: the member that broke each example; None if none did.
    """

    kept: Mapping[str, Adversarial]
    iterations: Tensor
    forward_passes: Tensor
    computed: int
    const_end: Tensor | None = None
    nonfinite_gradients: Tensor | None = None
    found_by: Sequence[str | None] | None = None

    def __getitem__(self, rule: str) -> Adversarial:
        return self.kept[rule]

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def __repr__(self) -> str:
        """A line for each rule: ``AttackResult of 9 examples, 1,204 gradient evaluations`` and ``en: 8 of 9 …``."""
        head = f"AttackResult of {len(self.iterations)} examples, {int(self.iterations.sum()):,} gradient evaluations"
        return "\n".join([head, *(f"{rule}: {kept!r}" for rule, kept in self.kept.items())])
