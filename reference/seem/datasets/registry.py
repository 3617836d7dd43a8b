"""The files that this project knows: D4RL's by name and address, others by their content alone."""

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from seem.errors import InputError

MANIFEST = Path(__file__).parent / "manifest.toml"
PINS = Path(__file__).parent / "pinned.toml"


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
    raise InputError(f"there is no data set named {name!r}: {remedy}, or give the path of a file")


def read_pins(path: Path) -> dict[str, tuple[str, str]]:
    """Read what files are.

    Args:
        path: A TOML file with one table a label, whose keys are names and whose values are SHA-256.

    Returns:
        Name and label by SHA-256.
    """
    with path.open("rb") as file:
        labels = tomllib.load(file)
    return {
        sha256: (name, label.format(name=name)) for label, names in labels.items() for name, sha256 in names.items()
    }


PINNED = read_pins(PINS)
"""Name and label of every file that is known by its content."""


def identify(sha256: str) -> tuple[str, str] | None:
    """Say what a file is, by its content.

    Args:
        sha256: The file's SHA-256 in hexadecimal.

    Returns:
        Name and label, or None where nobody vouches for it.

    >>> identify("f326a396b15e85f16546d072d876b1003792f565910c511486fd781f57fcc281")
    ('hopper-medium-v0', 'D4RL v0 windows')
    """
    known = next((entry.name for entry in ENTRIES.values() if entry.sha256 == sha256), None)
    return (known, f"D4RL {known}") if known else PINNED.get(sha256)
