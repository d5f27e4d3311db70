"""Measure the optimality of attacks under a budget of passes, by attackbenchlib's count, ours beside adv-lib's.

    python benchmarks/optimality.py run --victim ddn=ddn.pth --data mnist --place ROOT --norm l1 --rows rows.jsonl
    python benchmarks/optimality.py table rows.jsonl > docs/leaderboard.md
    python benchmarks/optimality.py picture rows.jsonl --to docs/images/optimality.png

Needs `attackbenchlib` 2.0.2 and `adv-lib` 0.2.8, installed with `--no-deps`; what they import and this does not need,
wandb and visdom, may be absent. A victim is a file with the weights of TRADES' SmallCNN, or the folder of a model that
a sweep has trained, DIR/models/RECIPE. One image is attacked at a time. Each result is a line of the file of rows; a
run that was killed goes on where it ended, and several runs may write files of their own.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contenders import NORMS, contenders
from benchmarks.optimality_picture import draw
from benchmarks.optimality_table import markdown
from eadbench.harness import datasets
from eadbench.models import load
from sweeps.related.networks import SmallCNN

KEY = ("victim", "norm", "budget", "targeted", "attack", "image")


def victim(place: Path) -> nn.Module:
    """Return a network in evaluation mode."""
    if place.is_dir():
        network, _, _ = load(place)
    else:
        network = SmallCNN()
        network.load_state_dict(torch.load(place, weights_only=True, map_location="cpu"))
    return network.eval().requires_grad_(False)


def examples(arguments: argparse.Namespace) -> Iterator[tuple[int, Tensor, Tensor, Tensor | None]]:
    """Yield the images of the test split (1, C, H, W), each with its index, class and target class."""
    key = "root" if arguments.data == "mnist" else "path"
    options = {"download": False} if arguments.data == "mnist" else {}
    data = datasets.load(arguments.data, **{key: str(arguments.place)}, **options)
    for index in range(arguments.first, arguments.first + arguments.images):
        label = torch.as_tensor(data.test.labels[[index]])
        target = (label + 1 + index % 9) % 10 if arguments.targeted else None
        yield index, data.test.images([index]).contiguous(), label, target


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the rows that the file lacks: image by image, so that every attack has the same images at any time."""
    from benchmarks import counted as attackbench

    torch.set_num_threads(arguments.threads)
    known = {tuple(row[name] for name in KEY) for row in rows([arguments.rows])}
    wrapped = {name: attackbench.Counted(victim(Path(place))) for name, place in arguments.victim}
    attacks = {
        (norm, budget, name): attack
        for norm in arguments.norm
        for budget in arguments.budget
        for name, attack in contenders(norm, budget, targeted=arguments.targeted).items()
        if any(part in name for part in arguments.attacks or [name])
    }
    for index, image, label, target in examples(arguments):
        for place, model in wrapped.items():
            attackbench.check_gradients(model, image)
            for (norm, budget, name), attack in attacks.items():
                key = dict(zip(KEY, (place, norm, budget, arguments.targeted, name, index), strict=True))
                if tuple(key.values()) not in known:
                    result = attackbench.run(model, image, label, attack, norm, budget, target=target)
                    yield key | result | {"torch": torch.__version__}


def rows(paths: list[Path]) -> list[dict[str, Any]]:
    """Read files of rows; a last line that a kill cut short does not count."""
    found = []
    for path in paths:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        found += [json.loads(line) for line in lines if line.endswith("\n")]
    return found


def _run(arguments: argparse.Namespace) -> None:
    if arguments.rows.exists():  # begin on a line of its own
        text = arguments.rows.read_text()
        arguments.rows.write_text(text[: text.rfind("\n") + 1])
    started = time.perf_counter()
    with arguments.rows.open("a") as file:
        for count, row in enumerate(measure(arguments), start=1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            if row["error"]:
                print(f"{row['attack']} on image {row['image']} of {row['victim']}: {row['error']}", flush=True)
            if count % 20 == 0:
                print(f"image {row['image']}, {count} rows, {time.perf_counter() - started:.0f} s", flush=True)


def pair(text: str) -> tuple[str, str]:
    """Split NAME=PATH."""
    name, _, place = text.partition("=")
    return name, place


def main() -> None:
    """Run, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="attack, and append rows to a file")
    run.add_argument("--victim", action="append", type=pair, metavar="NAME=PATH", required=True)
    run.add_argument("--data", default="mnist", help="mnist, or parquet")
    run.add_argument("--place", type=Path, default=Path("data"), help="the root or the path of the data set")
    run.add_argument("--norm", nargs="+", choices=list(NORMS), default=list(NORMS))
    run.add_argument("--budget", nargs="+", type=int, default=[2000])
    run.add_argument("--images", type=int, default=100)
    run.add_argument("--first", type=int, default=1000, help="index of the first image of the test split")
    run.add_argument("--targeted", action="store_true", help="one class to reach for each image")
    run.add_argument("--attacks", nargs="+", help="parts of the names of attacks; all unless given")
    run.add_argument("--threads", type=int, default=1)
    run.add_argument("--rows", type=Path, default=Path("optimality.jsonl"))
    run.set_defaults(command=_run)
    table = commands.add_parser("table", help="print the tables of files of rows, as Markdown")
    table.add_argument("files", nargs="+", type=Path)
    table.set_defaults(command=lambda arguments: print(markdown(rows(arguments.files)), end=""))
    picture = commands.add_parser("picture", help="draw the global optimality of every attack")
    picture.add_argument("files", nargs="+", type=Path)
    picture.add_argument("--to", type=Path, required=True)
    picture.set_defaults(command=lambda arguments: draw(rows(arguments.files), arguments.to))
    arguments = parser.parse_args()
    arguments.command(arguments)


if __name__ == "__main__":
    main()
