"""A watch inside libraries that people train with; each module is imported by its users alone."""

import warnings
from importlib.metadata import PackageNotFoundError, version

from seem.errors import InputError

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
