"""Other libraries in interpreters of their own, which ``nox -s peers-NAME`` makes, asked over a pipe."""

import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

ENVIRONMENTS = Path(__file__).parents[2] / ".nox"
"""Where nox keeps them: beside its noxfile.py, in a clone of this repository."""


def find_peer(name: str) -> Path | None:
    """The interpreter that ``nox -s peers-NAME`` made for a library, or None."""
    python = ENVIRONMENTS / f"peers-{name}" / "bin" / "python"
    return python if python.is_file() else None


class Peer:
    """A script in another interpreter that answers every JSON line with one.

    Args:
        python: The interpreter.
        script: The script.
        settings: What the script is told first, one JSON object.

    Attributes:
        told: Its answer to that.
    """

    def __init__(self, python: Path, script: Path, settings: dict[str, Any]) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - an interpreter that nox made
            [str(python), str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.told = self.ask(settings)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send one JSON line and wait for the answering one.

        Raises:
            RuntimeError: When the script has ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended, and so answers nothing
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended: run it by hand to see why")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()
