"""Publish the rows of the paper's sweeps, and make the tables of docs/reproduction.md from them.

    uv run python -m benchmarks.reproduction publish results/table_* --into docs/results
    uv run python -m benchmarks.reproduction page docs/results --into docs/reproduction.md

`publish` copies what a reader needs to recompute every figure: rows, specs, recipes and accuracies, what each shard
cost, and the target that the average case draws for each image (`average.csv`). Weights, images and names of machines
stay behind. What it writes are results folders, which `eadbench report` and `eadbench claims` read.

`page` replaces each part of the page that stands between `<!-- NAME: made by benchmarks/reproduction.py -->` and
`<!-- end of NAME -->`; the parts are `cost`, `victims`, `tables` and `claims`. The rest of the page stays as it is.
"""

import argparse
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eadbench.dashboards.page.victims import training_text
from eadbench.harness.analysis import summary as summaries
from eadbench.harness.analysis.draws import KEY, drawn_targets
from eadbench.harness.errors import UserError
from eadbench.harness.frames import Results
from eadbench.harness.labels import dataset_label
from eadbench.harness.paper import claims, comparison
from eadbench.harness.paper.published import TITLES
from eadbench.harness.reporting import report

MADE = "made by benchmarks/reproduction.py"
PLACES = ("root", "path")
"""Parameters of data sets that name folders of this machine."""


def publish(folder: Path, into: Path) -> Path:
    """Copy a results folder without weights, images and names of machines, and return the copy, named by its spec.

    Raises
    ------
    UserError
        Rows are missing.
    """
    results = Results(folder)
    if results.summary.missing:
        raise UserError(f"{folder}: {results.summary.missing}; run the sweep to its end before its rows are published")
    snapshot, copy = results.snapshot, into / results.spec.name
    shutil.rmtree(copy, ignore_errors=True)
    for name in ("format.json", "victims.json", "cells.json", "tested.json"):
        _copy(folder / name, copy / name)
    for pattern in ("models/*/recipe.json", "models/*/evaluation-*.json"):
        for file in folder.glob(pattern):
            _copy(file, copy / file.relative_to(folder))
    content = yaml.safe_load((folder / "spec.yaml").read_text())
    content["dataset"] |= {name: "data" for name in PLACES if name in content["dataset"]}
    (copy / "spec.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    for record in snapshot.shard_records:
        name = f"shards/{record.shard}.json"
        _copy(folder / name, copy / name)
        (copy / name).write_text(json.dumps(json.loads((copy / name).read_text()) | {"node": "", "worker": ""}))
        if record.split == snapshot.spec.images.split:
            for part in folder.glob(f"examples/{record.shard}*.parquet"):
                _copy(part, copy / part.relative_to(folder))
    drawn = drawn_targets(results.rows([*KEY, "target"]), seed=results.spec.seed)
    drawn.to_csv(copy / "average.csv", index=False)
    return copy


def _copy(file: Path, to: Path) -> None:
    if file.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)


def published(folder: Path) -> list[Results]:
    """Return the results that were published into a folder, in the order of the paper's tables."""
    return sorted((Results(file.parent) for file in folder.glob("*/spec.yaml")), key=_number)


def page(text: str, sweeps: Sequence[Results]) -> str:
    """Return a page whose marked parts are made anew from published results.

    Raises
    ------
    UserError
        A part's marks are missing.
    """
    for name, make in PARTS.items():
        begin, end = f"<!-- {name}: {MADE} -->\n", f"<!-- end of {name} -->"
        if begin not in text or end not in text.partition(begin)[2]:
            raise UserError(f"the page has no part {name}: put {begin.strip()} and {end} around it")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{make(sweeps)}\n{end}{rest.partition(end)[2]}"
    return text


