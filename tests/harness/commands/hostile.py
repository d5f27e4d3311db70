"""Attacks on those who look at a stranger's results: each changes a finished sweep's folder."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from eadbench.harness.parquet.rows import SCHEMA

ESCAPE = "\x1b]0;pwned\x07\x1b[2J\u202e"
"""Sets a terminal's title, clears it, and reverses what follows."""
CONTROL = set("\x1b\x07\u202e")
TEXTS = [field.name for field in SCHEMA if pa.types.is_string(field.type)]
OF_IDENTITY = ("cell", "model", "evaluated_on", "shard")
ROWS = 20_000_000


@dataclass(frozen=True)
class Target:
    """The folder that is attacked, what lies outside of it, and an address that nobody may ask."""

    folder: Path
    outside: Path
    address: str


Attack = Callable[[Target], object]


def change(path: Path, *keys: str | int, value: object) -> None:
    """Change a value of a JSON or YAML file."""
    content = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
    place: Any = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))


def one(target: Target, pattern: str) -> Path:
    """Return the first file of a kind."""
    return min(target.folder.glob(pattern))


def every_text(content: Any, text: str) -> Any:
    """Return JSON with a text put in front of every text that is no digest, number or key."""
    if isinstance(content, dict):
        return {key: every_text(item, text) for key, item in content.items()}
    if isinstance(content, list):
        return [every_text(item, text) for item in content]
    hexadecimal = isinstance(content, str) and set(content) <= set("0123456789abcdef")
    return f"{text}{content}" if isinstance(content, str) and not hexadecimal else content


def rows_with(target: Target, **values: object) -> None:
    """Set columns of all rows of every part."""
    for part in target.folder.glob("examples/*.parquet"):
        table = pq.read_table(part, partitioning=None)
        for name, value in values.items():
            column = pa.array([value] * len(table), SCHEMA.field(name).type)
            table = table.set_column(SCHEMA.get_field_index(name), name, column)
        pq.write_table(table, part)


def link(path: Path, to: Path) -> None:
    """Replace a file or a folder by a link."""
    if path.is_dir():
        path.rename(path.with_name(f".{path.name}"))
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(to)


def code(target: Target, *, facts: bool = True) -> None:
    """Name code in every field that takes it."""
    spec = target.folder / "spec.yaml"
    change(spec, "dataset", value={"name": "theirs:dataset"})
    change(spec, "victims", 0, "arch", value="theirs:arch")
    change(spec, "victims", 0, "defense", value={"theirs:defence": {}})
    change(spec, "attacks", 0, "name", value="theirs:attack")
    change(one(target, "models/*/recipe.json"), "recipe", "arch", value="theirs:arch")
    change(target.folder / "victims.json", "victims", 0, "arch", value="theirs:arch")
    if facts:
        content = json.loads((target.folder / "format.json").read_text())
        named = {"attacks": {"theirs:attack": {"label": ESCAPE}}, "defenses": {"theirs:defence": {"label": ESCAPE}}}
        (target.folder / "format.json").write_text(json.dumps(content | named))


def requests(target: Target) -> None:
    """Name an address in every field that takes a file."""
    spec = target.folder / "spec.yaml"
    change(spec, "dataset", value={"name": "hf", "path": f"{target.address}/birds"})
    change(spec, "victims", 0, "training", value=None)
    change(spec, "victims", 0, "weights", value=f"simplecache::{target.address}/w.pt")
    change(spec, "victims", 0, "class_map", value=f"{target.address}/map.json")
    change(one(target, "failures/*.json"), "error", value=f"![]({target.address}/x.png)")


