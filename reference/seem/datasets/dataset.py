"""A loaded data set with its honest label."""

from dataclasses import dataclass
from pathlib import Path

from seem.datasets.d4rl import open_hdf5, read_d4rl
from seem.datasets.hashes import check_sums, sha256_of
from seem.datasets.registry import name_of
from seem.transitions import Transitions

EMBEDDED = Path(__file__).parent / "embedded"
WINDOWS = "D4RL v0 windows"
COLLECTED = "collected (made by this project)"


@dataclass(frozen=True)
class Dataset:
    """Transitions together with what they are and where they come from; the label goes into every run record.

    Attributes:
        name: The data set's D4RL name, or the file's name without its suffix.
        label: ``D4RL <name>`` where the hash is the pinned one, ``D4RL v0 windows``, ``surrogate``,
            ``embedded (made by this project)``, ``collected (made by this project)``, or
            ``unverified file <file name>``.
        path: The file that was read.
        sha256: The file's SHA-256, 64 hexadecimal digits.
        transitions: What it holds, float32 on the CPU.
    """

    name: str
    label: str
    path: Path
    sha256: str
    transitions: Transitions


def load(path: Path, name: str | None = None) -> Dataset:
    """Read one file and label it by its content: its hash first, then its own attributes, then its folder.

    Args:
        path: A D4RL HDF5 file.
        name: The data set's name; None takes the registry's, or the file's.

    Returns:
        The data set. Rows of a file with a pinned hash are not checked for continuity: they are D4RL's own.

    Raises:
        InputError: When `read_d4rl` refuses the file, or a ``SHA256SUMS`` beside it or one folder above lists
            another hash.
    """
    with open_hdf5(path) as file:
        attributes = {
            key: str(file.attrs[key]) for key in ("WARNING", "source_dataset", "changes", "label") if key in file.attrs
        }
    digest = sha256_of(path)
    check_sums(path, digest)
    verified = name_of(digest)
    transitions = read_d4rl(path, check_continuity=verified is None)
    label = f"D4RL {verified}" if verified else _unpinned_label(path, attributes)
    return Dataset(verified or name or _plain_name(path, label), label, path, digest, transitions)


def _unpinned_label(path: Path, attributes: dict[str, str]) -> str:
    folder = path.absolute().parent
    if "SURROGATE" in attributes.get("WARNING", "") or folder.name == "surrogate":
        return "surrogate"
    if folder.resolve() == EMBEDDED.resolve():
        return "embedded (made by this project)"
    if attributes.get("label") == COLLECTED:
        return COLLECTED
    source = attributes.get("source_dataset", "")
    of_windows = source.startswith("D4RL") and "-v0" in source and "window" in attributes.get("changes", "")
    return WINDOWS if of_windows or folder.name == "d4rl-v0-windows" else f"unverified file {path.name}"


def _plain_name(path: Path, label: str) -> str:
    return path.stem.partition("_")[0] if label == WINDOWS else path.stem
