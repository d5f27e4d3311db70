"""One iteration of a search over c, as the engine runs it on a GPU: eager, compiled, or as a CUDA graph.

Nothing in an iteration waits for the device: torch traces it without a break, and a CUDA graph can hold it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch._dynamo
from torch import Tensor, nn

from eadbench.attacks import EAD
from eadbench.attacks.carlini_wagner import AdamInTanhSpace, CarliniWagner
from eadbench.attacks.engine.checks import per_example
from eadbench.attacks.engine.inputs import attacked
from eadbench.attacks.engine.minimise import Batch
from eadbench.attacks.engine.search import Objective, Rows, Search

__all__ = ["Iteration", "captured", "compiled", "started"]


@dataclass(frozen=True)
class Iteration:
    """An iteration that advances all rows, and the rows."""

    run: Callable[[], Tensor]
    rows: Rows


@contextmanager
def started(attack: EAD | CarliniWagner, model: nn.Module, images: Tensor, targets: Tensor) -> Iterator[Iteration]:
    """Begin to attack `images` (N, C, H, W) towards `targets` (N,), and yield the attack's iteration."""
    is_ead = isinstance(attack, EAD)
    search = Search.from_attack(attack)
    with attacked(model, images, targets, len(images), targeted=attack.targeted, kappa=attack.kappa) as call:
        objective = Objective(call, search)
        objective.in_whole_batches = True
        batch = Batch(
            descent=attack if is_ead else AdamInTanhSpace(attack.learning_rate),
            search=search,
            objective=objective,
            call=call,
            beta=per_example("beta", attack.beta if is_ead else 0.0, call.images),
            rules=attack.RULES if is_ead else ("l2",),
        )
        rows = batch.start_rows(torch.arange(len(images), device=images.device))

        def run() -> Tensor:
            x, logits = batch.descent.iterate(objective, rows)
            return batch.keep_best(rows, x, logits, every_row=False)

        yield Iteration(run, rows)


@contextmanager
def compiled(iteration: Iteration, **options: str) -> Iterator[Callable[[], Tensor]]:
    """Yield the iteration as torch compiles it, in one graph."""
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        yield torch.compile(iteration.run, fullgraph=True, **options)


def captured(iteration: Iteration) -> Callable[[], None]:
    """Return the iteration as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            iteration.run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        iteration.run()
    return graph.replay
