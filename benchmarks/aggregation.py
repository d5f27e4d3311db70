"""Measure the time and memory of summarising generated results, each folder in a new process.

    uv run python -m benchmarks.aggregation --folder /tmp/aggregation 1e7/10000 1e7/400

A size is ROWS/ROWS_PER_PART. EAD's two decision rules with `shard_size: 200` give 400 rows per part. The script
generates a folder unless it exists: 10⁷ rows take 20 seconds and 250 MB in parts of 10,000, and a minute and 500 MB in
parts of 400.
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

from eadbench.harness import spec as specs
from eadbench.harness.analysis import summary
from eadbench.harness.parquet.rows import SCHEMA, encoded
from eadbench.harness.plan.grid import Shard, Victim, blocks, other_parameters
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot
from eadbench.models import canonical_json

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
SUCCESS_RATE = 0.9

Ints = NDArray[np.integer[Any]]


def victims(images: int) -> list[Victim]:
    """Return one undefended and two distilled victims, each with that number of attacked images."""
    drawn = np.random.default_rng(1).permutation(images).tolist()
    labels = np.random.default_rng(2).integers(0, CLASSES, images).tolist()
    return [
        Victim(
            digest=f"{100 + index:016x}",
            name=None,
            arch="digits",
            defense="distillation" if temperature else "none",
            defense_parameters={"temperature": temperature} if temperature else {},
            trained_on="digits",
            accuracy=0.99,
            images=drawn,
            labels=labels,
        )
        for index, temperature in enumerate((None, 10.0, 100.0))
    ]


def tested_on(block: Shard, victims: list[Victim]) -> list[Victim]:
    """Return the victims that test a block's examples: its own, and for the first victim also the second."""
    return victims[:2] if block.victim is victims[0] else [block.victim]


def generate(folder: Path, rows: int, per_part: int) -> None:
    """Write a results folder of about `rows` rows; the same numbers give the same rows."""
    spec, results, generator = specs.parse(yaml.safe_load(SPEC)), Results(folder), np.random.default_rng(0)
    sample = victims(1)
    rows_per_image = TARGETS * sum(
        len(block.cells()) * len(tested_on(block, sample)) for block in blocks(spec, "digits", sample)
    )
    attacked = victims(max(1, rows // rows_per_image))
    results.examples.mkdir(parents=True)
    for block in blocks(spec, "digits", attacked):
        rules, points = block.setting.decision_rules, len(block.setting.betas) * len(block.setting.kappas)
        examples = np.arange(len(block.victim.images) * points * TARGETS)
        size = per_part // len(rules)
        for start, target in product(range(0, len(examples), size), tested_on(block, attacked)):
            shard = f"{generator.integers(2**63):016x}"
            table = shard_table(block, examples[start : start + size], target, shard, generator)
            path = results.part(shard, None if target is block.victim else target.digest)
            path.write_bytes(encoded(table))
    results.write_victims("digits", attacked, (1, 8, 8), range(10))
    results.begin(spec)


def shard_table(
    block: Shard, examples: Ints, tested_on: Victim, shard: str, generator: np.random.Generator
) -> pa.Table:
    """Return the rows of a shard; `examples` numbers them image by image, each at every β, κ and target."""
    setting, victim = block.setting, block.victim
    rules = setting.decision_rules
    rest, target = np.divmod(np.repeat(examples, len(rules)), TARGETS)
    rest, kappa = np.divmod(rest, len(setting.kappas))
    image, beta = np.divmod(rest, len(setting.betas))
    rule = np.tile(np.arange(len(rules)), len(examples))
    label = np.asarray(victim.labels)[image]
    count = len(image)
    failed = generator.random(count) >= SUCCESS_RATE
    cells = [block.cell_digests[key] for key in product(setting.betas, setting.kappas, rules)]
    distances = {name: pa.array(generator.gamma(5, size=count), mask=failed) for name in ("l0", "l1", "l2", "linf")}
    constants = {
        "dataset": "digits",
        "split": "test",
        "model": victim.digest,
        "arch": victim.arch,
        "defense": victim.defense,
        "defense_parameters": canonical_json(victim.defense_parameters),
        "temperature": victim.temperature,
        "trained_on": victim.trained_on,
        "evaluated_on": tested_on.digest,
        "attack": setting.attack,
        "norm": setting.parameters.get("norm"),
        "parameters": other_parameters(setting.parameters),
        "shard": shard,
    }
    columns = {
        **{name: pa.repeat(pa.scalar(value, SCHEMA.field(name).type), count) for name, value in constants.items()},
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
    arrays = [pa.array(columns[f.name]).cast(f.type) if f.name in columns else pa.nulls(count, f.type) for f in SCHEMA]
    return pa.table(arrays, schema=SCHEMA)


def measure(folder: Path) -> None:
    """Summarise a folder in this process; print the peak of memory in GiB and the CPU seconds of all cores."""
    summary.read(Snapshot(Results(folder)))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"peak": usage.ru_maxrss / 2**20, "cpu": usage.ru_utime + usage.ru_stime}))


def table_line(folder: Path, rows: int, per_part: int) -> str:
    """Measure a folder in a new process; return its line of the table."""
    if not (folder / "spec.yaml").exists():
        generate(folder, rows, per_part)
    parts = list(Results(folder).examples.iterdir())
    stored_rows = sum(pq.read_metadata(part).num_rows for part in parts)
    command = [sys.executable, "-m", "benchmarks.aggregation", "--measure", str(folder)]
    started = time.perf_counter()
    costs = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    seconds = time.perf_counter() - started
    return f"| {stored_rows:,} | {len(parts):,} | {seconds:.0f} | {costs['cpu']:.0f} | {costs['peak']:.2f} |"


def main() -> None:
    """Measure folders of the given sizes, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=["1e7/10000", "1e7/400"], metavar="ROWS/ROWS_PER_PART")
    parser.add_argument("--folder", type=Path, default=Path("results/aggregation"))
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    print("| rows | parts | seconds, imports included | CPU seconds | peak RSS, GiB |\n|" + " ---: |" * 5, flush=True)
    for size in arguments.sizes:
        rows, per_part = (int(float(number)) for number in size.split("/"))
        print(table_line(arguments.folder / f"{rows}-{per_part}", rows, per_part), flush=True)


if __name__ == "__main__":
    main()
