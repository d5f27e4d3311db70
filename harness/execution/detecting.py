"""What the detectors of a victim say of a shard's examples.

Shapes: N examples, C × H × W values of an image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eadbench import models
from eadbench.attacks import Adversarial
from eadbench.attacks.guarded import Guarded
from eadbench.defenses.detectors import Detector, Fitted, scores_of
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.execution.learning import learnt
from eadbench.harness.parquet.detections import write_detections
from eadbench.harness.plan.cells import detector_digest
from eadbench.harness.plan.grid import Shard
from eadbench.harness.results.folder import Results
from eadbench.harness.spec.detectors import made

__all__ = ["Detectors", "FittedDetector", "detections", "fit"]

SLACK = 1e-6
"""An adaptive attack stays this far below the threshold, relatively, so that rounding does not reject its examples."""


@dataclass(frozen=True, kw_only=True)
class FittedDetector:
    """A detector, and what it has learnt of a victim."""

    digest: str
    """The digest of its entry in the spec."""
    detector: Detector
    learnt: Fitted

    @property
    def threshold(self) -> float:
        """The greatest score that is accepted."""
        return self.learnt["threshold"].item()

    def rejected(self, score: float) -> bool:
        """Return whether a score is rejected; one that is no number is."""
        return not score <= self.threshold


class Detectors:
    """The detectors of a worker's victims, each fitted or loaded once.

    Parameters
    ----------
    data
        Returns the data set.
    notice
        Called with a text while another process fits the same.
    """

    def __init__(
        self, results: Results, device: str, data: Callable[[], DataSet], notice: Callable[[str], None]
    ) -> None:
        self._results, self._device, self._data, self._notice = results, device, data, notice
        self._fitted: dict[tuple[str, str], FittedDetector] = {}

    def _of(self, entry: Mapping[str, Any], digest: str, victim: nn.Module) -> FittedDetector:
        key = digest, detector_digest(entry)
        if key not in self._fitted:
            self._fitted[key] = fit(entry, digest, victim, self._data(), self._results, self._notice)
        return self._fitted[key]

    def guarding(self, shard: Shard, searched: nn.Module, victim: nn.Module) -> nn.Module:
        """Return the victim as a shard's attack is given it: `searched`, guarded if the attack knows a detector."""
        parameters = shard.setting.parameters
        if (entry := parameters.get("adaptive")) is None:
            return searched
        fitted = self._of(entry, shard.victim.digest, victim)
        bound = fitted.threshold - SLACK * max(1.0, abs(fitted.threshold))

        def excess(images: Tensor) -> Tensor:
            return fitted.detector.score(victim, images, fitted.learnt) - bound

        passes = fitted.detector.passes(self._data().shape[0])
        return Guarded(searched, excess, weight=parameters.get("adaptive_weight", 1.0), passes=passes)

    def judge(self, shard: Shard, rules: Mapping[str | None, Adversarial], victim: nn.Module) -> None:
        """Write what the victim's detectors say of the examples that each rule keeps, and of their originals."""
        if not shard.victim.detectors:
            return
        images = getattr(self._data(), shard.split).images([example.image for example in shard.examples])
        for entry in shard.victim.detectors:
            fitted = self._of(entry, shard.victim.digest, victim)
            with models.seeded(int(shard.digest, 16) >> 1, self._device):  # the same dropout whatever else is judged
                said = detections(shard, rules, images.to(self._device), fitted, victim)
            write_detections(self._results.detection_part(shard.digest, fitted.digest), said)


