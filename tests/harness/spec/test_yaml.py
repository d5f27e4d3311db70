"""How YAML is read: numbers as in YAML 1.2, no key twice, nothing without bounds."""

import math
from typing import Any

import pytest

from eadbench.harness.errors import UserError
from eadbench.harness.spec.yaml import MAX_VALUES, dumped, parsed


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("", None),
        ("[1e-3, -1E+2, .5e1, 1.e3, 1e-3x]", [1e-3, -100.0, 5.0, 1000.0, "1e-3x"]),
        ("[1, 0x10, 1_000, -1.5, 2., .5, -.inf, ~, null, true, 'true']",
         [1, 16, 1000, -1.5, 2.0, 0.5, -math.inf, None, None, True, "true"]),
        ("[yes, no, on, 010, 1:30, 2026-01-01, 0b1, 1.2.3]",
         ["yes", "no", "on", 10, "1:30", "2026-01-01", "0b1", "1.2.3"]),
        ("{arch: package.module:name, <<: {a: 1}, b: &x {c: 2}, d: *x}",
         {"arch": "package.module:name", "a": 1, "b": {"c": 2}, "d": {"c": 2}}),
        ("\ufeffa: 1\r\nb: |\r\n  x\r\n", {"a": 1, "b": "x\n"}),
    ],
)  # fmt: skip
def test_a_document(text: str, content: Any) -> None:
    assert parsed(text) == content


def test_a_text_stays_a_text_when_it_is_written() -> None:
    content = {"texts": ["1e5", "010", "1:30", "yes", "true", "null", "", "2026-01-01", "1_000", "0x10", ".inf", "<<"]}
    assert parsed(dumped(content)) == content


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: 2\na: 3", r"the key 'a' is given twice in .*, line 3, column 1"),
        ("a: [{b: 1, c: {d: 1, d: 2}}]", r"the key 'd' is given twice"),
        ("a: {<<: {b: 1, b: 2}}", r"the key 'b' is given twice"),
        ("a: &x [*x, {b: 1, b: 2}]", r"the key 'b' is given twice"),
        ("a: [", r"did not find expected node content"),
        ("[" * 100_000, r"it is nested too deeply"),
        ("- " * 100_000, r"it is nested too deeply"),
        ("a: !!bool maybe", r"maybe"),
        ("a: !!python/object:os.system x", r"could not determine a constructor"),
        ("--- 1\n--- 2", r"expected a single document"),
    ],
)
def test_no_document(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=rf"^not valid YAML: .*({reason})"):
        parsed(text)


def test_a_long_list_ends_where_a_spec_must() -> None:
    assert len(parsed(f"[{'0, ' * MAX_VALUES}]")) == MAX_VALUES
    with pytest.raises(UserError, match="at most 100,000 values"):
        parsed(f"[{'0, ' * 870_000}]")
