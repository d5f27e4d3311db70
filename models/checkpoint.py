"""Checkpoints: the state of a training between two epochs, in a safetensors file, never a pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from eadbench.models.digest import digest_of
from eadbench.models.files import replace_file
from eadbench.models.hyperparameters import Training

__all__ = ["Checkpoint"]


class Checkpoint:
    """The state of one training of one model, in the file at `path`.

    A damaged file, or one of another training, is ignored: starting from the beginning gives the same weights.

    Parameters
    ----------
    path
        None for a training without checkpoints.
    kept
        What else the training keeps weights in.
    """

    def __init__(
        self,
        path: Path | None,
        training: Training,
        model: nn.Module,
        kept: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self._path, self._optimizer, self._schedule = path, optimizer, schedule
        self._networks = {"model": model, "kept": kept}
        self._generator, self._device = generator, device
        shapes = {name: [*tensor.shape] for network in (model, kept) for name, tensor in network.state_dict().items()}
        self._identity = digest_of([asdict(training), shapes, device.type])

    def write(self, epochs: int) -> None:
        """Store the state after a number of epochs. Call this inside the training's seeded random state."""
        if self._path is None:
            return
        optimizer = self._optimizer.state_dict()
        tensors = {
            f"{part}/{name}": tensor
            for part, network in self._networks.items()
            for name, tensor in network.state_dict().items()
        }
        for index, state in optimizer["state"].items():
            tensors |= {f"optimizer/{index}/{name}": value for name, value in state.items() if value is not None}
        tensors |= {"random/loader": self._generator.get_state(), "random/cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(self._device)
        content = {name: _own_copy(tensor) for name, tensor in tensors.items()}
        facts = {
            "identity": self._identity,
            "epochs": epochs,
            "schedule": self._schedule.state_dict(),
            "groups": [{**group, "params": None} for group in optimizer["param_groups"]],
        }
        replace_file(self._path, safetensors.torch.save(content, {"training": json.dumps(facts)}))

    def read(self) -> int:
        """Restore the stored state and return the number of epochs done, 0 if no state is stored."""
        stored = self._stored()
        if stored is None:
            return 0
        facts, tensors = stored
        for part, network in self._networks.items():
            network.load_state_dict(_with_prefix(f"{part}/", tensors))
        self._optimizer.load_state_dict(self._optimizer_state(facts["groups"], tensors))
        self._schedule.load_state_dict(facts["schedule"])
        self._generator.set_state(tensors["random/loader"])
        torch.set_rng_state(tensors["random/cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"], self._device)
        return int(facts["epochs"])

    def _optimizer_state(self, groups: list[dict[str, Any]], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the state dict of the optimizer."""
        state: dict[int, dict[str, Tensor]] = {}
        parameters = list(self._networks["model"].parameters())
        for name, tensor in _with_prefix("optimizer/", tensors).items():
            index, _, key = name.partition("/")
            state.setdefault(int(index), {})[key] = _with_strides_of(parameters[int(index)], tensor)
        current = self._optimizer.state_dict()["param_groups"]
        param_groups = [
            {**{key: _pair(value) for key, value in group.items()}, "params": own["params"]}
            for group, own in zip(groups, current, strict=True)
        ]
        return {"state": dict(sorted(state.items())), "param_groups": param_groups}

    def _stored(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        if self._path is None or not self._path.is_file():
            return None
        try:
            content = self._path.read_bytes()
            facts = json.loads(_metadata(content)["training"])
            if facts["identity"] != self._identity:
                return None
            tensors = safetensors.torch.load(content)
        except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError):
            return None
        return facts, tensors

    def remove(self) -> None:
        """Delete the file, once the training has ended."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata in the header of a safetensors file: 8 bytes with its length, then JSON."""
    size = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + size])["__metadata__"]
    return metadata


def _own_copy(tensor: Tensor) -> Tensor:
    """Return a contiguous copy: safetensors refuses tensors that share memory or are not contiguous."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _pair(value: object) -> object:
    """Return a list of JSON as the tuple that it was, such as Adam's betas."""
    return tuple(value) if isinstance(value, list) else value


def _with_strides_of(parameter: Tensor, value: Tensor) -> Tensor:
    """Return `value` with the parameter's strides if the shapes agree, because the optimizer's path depends on them."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device="cpu").copy_(value)


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, named without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
