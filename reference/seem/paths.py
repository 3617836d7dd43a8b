"""Paths that a user gives: expanded, opened without waiting, regular files only, and of a bounded size."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from seem.errors import InputError

LARGEST_TEXT = 1 << 26
"""64 MiB: a hundred times the largest text that this package writes or reads whole."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def user_path(given: str | Path) -> Path:
    """A path as a user gave it, with ``~`` and ``~name`` expanded.

    Args:
        given: The path.

    Returns:
        The path, which need not exist.

    Raises:
        InputError: When it is empty or no path at all, or has no such home folder.
    """
    text = os.fspath(given)
    if not text or "\0" in text:
        raise InputError(f"{text!r} is no path: pass the path of a file or folder")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no such user, or a user without an entry and without HOME
        raise InputError(
            f"{text} names a home folder that is not known here: pass the path in full, or set HOME"
        ) from error


@contextmanager
def open_file(path: Path, what: str = "file", largest: int | None = None) -> Iterator[FileIO]:
    """Open a regular file for reading; nothing else is waited for, and nothing else is read.

    Args:
        path: The file.
        what: What it should be, in words that follow "pass the path of a".
        largest: Most bytes that it may have, or None.

    Yields:
        The unbuffered file: what is behind the name later does not matter any more.

    Raises:
        InputError: When the path is missing, not permitted, no regular file, or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)  # a FIFO is opened, not waited for
    except (OSError, ValueError) as error:
        raise _refusal(path, error, what) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            kind = KINDS.get(stat.S_IFMT(found.st_mode), "no regular file")
            raise InputError(f"{path} is {kind}: pass the path of a {what}")
        if largest is not None and found.st_size > largest:
            raise InputError(
                f"{path} has {found.st_size:,} bytes, more than the {largest:,} of any {what}: pass another file"
            )
        with FileIO(descriptor, closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read_text(path: Path, what: str = "text file", largest: int = LARGEST_TEXT) -> str:
    """The text of a regular file, UTF-8.

    Args:
        path: The file.
        what: What it should be.
        largest: Most bytes that it may have.

    Returns:
        The text.

    Raises:
        InputError: See `open_file`; also when it is no UTF-8 or cannot be read.
    """
    with open_file(path, what, largest) as file:
        try:
            return file.readall().decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is no UTF-8 text: pass the path of a {what}") from error
        except OSError as error:
            raise _refusal(path, error, what) from error


def _refusal(path: Path, error: OSError | ValueError, what: str) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist: pass the path of a {what}")
    if isinstance(error, PermissionError):
        return InputError(f"{path} may not be read by this user: change its permissions or pass another file")
    if isinstance(error, OSError) and error.errno == errno.ENXIO:  # what opening a socket says
        return InputError(f"{path} is a socket: pass the path of a {what}")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"{str(path)!r} cannot be opened ({reason}): pass the path of a {what}")
