"""The one exception that bad input raises, and how a command line ends: its exit status and its output."""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

BAD_INPUT, INTERNAL_ERROR, INTERRUPTED = 2, 70, 130
"""Exit statuses beside what a command returns; 70 is EX_SOFTWARE of BSD's sysexits."""
STANDARD = 2
"""Largest descriptor of the standard streams."""
TRACEBACK = "SEEM_TRACEBACK"
"""Environment variable that shows the traceback of an internal error."""


class InputError(ValueError):
    """Input that cannot be used; the message is one sentence that names the remedy."""


def run_command(main: Callable[[], int]) -> None:
    """Run a command's ``main`` and exit with its status; whatever happens, no traceback and no other meaning of 1.

    Output that nobody reads (a closed pipe, a closed stream) does not stop a command. Output that cannot be written (a
    full device) does not stop it either, and makes it end with status 2. What a terminal's encoding lacks is written as
    an escape.

    Args:
        main: Takes nothing and returns the exit status.

    Raises:
        SystemExit: Always; status 2 on `InputError`, 70 on an internal error, 130 when interrupted, else what ``main``
            returns.
    """
    _occupy_standard_descriptors()
    output, complaints = _Output(sys.stdout), _Output(sys.stderr)
    sys.stdout, sys.stderr = output, complaints  # type: ignore[assignment]
    try:
        status = main()
    except InputError as error:
        print(f"error: {_one_line(error)}", file=complaints)
        status = BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted: the same command resumes from the last checkpoint", file=complaints)
        status = INTERRUPTED
    except SystemExit as ended:  # the parser of the options, after --help or a mistake
        status = ended.code if isinstance(ended.code, int) else BAD_INPUT if ended.code else 0
    except Exception as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        print(
            f"internal error: {type(error).__name__}: {_one_line(error)}; this is a mistake of the program: please "
            f"report it with what the same command prints with {TRACEBACK}=1",
            file=complaints,
        )
        status = INTERNAL_ERROR
    finally:
        sys.stdout, sys.stderr = output.stream, complaints.stream
    output.finish()
    if output.failure is not None and not isinstance(output.failure, BrokenPipeError):
        reason = output.failure.strerror or output.failure
        print(f"error: standard output cannot be written ({reason}): send it elsewhere", file=complaints)
        status = BAD_INPUT
    complaints.finish()
    sys.exit(status)


def _occupy_standard_descriptors() -> None:
    # A stream that the caller closed would be taken by the next file that is opened, and written over by C libraries.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STANDARD:
        pass
    os.close(descriptor)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class _Output:
    """A text stream that outlives its reader: the first failure is kept, what follows it is dropped."""

    def __init__(self, stream: TextIO | None) -> None:
        # Python has no stream where the caller closed it; libraries ask one what it can before they write.
        self.stream: TextIO = Path(os.devnull).open("w", encoding="utf-8") if stream is None else stream  # noqa: SIM115 - as long as the process
        self.failure: OSError | None = None
        reconfigure = getattr(self.stream, "reconfigure", None)
        if reconfigure is not None:
            with suppress(ValueError, OSError):
                reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._try(lambda stream: stream.flush())

    def finish(self) -> None:
        """Flush for the last time; Python's own flush at exit then finds nothing that could fail."""
        self.flush()
        if self.failure is not None:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def _try(self, act: Callable[[TextIO], Any]) -> None:
        if self.failure is None:
            try:
                act(self.stream)
            except OSError as error:
                self.failure = error
