"""Weights that a training keeps in place of its last: their moving average, and those of the best epoch."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from eadbench.models.hyperparameters import Training

__all__ = ["Kept"]


class Kept(nn.Module):
    """The weights that a training keeps, if they are not its last ones. Its state dict is part of a checkpoint.

    Parameters
    ----------
    model
        The model that is trained.
    training
        Its `ema` asks for the moving average, and its `held_out` for the best epoch.
    """

    def __init__(self, model: nn.Module, training: Training) -> None:
        super().__init__()
        self.average = None if training.ema is None else _moving_average(model, training.ema)
        self.best = _BestEpoch(self.latest(model), training.epochs) if training.held_out else None
        self._patience = training.patience

    def latest(self, model: nn.Module) -> nn.Module:
        """Return the network to test after an epoch: the moving average, or else the model itself."""
        return model if self.average is None else self.average.module

    def after_step(self, model: nn.Module) -> None:
        """Let the moving average follow a step of the optimizer."""
        if self.average is not None:
            self.average.update_parameters(model)

    def after_epoch(self, model: nn.Module, epoch: int, correct: int) -> bool:
        """Compare an epoch with the best by its correct held-out images. Return whether the training should stop."""
        assert self.best is not None
        self.best.update(self.latest(model), epoch, correct)
        return self._patience is not None and epoch - self.best.epoch >= self._patience

    def shares(self, epoch: int, held_out: int) -> list[float]:
        """Return the share of the held-out images that were correct after each epoch up to this one."""
        assert self.best is not None
        return [correct / held_out for correct in self.best.correct[: epoch + 1].tolist()]

    def load_into(self, model: nn.Module) -> None:
        """Give the model the weights that are kept."""
        chosen = self.latest(model) if self.best is None else self.best.network
        if chosen is not model:
            model.load_state_dict(chosen.state_dict())


class _BestEpoch(nn.Module):
    """The network after the epoch with the most correct held-out images, the first of equals; epochs from 0.

    Attributes
    ----------
    correct : Tensor
        int64 (epochs,), the correct held-out images after each epoch; -1 after those to come.
    """

    correct: Tensor

    def __init__(self, model: nn.Module, epochs: int) -> None:
        super().__init__()
        self.network = copy.deepcopy(model)
        device = next((parameter.device for parameter in model.parameters()), None)
        self.register_buffer("correct", torch.full((epochs,), -1, device=device))

    @property
    def epoch(self) -> int:
        """The best epoch."""
        counts = self.correct.tolist()
        return counts.index(max(counts))

    def update(self, model: nn.Module, epoch: int, correct: int) -> None:
        if correct > int(self.correct.max()):
            self.network.load_state_dict(model.state_dict())
        self.correct[epoch] = correct


def _moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of a model's weights and buffers, whose decay is less in the first steps."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], values: Sequence[Tensor], updates: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(updates)) / (10 + int(updates)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, share)
            else:
                average.copy_(value)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)
