"""The costs of the attack engine, as ratios measured side by side on one model and machine."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eadbench.attacks import EAD, IFGM, CarliniWagner
from eadbench.attacks.engine.precision import exact_model, gradient_precision

__all__ = ["Bench", "Line", "abort", "busy", "grid", "overhead", "passes", "rules", "seconds", "side_by_side"]

Line = tuple[str, str, str]
"""The measure, its figure, and the bound that the figure must keep."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A victim, and pairs of a correctly classified image and an incorrect class.

    Attributes
    ----------
    model
        Images (N, C, H, W) to logits (N, K).
    images, targets
        (N, C, H, W) and (N,), on the model's device.
    """

    model: nn.Module
    images: Tensor
    targets: Tensor

    def pairs(self, count: int) -> tuple[nn.Module, Tensor, Tensor]:
        """Return the model, and the first `count` images and targets."""
        return self.model, self.images[:count], self.targets[:count]

    @classmethod
    def of_all_targets(cls, model: nn.Module, images: Tensor, labels: Tensor, device: str) -> "Bench":
        """Pair each image (N, C, H, W) with the nine classes of ten that are not its label (N,)."""
        targets = [[target for target in range(10) if target != label] for label in labels.tolist()]
        model = model.to(device, memory_format=torch.channels_last).requires_grad_(False)
        return cls(
            model=model,
            images=images.repeat_interleave(9, 0).to(device),
            targets=torch.tensor(targets).flatten().to(device),
        )


def seconds(run: Callable[[], object]) -> float:
    """Return the seconds that `run` takes, including work on the GPU."""
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def side_by_side(runs: dict[str, Callable[[], object]], times: int = 5) -> dict[str, float]:
    """Return the median seconds of every run; the runs take turns, after one warm-up each."""
    for run in runs.values():
        seconds(run)
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(times):
        for name, run in runs.items():
            measured[name].append(seconds(run))
    return {name: statistics.median(times_of_run) for name, times_of_run in measured.items()}


def passes(bench: Bench, batch: int, iterations: int, *, second_forward: bool = True) -> Callable[[], None]:
    """Return a run of the bare model: a forward and a backward pass per iteration, and a second forward pass."""
    model, images, targets = bench.pairs(batch)

    def run() -> None:
        for _ in range(iterations):
            x = images.detach().requires_grad_()
            with gradient_precision(model):
                torch.autograd.grad(model(x).gather(1, targets.unsqueeze(1)).sum(), x)
            if second_forward:
                with torch.no_grad():
                    exact_model(model)(images)

    return run


def overhead(bench: Bench, *, batch: int = 100, iterations: int = 50, times: int = 5) -> Iterator[Line]:
    """Compare an iteration with its passes of the bare model."""
    fixed: dict[str, Any] = {"binary_search_steps": 1, "max_iterations": iterations, "abort_early": False}
    measured = side_by_side(
        {
            "ead passes": passes(bench, batch, iterations),
            "ead": lambda: EAD(**fixed)(*bench.pairs(batch), batch_size=batch),
            "cw passes": passes(bench, batch, iterations, second_forward=False),
            "cw": lambda: CarliniWagner(**fixed)(*bench.pairs(batch), batch_size=batch),
        },
        times,
    )
    milliseconds = measured["ead"] / batch / iterations * 1e3
    yield (
        f"EAD per (example × iteration) over its passes ({milliseconds:.3f} ms), batch {batch}",
        f"{measured['ead'] / measured['ead passes']:.2f}",
        "≤ 1.15",
    )
    yield "C&W likewise", f"{measured['cw'] / measured['cw passes']:.2f}", ""


class OneRule(EAD):
    """EAD with one decision rule."""

    RULES = DEFAULT_RULES = ("en",)


def rules(bench: Bench, *, batch: int = 100, iterations: int = 50, times: int = 9) -> Iterator[Line]:
    """Compare all decision rules with one."""
    fixed: dict[str, Any] = {"binary_search_steps": 1, "max_iterations": iterations, "abort_early": False}
    measured = side_by_side(
        {
            "one": lambda: OneRule(**fixed)(*bench.pairs(batch), batch_size=batch),
            "all": lambda: EAD(**fixed)(*bench.pairs(batch), batch_size=batch),
        },
        times,
    )
    yield "EAD with every decision rule over one rule", f"{measured['all'] / measured['one']:.3f}", "≤ 1.03"


def abort(bench: Bench, pairs: int, iterations: int, *, batch: int = 100) -> Iterator[Line]:
    """Compare the gradient evaluations with the abort and without, and the distances."""
    for name, attack in {"EAD": EAD, "C&W": CarliniWagner}.items():
        on, off = (
            attack(max_iterations=iterations, abort_early=early)(*bench.pairs(pairs), batch_size=batch)
            for early in (True, False)
        )
        ratio = on.iterations.sum() / off.iterations.sum()
        asr = ", ".join(f"{100 * examples.success.float().mean():.1f} %" for examples in (on["l2"], off["l2"]))
        change = ", ".join(f"{rule} {on[rule].l1.nanmean() / off[rule].l1.nanmean() - 1:+.2%}" for rule in on)
        yield f"{name} gradient evaluations, abort on / off, {pairs} pairs", f"{ratio:.3f}", "≤ 0.45" * (name == "EAD")
        yield f"  ASR on, off; change of mean L1 by rule: {asr}; {change}", "", "equal, within 1 %"


def busy(bench: Bench, pairs: int, iterations: int = 1000, *, batch: int = 100) -> Iterator[Line]:
    """Compare the rows that did needed work with the rows computed, including the tail, when no example waits."""
    result = EAD(max_iterations=iterations)(*bench.pairs(pairs), batch_size=batch)
    share = (result.iterations - 1).sum().item() / result.computed
    yield f"slots busy, EAD, {pairs} pairs at batch {batch}, the tail included", f"{share:.3f}", "≥ 0.95"


def grid(bench: Bench, pairs: int) -> Iterator[Line]:
    """Compare the gradient evaluations of the search for the smallest ε with those of the full grid."""
    result = IFGM(norm="linf")(*bench.pairs(pairs), batch_size=100)
    success = result["linf"].success
    share = result.iterations[success].sum().item() / (success.sum().item() * 10 * 1000)
    yield f"I-FGM-L∞ gradient evaluations over the full grid's, {pairs} pairs", f"{share:.3f}", "≤ 0.35"
    yield "  computed over needed, failures included", f"{result.computed / result.iterations.sum().item():.3f}", ""
