"""The command that prints the JSON Schema of specs: schema."""

import json
import sys
from typing import Annotated

import typer

__all__ = ["schema"]


def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/spec.md instead.")] = False,
) -> None:
    """Print the JSON Schema of specs. Editors use it to complete and check specs."""
    from eadbench.harness.spec import describe

    text = describe.markdown() if markdown else json.dumps(describe.json_schema(), indent=2, ensure_ascii=False) + "\n"
    sys.stdout.write(text)
