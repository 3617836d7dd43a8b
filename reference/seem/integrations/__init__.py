"""A watch inside libraries that people train with; each module is imported by its users alone."""

import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from seem.alarms import Alarm
from seem.dynamics import Training
from seem.errors import InputError
from seem.watch import Watch
from seem.watch_entry import Entry

_said: set[str] = set()


def check_version(library: str, tested: tuple[str, str]) -> None:
    """Warn once where a library is of a version that was not tested.

    Args:
        library: Its name on the package index.
        tested: The first tested version, and the first that is not any more, as "2.8" and "2.9".

    Raises:
        InputError: When it is not installed.
    """
    try:
        found = version(library)
    except PackageNotFoundError as error:
        raise InputError(f"{library} is not installed: pip install {library}") from error
    low, high = map(_parts, tested)
    if not low <= _parts(found) < high and library not in _said:
        _said.add(library)
        text = f"{library} {found} was not tested with this watch, {tested[0]} up to below {tested[1]} were"
        warnings.warn(f"{text}: compare a reading with one by hand", stacklevel=3)


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


class Watching:
    """What the callbacks of all libraries share: a watch that is made when the training is known.

    Args:
        options: Of `seem.Watch`, without ``training``.

    Raises:
        InputError: On an option that is impossible.
    """

    def __init__(self, **options: Any) -> None:
        Watch(training=Training(discount=0.0, lr=0.0), **options)  # refuses what is impossible before training begins
        self.options = options
        self.watch: Watch | None = None

    @property
    def history(self) -> list[Entry]:
        """All entries so far."""
        return [] if self.watch is None else self.watch.history

    @property
    def alarm(self) -> Alarm | None:
        """The last alarm, or None."""
        return None if self.watch is None else self.watch.alarm