def escapes(target: Target) -> None:
    """Put a terminal's commands into every text."""
    rows_with(target, **{name: f"{ESCAPE}{name}" for name in TEXTS if name not in (*OF_IDENTITY, "parameters")})
    rows_with(target, parameters=json.dumps({ESCAPE: ESCAPE}), defense_parameters=json.dumps({ESCAPE: ESCAPE}))
    victims = json.loads((target.folder / "victims.json").read_text())
    for victim in victims["victims"]:
        victim |= dict.fromkeys(("name", "arch", "defense", "trained_on"), ESCAPE) | {"warnings": [ESCAPE]}
        victim["defense_parameters"] = {ESCAPE: ESCAPE}
    (target.folder / "victims.json").write_text(json.dumps(victims))
    for pattern in ("failures/*.json", "models/*/recipe.json"):
        path = one(target, pattern)
        path.write_text(json.dumps(every_text(json.loads(path.read_text()), ESCAPE)))
    for path in target.folder.glob("shards/*.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"worker": ESCAPE, "node": ESCAPE, "device": ESCAPE, "torch": ESCAPE}))


def noting(schema: pa.Schema, rows: int) -> pa.Schema:
    """Return the schema of a file whose note says how many rows it has."""
    note = json.dumps({"rows": rows, "sha256": "0" * 64})
    return schema.with_metadata({**(schema.metadata or {}), b"eadbench": note.encode()})


def equal_rows(target: Target) -> None:
    """Repeat one row 20 million times, in a file of kilobytes."""
    part = one(target, "examples/*.parquet")
    row = pq.read_table(part, partitioning=None).slice(0, 1)
    many = 10_000_000
    indices = pa.array(np.zeros(many, np.int32))
    columns = [
        pa.DictionaryArray.from_arrays(indices, row[name].combine_chunks()).cast(row.schema.field(name).type)
        if pa.types.is_integer(row.schema.field(name).type) or name in ("cell", "model", "evaluated_on")
        else pa.nulls(many, row.schema.field(name).type)
        for name in row.schema.names
    ]
    table = pa.Table.from_arrays(columns, schema=noting(row.schema, ROWS))
    with pq.ParquetWriter(part, table.schema, compression="zstd") as writer:
        for _ in range(ROWS // many):
            writer.write_table(table, row_group_size=many)


def long_text(target: Target) -> None:
    """Give every row a text of a gigabyte, which compresses to kilobytes."""
    part = one(target, "examples/*.parquet")
    table = pq.read_table(part, partitioning=None).slice(0, 1)
    text = pa.array(["x" * (2**30)], pa.string())
    table = table.set_column(SCHEMA.get_field_index("attack"), "attack", text)
    table = table.replace_schema_metadata(noting(table.schema, 1).metadata)
    pq.write_table(table, part, compression="zstd", use_dictionary=False, write_statistics=False)


def many_images(target: Target) -> None:
    """Store two million images in place of one."""
    part = one(target, "images/*.parquet")
    table = pq.read_table(part).slice(0, 1)
    schema, size = noting(table.schema, 2_000_000), table.schema.field("pixels").type.list_size
    with pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for _ in range(20):
            many = 100_000
            keys = [pa.array([table[name][0].as_py()] * many, schema.field(name).type) for name in ("cell", "image")]
            targets = pa.array(np.arange(many), schema.field("target").type)
            pixels = pa.FixedSizeListArray.from_arrays(
                pa.array(np.zeros(many * size, np.float32)), type=schema.field("pixels").type
            )
            writer.write_table(pa.Table.from_arrays([*keys, targets, pixels], schema=schema))


def sparse(path: Path, size: int = 2**36) -> None:
    """Make a file of gigabytes that takes no room."""
    with path.open("r+b") as file:
        file.truncate(size)


def aliases(target: Target) -> None:
    """Multiply a list by YAML's aliases: a billion laughs."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (target.folder / "spec.yaml").write_text("\n".join(lines))


ATTACKS: dict[str, Attack] = {
    "code": code,
    "code without facts": lambda target: code(target, facts=False),
    "requests": requests,
    "escapes": escapes,
    "an artifact that is absolute": lambda target: change(
        one(target, "invocations/*.json"), "artifacts", value={str(target.outside / "written"): "x"}
    ),
    "an artifact that climbs": lambda target: change(
        one(target, "invocations/*.json"), "artifacts", value={"a/../../../../../../../../tmp/climbed.txt": "x"}
    ),
    "a victim that climbs": lambda target: change(
        target.folder / "victims.json", "victims", 0, "digest", value="../../outside/secret"
    ),
    "a logged victim that climbs": lambda target: change(
        one(target, "invocations/*.json"), "victims", 0, "digest", value="../../outside/secret"
    ),
    "a shard that climbs": lambda target: rows_with(target, shard="../../outside/secret"),
    "a linked part": lambda target: link(one(target, "examples/*.parquet"), target.outside / "secret"),
    "linked images": lambda target: link(target.folder / "images", target.outside),
    "a linked report": lambda target: link(target.folder / "report", target.outside),
    "linked invocations": lambda target: link(target.folder / "invocations", target.outside),
    "linked weights": lambda target: link(one(target, "models/*/weights.safetensors"), target.outside / "secret"),
    "a linked spec": lambda target: link(target.folder / "spec.yaml", target.outside / "secret"),
    "a name": lambda target: (target.folder / "examples" / f"{ESCAPE.replace('/', '')}.parquet").write_bytes(b""),
    "a linked lock": lambda target: link(target.folder / "models" / "lock", target.outside / "secret"),
    "a pipe": lambda target: os.mkfifo(target.folder / "failures" / "pipe.json"),
    "a deep recipe": lambda target: one(target, "models/*/recipe.json").write_text("[" * 10**6),
    "aliases": aliases,
    "a defence of other types": lambda target: change(
        target.folder / "victims.json", "victims", 0, "defense_parameters", value={"attacks": 5, "temperature": [1]}
    ),
}


@dataclass(frozen=True)
class Bomb:
    """A small file that would take gigabytes, and the commands that open it."""

    build: Attack
    commands: tuple[str, ...]


BOMBS = {
    "equal rows": Bomb(equal_rows, ("report", "verify")),
    "a long text": Bomb(long_text, ("report", "show", "verify")),
    "many images": Bomb(many_images, ("show", "report     ", "report    ", "verify")),
    "a sparse spec": Bomb(lambda target: sparse(target.folder / "spec.yaml"), ("report",)),
    "sparse victims": Bomb(lambda target: sparse(target.folder / "victims.json"), ("report",)),
    "a sparse invocation": Bomb(lambda target: sparse(one(target, "invocations/*.json")), ("log",)),
    "sparse weights": Bomb(lambda target: sparse(one(target, "models/*/weights.safetensors"), 3 * 2**30), ("verify",)),
    "a sparse recipe": Bomb(lambda target: sparse(one(target, "models/*/recipe.json")), ("report    ",)),
}
