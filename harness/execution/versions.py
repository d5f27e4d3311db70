"""The versions of what a machine computes with. Rows of different versions agree to rounding."""

from pathlib import Path

import torch

__all__ = ["cuda_version", "device_name", "versions"]

_DRIVER = Path("/proc/driver/nvidia/version")


def cuda_version() -> str | None:
    """Return the versions of torch's CUDA and of the driver: ``12.4, driver 550.54.15``; None without CUDA."""
    if not torch.cuda.is_available():
        return None
    return f"{torch.version.cuda}, driver {_driver_version()}"


def device_name(device: str) -> str:
    """Return the name of the GPU, or cpu."""
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def versions() -> str:
    """Return the versions of torch, CUDA and the driver in words."""
    cuda = cuda_version()
    return f"torch {torch.__version__}" + (f", CUDA {cuda}" if cuda else ", no CUDA")


def _driver_version() -> str:
    """Return the version of NVIDIA's driver: the first number with points in the first line of its file."""
    try:
        words = _DRIVER.read_text().splitlines()[0].split()
    except (OSError, IndexError):
        return "unknown"
    return next((word for word in words if word[0].isdigit() and "." in word), "unknown")
