"""Check networks of other people's code in a process of its own: it may end or hang there.

The process reads ``victims.pickle`` in the folder that it is given, which the driver has just written, and writes
``suspicions.json``. ``now`` names the victim that it looks at.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from eadbench.harness.errors import UserError
from eadbench.harness.execution.probing import suspicions_of
from eadbench.harness.plan.recipes import Planned

__all__ = ["SECONDS", "suspicions_apart"]

SECONDS = 600.0
"""Seconds that the networks may take to be built and probed, unless the spec has a `resources.timeout`."""
_INPUT, _OUTPUT, _NOW, _ERRORS = "victims.pickle", "suspicions.json", "now", "errors"


def suspicions_apart(victims: Sequence[Planned], images: Tensor, seconds: float) -> list[str]:
    """Build and probe networks in another process, and return what is suspicious about them.

    Raises
    ------
    UserError
        A network cannot be built or attacked, or its code ends the process, or it takes more than `seconds`.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / _INPUT).write_bytes(pickle.dumps((victims, images)))
        with (folder / _ERRORS).open("wb") as errors:
            command = [sys.executable, "-m", __name__, temporary]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
            try:
                ended = subprocess.run(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    timeout=seconds,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise UserError(
                    f"{_read(folder / _NOW)}: was not built and probed within {seconds:,.0f} s; "
                    "if it is only slow, set resources.timeout to more seconds"
                ) from error
        try:
            content = json.loads((folder / _OUTPUT).read_text())
        except FileNotFoundError as error:
            last = _read(folder / _ERRORS).strip().rpartition("\n")[2]
            reason = f"exit code {ended.returncode}" + (f": {last}" if last else "")
            raise UserError(f"{_read(folder / _NOW)}: ended the process that built and probed it ({reason})") from error
    if "error" in content:
        raise UserError(content["error"])
    return [str(text) for text in content["suspicions"]]


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else "victims"


def _main(folder: Path) -> None:
    """Check the victims in a folder, as :func:`suspicions_apart` asks for."""
    victims, images = pickle.loads((folder / _INPUT).read_bytes())
    content: dict[str, object] = {}
    suspicions: list[str] = []
    try:
        for victim in victims:
            (folder / _NOW).write_text(f"{victim.where}: {victim.recipe.arch}")
            suspicions += suspicions_of(victim, images)
        content["suspicions"] = suspicions
    except UserError as error:
        content["error"] = str(error)
    (folder / f"{_OUTPUT}.part").write_text(json.dumps(content))
    (folder / f"{_OUTPUT}.part").rename(folder / _OUTPUT)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
