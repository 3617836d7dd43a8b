"""The D4RL files that this project knows by name."""

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from seem.errors import InputError

MANIFEST = Path(__file__).parent / "manifest.toml"


@dataclass(frozen=True)
class Entry:
    """One downloadable file.

    Attributes:
        name: D4RL's name of the data set, for instance ``hopper-medium-v2``.
        url: Its address, http or https.
        bytes: Its size, or None where it is not known.
        sha256: Its SHA-256 in hexadecimal, or None where the file is unpinned.

    Raises:
        InputError: When the address is neither http nor https.
    """

    name: str
    url: str
    bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"the address of {self.name} is {self.url}: give one that starts with http:// or https://")

    @property
    def filename(self) -> str:
        """The file's own name: the last part of its address."""
        return self.url.rsplit("/", 1)[1]


def read_manifest(path: Path) -> dict[str, Entry]:
    """Read a manifest of downloadable files.

    Args:
        path: A TOML file with one table a name, whose keys are ``url`` and optionally ``bytes`` and ``sha256``.

    Returns:
        The entries by name, in the file's order.
    """
    with path.open("rb") as file:
        return {name: Entry(name, **values) for name, values in tomllib.load(file).items()}


ENTRIES = read_manifest(MANIFEST)
"""Every known file by name."""


def lookup(name: str) -> Entry:
    """Find a file by its D4RL name.

    Args:
        name: For instance ``hopper-medium-v2``.

    Returns:
        Its entry.

    Raises:
        InputError: When the name is not in the manifest; the closest names are given.

    >>> lookup("hopper-medium-v2").filename
    'hopper_medium-v2.hdf5'
    """
    if name in ENTRIES:
        return ENTRIES[name]
    close = difflib.get_close_matches(name, ENTRIES, n=3)
    remedy = f"did you mean {' or '.join(close)}" if close else "pass a D4RL name such as hopper-medium-v2"
    raise InputError(f"there is no data set named {name!r}: {remedy}, or give the path of an .hdf5 file")


def name_of(sha256: str) -> str | None:
    """Say which data set a file is, by its content.

    Args:
        sha256: The file's SHA-256 in hexadecimal.

    Returns:
        The D4RL name of the pinned entry with this hash, or None.
    """
    return next((entry.name for entry in ENTRIES.values() if entry.sha256 == sha256), None)
