"""One writer a folder: an operating system's lock, which the end of a process releases however it ends."""

import errno
import fcntl
import json
import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from seem.errors import InputError
from seem.files import remove_partial, write_atomically

LOCK = ".lock"
"""Name of a folder's lock file; it is gone once its holder is done, and stays where one was killed."""
POLL_SECONDS = 0.1
SIGNING_POLLS = 10
WITHOUT_LOCKS = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL)
"""How a file system says that it has no locks, as NFS does where its lock service is off."""
HOLDER_BYTES = 4096


class FolderInUseError(InputError):
    """Another process holds the lock."""


@contextmanager
def lock_folder(folder: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Be the only process that writes into a folder; what a killed one left half-written in it is removed.

    Every run has a lock of its own, and a study holds one more, of its output folder, in the process that was
    started: the processes of its pool and the jobs of a cluster take the locks of their runs only.

    Args:
        folder: An existing folder.
        wait: Seconds to wait for another process to end; with 0 it is refused at once.

    Yields:
        Nothing; the lock is held until the block ends.

    Raises:
        FolderInUseError: When another process holds the lock, naming it.
        InputError: When the folder cannot be written to.
    """
    with lock_file(folder / LOCK, wait=wait, what=f"the folder {folder}"):
        remove_partial(folder)
        yield


@contextmanager
def lock_file(path: Path, *, wait: float = 0.0, what: str | None = None) -> Iterator[None]:
    """Hold the lock of a file that serves no other purpose; it is removed at the end.

    On a file system without locks this says so once, in one sentence, and goes on.

    Args:
        path: The lock file, created when missing; its folder exists.
        wait: Seconds to wait for another process.
        what: What is locked, in words; the path when left out.

    Yields:
        Nothing.

    Raises:
        FolderInUseError: When another process still holds the lock.
        InputError: When the lock file cannot be written.
    """
    descriptor = _acquire(path, time.monotonic() + wait, what or str(path))
    try:
        _sign(descriptor)
        yield
    finally:
        with suppress(OSError):  # a lock file that stays locks nothing
            path.unlink(missing_ok=True)  # before the lock is released, so that nobody else's is removed
        os.close(descriptor)


def write_alone(path: Path, content: bytes | str) -> None:
    """Write a file atomically that lies in a folder of other things, so that no folder's lock guards it.

    One process at a time writes it, and what a killed one left of it is removed.

    Args:
        path: Where; its folder must exist.
        content: Bytes, or a text written as UTF-8.

    Raises:
        FolderInUseError: When another process is writing it.
        InputError: When it cannot be written.
    """
    with lock_file(path.with_name(f".{path.name}{LOCK}"), what=str(path)):
        remove_partial(path.parent, path.name)
        write_atomically(path, content)


def _acquire(path: Path, deadline: float, what: str) -> int:
    while True:
        descriptor = _open(path)
        with ExitStack() as failed:
            failed.callback(os.close, descriptor)
            if _try(descriptor, path):
                if _is_still(path, descriptor):
                    failed.pop_all()
                    return descriptor
                continue
            if time.monotonic() >= deadline:
                raise FolderInUseError(
                    f"{what} is in use by {_holder(descriptor)}: wait until that has ended, or choose another"
                )
        time.sleep(POLL_SECONDS)


def _open(path: Path) -> int:
    try:
        # Not followed where it is a link, and no wait where it is a FIFO.
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        raise InputError(f"cannot write into {path.parent} ({error.strerror}): choose another output folder") from error


def _try(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise InputError(f"cannot lock {path} ({error.strerror}): choose another output folder") from error
        _say_without_locks(str(path.parent))
    return True


@cache
def _say_without_locks(folder: str) -> None:
    logging.getLogger(__name__).warning(
        "the file system of %s has no locks: see to it that no second process writes there", folder
    )


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the locked file still has the name: its last holder removes it."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)


def _sign(descriptor: int) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "command": shlex.join(sys.argv)[:1000]}
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    except OSError:  # a full disk: the lock holds without a name
        return


def _holder(descriptor: int) -> str:
    for _ in range(SIGNING_POLLS):  # the lock is held a moment before its holder has signed
        if os.fstat(descriptor).st_size:
            break
        time.sleep(POLL_SECONDS)
    try:
        holder = json.loads(os.pread(descriptor, HOLDER_BYTES, 0))
        command = f" ({' '.join(str(holder['command']).split())})" if holder["command"] else ""
        return f"process {int(holder['pid'])} on {holder['host']}{command}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
