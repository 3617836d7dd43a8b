"""What is tried: faults, and the settings in which a command runs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CALLS = ("write", "fsync", "replace", "mkdir", "open", "create", "unlink")
ERRORS = ("ENOSPC", "EIO", "EACCES")
SIGNALS = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT")


@dataclass(frozen=True)
class Setting:
    """Where and how a command runs.

    Attributes:
        name: What the table calls it.
        folder: Name of the output folder.
        umask: The process's umask, or None.
        optimise: Whether assertions are off (``python -O``).
        elsewhere: Whether the working directory is another one than the repository.
    """

    name: str = "plain"
    folder: str = "out"
    umask: int | None = None
    optimise: bool = False
    elsewhere: bool = False


SETTINGS = (
    Setting(),
    Setting("umask 077", umask=0o077),
    Setting("python -O", optimise=True),
    Setting("another working directory", elsewhere=True),
    Setting("spaces and unicode", folder="an output – of ünïcode 輸出 [/x] $\\bad$ 'q'"),
)


@dataclass(frozen=True)
class Fault:
    """What happens at a call; see ``inject/sitecustomize.py``.

    Attributes:
        does: Name of an error or signal, "clock", or "" for nothing.
        call: A kind of call, or "any".
        k: Which one.
        lasting: Whether all later ones fail too, as on a full disk.
        path: Only calls on paths that contain this count: a stage of the command.
        jump: Seconds by which the clocks jump.
    """

    does: str = ""
    call: str = "any"
    k: int = 0
    lasting: bool = False
    path: str = ""
    jump: float = 0.0

    @property
    def kind(self) -> str:
        """What the table calls it."""
        if self.does == "clock":
            return f"clock jumps by {self.jump:+g} s"
        stage = f" on *{self.path}*" if self.path else ""
        return f"{self.does}{' from a' if self.lasting else ' at a'} {self.call}{stage}" if self.does else "none"


def spread(count: int, most: int) -> list[int]:
    """Up to ``most`` numbers from 1 to ``count``, the first and the last among them, evenly spread."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(index * (count - 1) / max(most - 1, 1)) for index in range(most)})


def plan(calls: Counter[str], most: int, stages: Sequence[str] = ()) -> Iterator[Fault]:
    """All faults of a command.

    Args:
        calls: Its numbers of calls.
        most: Most tries of one kind.
        stages: Parts of paths at which it is killed too.

    Yields:
        Faults.
    """
    for call in CALLS:
        for error in ERRORS:
            yield from (Fault(error, call, k) for k in spread(calls[call], most))
        yield from (Fault("ENOSPC", call, k, lasting=True) for k in spread(calls[call], min(most, 2)))
    for name in SIGNALS:
        yield from (Fault(name, "any", k) for k in spread(calls["any"], most))
        yield from (Fault(name, "any", 1, path=stage) for stage in stages)
    for jump in (-1e6, 1e6):
        yield from (Fault("clock", "any", k, jump=jump) for k in spread(calls["any"], min(most, 2)))
