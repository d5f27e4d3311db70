"""How many workers the nodes of a cluster have room for. Amounts of resources have Ray's names: CPU, GPU, memory."""

import os
from collections.abc import Mapping, Sequence

import torch

from eadbench.harness.errors import UserError
from eadbench.harness.spec import Resources

__all__ = ["Amounts", "amounts_text", "check_fit", "needs", "room", "this_machine"]

Amounts = Mapping[str, float]


def this_machine() -> Amounts:
    """Return the resources of this machine: cores, GPUs, and bytes of memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"CPU": len(os.sched_getaffinity(0)), "GPU": torch.cuda.device_count(), "memory": memory}


def needs(resources: Resources, nodes: Sequence[Amounts]) -> Amounts:
    """Return what each worker asks of a node: a GPU if any node has one, else a core per thread."""
    gpus = resources.gpus
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    cpus = resources.cpus or (1.0 if gpus else float(resources.threads))
    return {"GPU": gpus, "CPU": cpus, "memory": float(resources.memory or 0)}


def room(amounts: Amounts, nodes: Sequence[Amounts]) -> int:
    """Return how many workers that need these amounts fit on the nodes, if nothing else runs there."""
    needed = {kind: amount for kind, amount in amounts.items() if amount}
    return sum(min(int(node.get(kind, 0) / amount + 1e-6) for kind, amount in needed.items()) for node in nodes)


def check_fit(resources: Resources, nodes: Sequence[Amounts]) -> None:
    """Refuse more workers than fit on this machine.

    Raises
    ------
    UserError
        They do not fit.
    """
    workers, amounts = resources.workers or 1, needs(resources, nodes)
    fit = room(amounts, nodes)
    if workers <= fit:
        return
    machine = {kind: sum(node.get(kind, 0) for node in nodes) for kind in ("GPU", "CPU", "memory")}
    raise UserError(
        f"resources: {workers} workers of {amounts_text(amounts)} each do not fit on this machine's "
        f"{amounts_text(machine)}; ask for {'fewer workers' if fit else 'less per worker'}, or give --address of a "
        "cluster"
    )


def amounts_text(amounts: Amounts) -> str:
    """Return amounts as a text: ``0.5 GPU, 1 CPU, 8 GiB memory``."""
    texts = [f"{amounts[kind]:g} {kind}" for kind in ("GPU", "CPU") if amounts.get(kind)]
    if amounts.get("memory"):
        texts.append(f"{amounts['memory'] / 2**30:.3g} GiB memory")
    return ", ".join(texts) or "nothing"
