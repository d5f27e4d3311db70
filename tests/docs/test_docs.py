"""The docs against the project: commands parse, links lead somewhere, quoted messages and columns are the real ones."""

import ast
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from eadbench.harness import cli, spec
from eadbench.harness.analysis.aggregate import ALL_TARGETS, INTERVALS, ROUNDED_COLUMNS
from eadbench.harness.parquet.rows import SCHEMA
from eadbench.harness.reporting.tables import CSV_COLUMNS
from eadbench.harness.results.folder import FORMAT
from tests.command_lines import command_lines, taken
from tests.docs.markdown import NOTEBOOKS, PAGES, ROOT, Block, anchors, blocks, inline_code, links, name_of, prose

FOLDERS = "attacks|models|defenses|harness|dashboards|sweeps|benchmarks|deploy|docs|tests"
COMPOSED = {"…: not the rows of a sweep: …"}
"""Messages that the code puts together; other tests pin them."""
BASE = {
    "name": "page",
    "dataset": {"name": "mnist"},
    "images": {"count": 1},
    "victims": [{"arch": "cw_mnist", "training": {"epochs": 1}}],
    "attacks": [{"name": "cw"}],
}


def commands() -> list[list[str]]:
    """The `eadbench` commands in the code blocks of every page."""
    texts = [block.text for page in PAGES for block in blocks(page, "", "bash", "console")]
    return [words for text in texts for words in command_lines(text) if words[0] == "eadbench"]


def rows_of_table(page: str, first_column: str) -> list[list[str]]:
    """The cells of the tables of a page whose first column has that head."""
    tables = re.findall(r"(?:^\|.*\|\n)+", (ROOT / page).read_text(), re.MULTILINE)
    lines = [line for table in tables if table.startswith(f"| {first_column} |") for line in table.splitlines()[2:]]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@cache
def texts_in_the_code() -> list[str]:
    """Every text of the project's code, with … for what is put in."""
    files = [file for folder in ("harness", "models", "dashboards") for file in (ROOT / folder).rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    return [text for node in nodes if (text := _text(node))]


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


class TestCommands:
    @pytest.mark.parametrize("words", commands(), ids=" ".join)
    def test_the_command_line_takes_them(self, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("socket.create_connection", lambda *_, **__: io.BytesIO())
        monkeypatch.setenv("EADBENCH_NO_CODE", "")
        name, parameters = taken(typer.main.get_command(cli.app), words)
        file = ROOT / str(parameters.get("spec_file") or "")
        if name in ("run", "plan") and file.is_file():
            spec.load(file, parameters["overrides"] or (), scale=parameters["scale"])

    def test_there_are_commands(self) -> None:
        assert {"run", "report", "claims", "dashboard"} <= {words[1] for words in commands()}

    def test_those_within_sentences_exist(self) -> None:
        known: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
        codes = [code for page in PAGES for code in inline_code(page) if re.match(r"eadbench (--no-code )?[a-z]", code)]
        assert len(codes) > 20
        for code in codes:
            name, *words = code.removeprefix("eadbench ").removeprefix("--no-code ").split()
            assert name in known, code
            options = {text for parameter in known[name].loaded().params for text in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options | {"--help"}, code

    def test_every_command_is_in_the_readme(self) -> None:
        text = (ROOT / "README.md").read_text()
        commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
        assert [name for name in commands if not re.search(rf"`(?:eadbench )?{name}\b", text)] == []


class TestLinks:
    @pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=name_of)
    def test_they_lead_to_files_and_headings(self, page: Path) -> None:
        missing = [
            f"{target}#{anchor}"
            for target, anchor in links(page)
            if not target.exists() or (anchor and anchor not in anchors(target))
        ]
        assert missing == []

    @pytest.mark.parametrize("page", PAGES, ids=name_of)
    def test_files_that_are_named_exist(self, page: Path) -> None:
        text = page.read_text()
        named = set(re.findall(rf"(?<![\w/.])(?:{FOLDERS})/[\w./*-]*[\w*]", text))
        placeholders = {path for path in named if path.rpartition("/")[2].isupper()}
        assert [path for path in named - placeholders if not any(ROOT.glob(path))] == []

    def test_every_page_is_linked_from_the_readme(self) -> None:
        linked = {target for target, _ in links(ROOT / "README.md")}
        assert [name_of(page) for page in PAGES if page.parent.name == "docs" and page not in linked] == []


class TestSpecs:
    @pytest.mark.parametrize("block", [b for page in PAGES for b in blocks(page, "yaml") if not b.needs], ids=str)
    def test_they_resolve(self, block: Block) -> None:
        """A part of a spec is completed by a small one."""
        spec.parse(BASE | yaml.safe_load(block.text))


class TestResultsPage:
    def test_columns_are_those_of_the_rows(self) -> None:
        documented = [(name.strip("`"), kind) for name, kind, _ in rows_of_table("docs/results.md", "column")]
        assert documented == [(field.name, str(field.type)) for field in SCHEMA]

    def test_the_last_format_is_the_current_one(self) -> None:
        assert [int(row[0]) for row in rows_of_table("docs/results.md", "format")] == list(range(1, FORMAT + 1))
        assert f'`{{"format": {FORMAT}}}`' in (ROOT / "docs/results.md").read_text()

    def test_columns_of_the_tables_are_explained(self) -> None:
        intervals_and_means = {*ALL_TARGETS, *INTERVALS, *ROUNDED_COLUMNS}  # by one example each, and an ellipsis
        assert set(CSV_COLUMNS) - intervals_and_means <= set(inline_code(ROOT / "docs/results.md"))


class TestMessages:
    def test_they_are_what_the_code_says(self) -> None:
        rows = rows_of_table("docs/troubleshooting.md", "message")
        assert len(rows) > 20
        messages = {message.strip("`") for message, *_ in rows} - COMPOSED
        assert [message for message in messages if not self.is_in_the_code(message)] == []

    def is_in_the_code(self, message: str) -> bool:
        pattern = re.compile(".*".join(map(re.escape, message.strip("…: ").split("…"))), re.DOTALL)
        return any(pattern.search(text) for text in texts_in_the_code())

    def test_the_check_finds_what_is_not_there(self) -> None:
        assert not self.is_in_the_code("…: nothing says this: …")


def test_pages_are_in_plain_ascii_quotes_and_end_with_a_newline() -> None:
    texts = {name_of(page): page.read_text() for page in PAGES}
    assert [name for name, text in texts.items() if not text.endswith("\n") or re.search("[“”‘’]", text)] == []
    assert all(prose(page).startswith("# ") for page in PAGES)
