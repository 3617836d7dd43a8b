"""Faults inside a process: Python loads this at its start where the folder is on PYTHONPATH; it needs no other module.

SEEM_FAULT holds what happens, as JSON (see `install`). Only calls on files under one folder count, over all processes.
"""

import builtins
import errno
import fcntl
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

CALLS = ("write", "fsync", "replace", "mkdir", "open", "create", "unlink")
"""Kinds of calls: "open" is for reading, "create" for writing; "any" counts them all."""
HAPPENED, PATHS = "happened", "paths"
"""Names of the files that count the faults themselves, and that list the paths of all calls, one a line."""


class Faults:
    """Counts the calls, and lets the k-th one fail.

    Args:
        under: The folder whose files count.
        counts: Another folder, where every kind of call has a file with one byte a call.
        call: The kind that fails, or "any".
        k: Which of them; 0 lets none fail.
        does: Name of an error such as "ENOSPC" or of a signal such as "SIGKILL", or "clock" for a jump.
        lasting: Whether all later ones fail too.
        path: Only calls on paths that contain this count: a stage of a command, such as "figure".
        jump: Seconds by which all clocks jump.
    """

    def __init__(
        self,
        under: str,
        counts: str,
        call: str = "any",
        k: int = 0,
        does: str = "",
        lasting: bool = False,
        path: str = "",
        jump: float = 0.0,
    ) -> None:
        self.under, self.counts = os.path.abspath(under), counts  # noqa: PTH100 - strings, and as little as possible
        self.call, self.k, self.does, self.lasting, self.path, self.jump = call, k, does, lasting, path, jump
        self.offset, self.busy, self.fsync = 0.0, False, os.fsync

    def hit(self, call: str, path: Any) -> None:
        """A call is about to happen."""
        if self.busy or isinstance(path, int) or path is None:
            return
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        if not (name == self.under or name.startswith(self.under + os.sep)) or self.path not in name:
            return
        self.busy = True
        try:
            number = {kind: self.count(kind) for kind in (call, "any")}
            self.count(PATHS, os.fsencode(os.path.relpath(name, self.under)) + b"\n")
        finally:
            self.busy = False
        if self.call in number and self.k and (n := number[self.call]) >= self.k and (self.lasting or n == self.k):
            self.busy = True
            self.count(HAPPENED)
            self.busy = False
            self.act(name)

    def count(self, kind: str, mark: bytes = b".") -> int:
        """One more call of a kind, over all processes."""
        descriptor = os.open(os.path.join(self.counts, kind), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)  # noqa: PTH118
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, mark)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def act(self, path: str) -> None:
        """What was asked for."""
        if self.does == "clock":
            self.offset = self.jump
        elif self.does.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, self.does))
        else:
            code = getattr(errno, self.does)
            raise OSError(code, os.strerror(code), path)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python's own notice of a call."""
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            self.hit("create" if writes else "open", path)
        elif event == "os.rename":
            self.hit("replace", arguments[1])
        elif event == "os.mkdir":
            self.hit("mkdir", arguments[0])
        elif event == "os.remove":
            self.hit("unlink", arguments[0])

    def clock(self, read: Callable[[], float]) -> Callable[[], float]:
        """In the place of one of `time`'s clocks."""
        return lambda: read() + self.offset

    def sync(self, descriptor: Any) -> None:
        """In the place of `os.fsync`."""
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        self.hit("fsync", path_of(number))
        self.fsync(descriptor)


def path_of(descriptor: int) -> str | None:
    """The file behind a descriptor."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").removesuffix(" (deleted)")  # noqa: PTH115
    except OSError:
        return None


def install(fault: dict[str, Any], umask: int | None = None) -> None:
    """Let a fault happen in this process.

    Args:
        fault: Arguments of `Faults`.
        umask: The process's umask, or None.
    """
    faults, original = Faults(**fault), io.open

    class File(io.FileIO):
        failure: OSError | None = None

        def write(self, data: Any) -> int:
            if self.failure is not None:
                failure, self.failure = self.failure, None
                raise failure
            try:
                faults.hit("write", path_of(self.fileno()))
            except OSError as error:  # as on a full disk: half of it is taken, and the rest fails
                whole = memoryview(data).cast("B")
                self.failure = error
                return super().write(whole[: max(1, len(whole) // 2)])
            return super().write(data)

    def opened(
        file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None, newline: Any = None,
        closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        if not set(mode) & set("wax+"):
            return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = File(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        buffer = io.BufferedRandom(raw, size) if "+" in mode else io.BufferedWriter(raw, size)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline, buffering == 1)

    # Whoever started the tests may have these ignored, as nohup and a shell's background jobs do.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if umask is not None:
        os.umask(umask)
    io.open = builtins.open = opened
    os.fsync = faults.sync
    for clock in ("time", "monotonic", "perf_counter"):
        setattr(time, clock, faults.clock(getattr(time, clock)))
    sys.addaudithook(faults.audit)


if "SEEM_FAULT" in os.environ:
    install(**json.loads(os.environ["SEEM_FAULT"]))