def fit(
    entry: Mapping[str, Any],
    digest: str,
    victim: nn.Module,
    data: DataSet,
    results: Results,
    notice: Callable[[str], None],
) -> FittedDetector:
    """Fit a detector to a victim on images of the training split, unless the results have it already.

    Parameters
    ----------
    digest
        Digest of the victim.
    notice
        Called with a text while another process fits the same.

    Raises
    ------
    UserError
        The data set has no training split, or the detector cannot be fitted to the victim.
    """
    detector = made(entry)
    device = next((weight.device for weight in victim.parameters()), torch.device("cpu"))

    def fitted() -> Fitted:
        if not len(data.train):
            raise UserError(f"{entry['name']} learns from training images, and {data.name} has none")
        order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(detector.seed))
        chosen = order[: detector.images].tolist()
        with models.seeded(detector.seed, device):
            try:
                images = data.train.images(chosen).to(device)
                return detector.fit(victim, images, data.train.labels[chosen].to(device))
            except ValueError as error:
                raise UserError(f"{entry['name']}: {error}") from error

    recipe = {"detector": dict(entry), "victim": digest, "dataset": data.identity}
    tensors = learnt(recipe, fitted, results, notice)
    values = {name: values.to(device) for name, values in tensors.items()}
    return FittedDetector(digest=detector_digest(entry), detector=detector, learnt=values)


def detections(
    shard: Shard,
    rules: Mapping[str | None, Adversarial],
    images: Tensor,
    fitted: FittedDetector,
    victim: nn.Module,
) -> list[dict[str, Any]]:
    """Return a detector's scores of a shard's examples and of their originals (N, C, H, W), in the rows' order."""
    cells, examples = shard.cell_digests, shard.examples
    tested = {rule: kept.success.nonzero().squeeze(1).tolist() for rule, kept in rules.items()}
    if fitted.detector.SET_SIZE:
        sets = {rule: _sets(shard, numbers, fitted.detector) for rule, numbers in tested.items()}
        clean = {rule: _scored(images, sets[rule], fitted, victim) for rule in rules}
    else:
        sets = {rule: [numbers] for rule, numbers in tested.items()}
        clean = dict.fromkeys(rules, _scores_by_image(shard, images, fitted, victim))
    scores = {rule: _scored(kept.images, sets[rule], fitted, victim) for rule, kept in rules.items()}
    return [
        {
            "cell": cells[example.beta, example.kappa, rule],
            "image": example.image,
            "target": example.target,
            "detector": fitted.digest,
            "success": bool(kept.success[i]),
            "score": (score := scores[rule].get(i)),
            "rejected": None if score is None else fitted.rejected(score),
            "clean_score": (original := clean[rule].get(i)),
            "clean_rejected": None if original is None else fitted.rejected(original),
        }
        for i, example in enumerate(examples)
        for rule, kept in rules.items()
    ]


def _scored(
    images: Tensor, sets: Sequence[Sequence[int]], fitted: FittedDetector, victim: nn.Module
) -> dict[int, float]:
    """Return the score of each image of some sets, by its number."""
    scores: dict[int, float] = {}
    for numbers in sets:
        values = scores_of(fitted.detector, victim, images[list(numbers)], fitted.learnt)
        scores |= dict(zip(numbers, values.tolist(), strict=True))
    return scores


def _scores_by_image(shard: Shard, images: Tensor, fitted: FittedDetector, victim: nn.Module) -> dict[int, float]:
    """Return the score of each example's original, by the example's number; an image is scored once."""
    first: dict[int, int] = {}
    for i, example in enumerate(shard.examples):
        first.setdefault(example.image, i)
    scores = _scored(images, [list(first.values())], fitted, victim)
    return {i: scores[first[example.image]] for i, example in enumerate(shard.examples)}


def _sets(shard: Shard, tested: Sequence[int], detector: Detector) -> list[Sequence[int]]:
    """Divide examples into sets, each of one cell and of different images; those in too small a set are left out."""
    least, most = detector.SET_SIZE or (1, 1)
    sets: dict[tuple[float | None, float, int], list[int]] = {}
    seen: dict[tuple[float | None, float, int], int] = {}
    for i in tested:
        example = shard.examples[i]
        key = (example.beta, example.kappa, example.image)
        seen[key] = seen.get(key, -1) + 1
        sets.setdefault((example.beta, example.kappa, seen[key]), []).append(i)
    parts = [torch.tensor(each).chunk(-(-len(each) // most)) for each in sets.values()]
    return [part.tolist() for each in parts for part in each if len(part) >= least]