def _cost(sweeps: Sequence[Results]) -> str:
    """The images, rows, minutes and gradient evaluations of each sweep."""
    rows = []
    for results in sweeps:
        records = results.snapshot.shard_records
        images = max(len(victim.images) for victim in results.snapshot.victims if victim.attacked)
        minutes = sum(record.seconds for record in records) / 60
        passes = sum(record.gradient_evaluations for record in records)
        link = f"[{_number(results)}](../sweeps/paper/{results.spec.name}.yaml)"
        rows.append([link, images, f"{len(results.rows(['image'])):,}", f"{minutes:,.1f}", f"{passes:,}"])
    return _table(["table", "images", "rows", "minutes on one core", "gradient evaluations"], rows)


def _victims(sweeps: Sequence[Results]) -> str:
    """The recipe and the accuracy of each victim."""
    rows: dict[str, list[object]] = {}
    for results in sweeps:
        for victim in results.snapshot.victims:
            label = f"{_dataset(results)}, {results.summary.labels.victim[victim.digest]}"
            accuracy = "–" if victim.accuracy is None else f"{100 * victim.accuracy:.2f}"
            recipe = results.snapshot.recipes[victim.digest]
            rows.setdefault(victim.digest, [label, victim.digest, accuracy, training_text(recipe)])
    return _table(["victim", "recipe", "accuracy, %", "training"], list(rows.values()), left=4)


def _tables(sweeps: Sequence[Results]) -> str:
    """Each sweep's average case beside the paper's, with the command that recomputes ours."""
    return "\n".join(map(_paper_table, sweeps))


def _paper_table(results: Results) -> str:
    number, summary = _number(results), results.summary
    head = f"### Table {number}: {TITLES[number]}, {_dataset(results)}"
    compared = report.compared(summary)
    own = compared[[str(number) in tables.split(", ") for tables in compared["table"]]].assign(table=str(number))
    body = comparison.render(own, "markdown", cases=("average",))
    return f'{head}\n\n`duckdb -c "{_query(results)}"`\n\n{body}'


def _query(results: Results) -> str:
    """Return the query that recomputes the average case from the published rows, over images that count."""
    spec, folder = results.spec, f"docs/results/{results.spec.name}"
    tests = f"read_json('{folder}/models/*/evaluation-{spec.images.split}.json', filename=true)"
    both_correct = (
        f" JOIN (SELECT parse_path(filename)[-2] AS evaluated_on, wrong FROM {tests}) USING (evaluated_on) "
        "WHERE NOT list_contains(wrong, image)"
    )
    return (
        "SELECT model, evaluated_on, attack, norm, decision_rule, beta, kappa, 100 * avg(success::int) AS asr, "
        f"avg(l1), avg(l2), avg(linf) FROM '{folder}/examples/*.parquet' "
        f"JOIN '{folder}/average.csv' USING (dataset, split, image, target)"
        f"{both_correct if spec.evaluated == 'both_correct' else ''} GROUP BY ALL"
    )


def _claims(sweeps: Sequence[Results]) -> str:
    """Each claim with its verdict."""
    pool = summaries.pool([results.snapshot for results in sweeps])
    return claims.render(claims.check(pool.rows, pool.victims, tested=pool.tested))


def _dataset(results: Results) -> str:
    """Return the label of a sweep's data set."""
    return dataset_label(results.summary.lines["dataset"].iloc[0])


def _number(results: Results) -> int:
    """Return the paper's number of a sweep's table, from its name."""
    match = re.fullmatch(r"table_(\d+)", results.spec.name)
    if match is None or int(match[1]) not in TITLES:
        raise UserError(f"{results.folder}: holds {results.spec.name}, which is no sweep of sweeps/paper")
    return int(match[1])


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 0) -> str:
    rules = [":--"] * left + ["--:"] * (len(heads) - left)
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in [heads, rules, *rows])


PARTS: Mapping[str, Callable[[Sequence[Results]], str]] = {
    "victims": _victims,
    "cost": _cost,
    "tables": _tables,
    "claims": _claims,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the two commands."""
    parser: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["publish", "page"])
    parser.add_argument("folders", nargs="+", type=Path, help="results folders; of page, the folder that holds them")
    parser.add_argument("--into", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        if given.command == "publish":
            for folder in given.folders:
                print(publish(folder, given.into))
            return
        [folder] = given.folders
        given.into.write_text(page(given.into.read_text(), published(folder)))
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
