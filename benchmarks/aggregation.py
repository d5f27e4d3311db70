"""What summarising a results folder costs, over rows made up for it: seconds and memory, each folder in a new process.

    uv run python -m benchmarks.aggregation --folder /tmp/aggregation 1e7/10000 1e7/400

ROWS/ROWS_PER_PART: 400 is what EAD's two decision rules make of `shard_size: 200`. A folder is made unless it is
there: 10⁷ rows take 20 seconds and 250 MB in parts of 10,000, and a minute and 500 MB in parts of 400.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from eadbench.harness.parquet.rows import SCHEMA, encoded
from eadbench.harness.plan.grid import Shard, Victim, blocks
from eadbench.harness.reporting import report
from eadbench.harness.results.folder import Results
from eadbench.harness.spec import schema as specs

SPEC = """
name: aggregation
dataset: {name: digits}
images: {count: 10000}
victims: [{arch: digits, training: {epochs: 1}}]
attacks:
  - {name: cw, kappa: [0, 10, 20, 40]}
  - {name: fgm, norm: [l1, l2, linf]}
  - {name: ifgm, norm: [l1, l2, linf]}
  - {name: ead, beta: [1e-3, 1e-2, 1e-1], kappa: [0, 10, 20, 40]}
"""
CLASSES = 10
TARGETS = CLASSES - 1
SUCCEEDS = 0.9

Ints = NDArray[np.integer[Any]]


def victims(images: int) -> list[Victim]:
    """One undefended and two distilled ones, of which so many images are attacked."""
    drawn = np.random.default_rng(1).permutation(images).tolist()
    labels = np.random.default_rng(2).integers(0, CLASSES, images).tolist()
    return [
        Victim(
            digest=f"{100 + index:016x}",
            arch="digits",
            defense="distillation" if temperature else "none",
            temperature=temperature,
            trained_on="digits",
            accuracy=0.99,
            images=drawn,
            labels=labels,
        )
        for index, temperature in enumerate((None, 10.0, 100.0))
    ]


def tested_on(block: Shard, everyone: list[Victim]) -> list[Victim]:
    """Examples are tested where they were crafted, and those of the first victim on the second too."""
    return everyone[:2] if block.victim is everyone[0] else [block.victim]


def make(folder: Path, rows: int, per_part: int) -> None:
    """Write a results folder of about so many rows; the same for the same numbers."""
    spec, results, generator = specs.parse(yaml.safe_load(SPEC)), Results(folder), np.random.default_rng(0)
    one = victims(1)
    each = TARGETS * sum(len(block.cells()) * len(tested_on(block, one)) for block in blocks(spec, "digits", one))
    everyone = victims(max(1, rows // each))
    results.examples.mkdir(parents=True)
    for block in blocks(spec, "digits", everyone):
        rules, axes = block.setting.decision_rules, len(block.setting.betas) * len(block.setting.kappas)
        examples = np.arange(len(block.victim.images) * axes * TARGETS)
        for start, onto in product(range(0, len(examples), size := per_part // len(rules)), tested_on(block, everyone)):
            shard = f"{generator.integers(2**63):016x}"
            table = part(block, examples[start : start + size], onto, shard, generator)
            path = results.part(shard, None if onto is block.victim else onto.digest)
            path.write_bytes(encoded(table))
    results.write_victims("digits", everyone)
    results.begin(spec)


def part(block: Shard, examples: Ints, onto: Victim, shard: str, generator: np.random.Generator) -> pa.Table:
    """The rows of a shard: of the numbers of its examples, image after image, each at every β, κ and target."""
    setting, victim = block.setting, block.victim
    rules = setting.decision_rules
    rest, target = np.divmod(np.repeat(examples, len(rules)), TARGETS)
    rest, kappa = np.divmod(rest, len(setting.kappas))
    image, beta = np.divmod(rest, len(setting.betas))
    rule = np.tile(np.arange(len(rules)), len(examples))
    label = np.asarray(victim.labels)[image]
    count = len(image)
    failed = generator.random(count) >= SUCCEEDS
    cells = [block.cell_digests[axes] for axes in product(setting.betas, setting.kappas, rules)]
    distances = {name: pa.array(generator.gamma(5, size=count), mask=failed) for name in ("l0", "l1", "l2", "linf")}
    same = {
        "dataset": "digits",
        "split": "test",
        "model": victim.digest,
        "arch": victim.arch,
        "defense": victim.defense,
        "temperature": victim.temperature,
        "trained_on": victim.trained_on,
        "evaluated_on": onto.digest,
        "attack": setting.attack,
        "norm": setting.parameters.get("norm"),
        "shard": shard,
        "margin": None,
        "const": None,
        "epsilon": None,
    }
    columns = {
        **{name: pa.repeat(pa.scalar(value, SCHEMA.field(name).type), count) for name, value in same.items()},
        "image": np.asarray(victim.images)[image],
        "label": label,
        "target": target + (target >= label),
        "decision_rule": pa.array(rules, pa.string()).take(rule),
        "kappa": np.asarray(setting.kappas)[kappa],
        "beta": pa.array(setting.betas, pa.float64()).take(beta),
        "cell": pa.array(cells).take((beta * len(setting.kappas) + kappa) * len(rules) + rule),
        "success": ~failed,
        **distances,
        **{name: generator.integers(100, 9000, count) for name in ("iterations", "forward_passes")},
    }
    return pa.table([pa.array(columns[name]).cast(SCHEMA.field(name).type) for name in SCHEMA.names], schema=SCHEMA)


def measure(folder: Path) -> None:
    """Summarise a folder in this process, and print its peak of memory in GiB and its seconds on all cores."""
    report.read(Results(folder))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"peak": used.ru_maxrss / 2**20, "cpu": used.ru_utime + used.ru_stime}))


def line(folder: Path, rows: int, per_part: int) -> str:
    """A line of the table."""
    if not (folder / "spec.yaml").exists():
        make(folder, rows, per_part)
    parts = list(Results(folder).examples.iterdir())
    held = sum(pq.read_metadata(part).num_rows for part in parts)
    command = [sys.executable, "-m", "benchmarks.aggregation", "--measure", str(folder)]
    started = time.perf_counter()
    took = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    seconds = time.perf_counter() - started
    return f"| {held:,} | {len(parts):,} | {seconds:.0f} | {took['cpu']:.0f} | {took['peak']:.2f} |"


def main() -> None:
    """Measure the folders that are asked for, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("sizes", nargs="*", default=["1e7/10000", "1e7/400"], metavar="ROWS/ROWS_PER_PART")
    arguments.add_argument("--folder", type=Path, default=Path("results/aggregation"))
    arguments.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.measure:
        measure(given.measure)
        return
    print("| rows | parts | seconds, imports included | CPU seconds | peak RSS, GiB |\n|" + " ---: |" * 5, flush=True)
    for size in given.sizes:
        rows, per_part = (int(float(number)) for number in size.split("/"))
        print(line(given.folder / f"{rows}-{per_part}", rows, per_part), flush=True)


if __name__ == "__main__":
    main()
