"""Downloads that resume, are verified, and appear in the cache only when they are whole."""

import errno
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from seem.datasets.hashes import record_hash, recorded_hash, sha256_in
from seem.datasets.registry import Entry
from seem.datasets.transfer import LONGEST_SECONDS, SIGNATURE, check_signature, chunks, length_of, request
from seem.errors import InputError
from seem.locks import FolderInUseError, lock_file
from seem.paths import open_file, user_path


@dataclass(frozen=True)
class Download:
    """A whole file in the cache.

    Attributes:
        path: Where it is.
        sha256: Its SHA-256, 64 hexadecimal digits.
        verified: Whether that is the hash which the manifest pins; False where the manifest pins none.
    """

    path: Path
    sha256: str
    verified: bool


def cache_dir() -> Path:
    """The folder for downloads: ``SEEM_CACHE``, else ``seem-verify`` in the user's cache folder.

    Returns:
        The folder; it need not exist yet.

    Raises:
        InputError: When there is no home folder.
    """
    if own := os.environ.get("SEEM_CACHE"):
        return user_path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "seem-verify"
    try:
        return Path.home() / ".cache" / "seem-verify"
    except RuntimeError as error:  # no HOME and no entry of the user, as in containers
        raise InputError("there is no home folder for downloads: set SEEM_CACHE to a folder") from error


def download(
    entry: Entry,
    folder: Path,
    *,
    console: Console | None = None,
    timeout: float = 30.0,
    longest: float = LONGEST_SECONDS,
) -> Download:
    """Bring a file into a folder, unless it is there already; nothing unfinished ever has the final name.

    Bytes go to ``<name>.part``, which an interruption leaves behind and the next call goes on from. A whole file is
    hashed, fsynced and renamed. The hash of an unpinned file is recorded as ``<name>.sha256``, and later calls hold
    the file against it. A lock (``<name>.lock``) makes a second process wait and then use the first one's file.

    Args:
        entry: What to download.
        folder: Where to; it is created when missing.
        console: Where the progress bar goes, if it is a terminal; None means the standard error.
        timeout: Seconds without an answer, or with hardly a byte, after which the network counts as gone.
        longest: Most seconds of the whole download.

    Returns:
        The file, its hash and whether that was verified.

    Raises:
        InputError: When the network or the server fails, the disk is full or not writable, or a size or hash is not
            the expected one.
    """
    console = console or Console(stderr=True)
    target = folder / entry.filename
    part = target.with_name(target.name + ".part")
    with _disk_errors(target), _lock(target, console):
        if target.exists():
            return _cached(entry, target)
        _fetch(entry, part, console, timeout, longest)
        return _accept(entry, part, target)


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem, remedy = "no space is left", "free some and run the same command again, which resumes,"
        else:
            problem, remedy = error.strerror or str(error), "make the folder writable"
        raise InputError(f"cannot write {target} ({problem}): {remedy} or set SEEM_CACHE to another folder") from error


@contextmanager
def _lock(target: Path, console: Console) -> Iterator[None]:
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(target.name + ".lock")
    with ExitStack() as held:
        try:
            held.enter_context(lock_file(path))
        except FolderInUseError:
            with console.status(f"waiting for another process that downloads {target.name}"):
                held.enter_context(lock_file(path, wait=math.inf))
        yield


def _cached(entry: Entry, target: Path) -> Download:
    with open_file(target, "file") as file:
        check_signature(f"{target} (delete it)", file.read(len(SIGNATURE)))
        digest = sha256_in(file)
    expected = entry.sha256 or recorded_hash(target)
    if expected is None:
        record_hash(target, digest)
    elif expected != digest:
        raise InputError(
            f"{target} has SHA-256 {digest[:12]}… instead of {expected[:12]}…: "
            "delete it and run the same command again, which downloads it anew"
        )
    return Download(target, digest, digest == entry.sha256)


def _fetch(entry: Entry, part: Path, console: Console, timeout: float, longest: float) -> None:
    offset = part.stat().st_size if part.exists() else 0
    if offset and offset == entry.bytes:
        return
    if entry.bytes is not None and offset > entry.bytes:
        offset = 0
    response, offset = request(entry, offset, timeout)
    with response:
        total = length_of(entry, response, offset)
        with ExitStack() as stack:
            progress = stack.enter_context(_progress(console))
            task, file = progress.add_task(entry.name, total=total, completed=offset), None
            for chunk in chunks(entry, response, offset, timeout, longest):
                if file is None:  # what is no HDF5 file leaves what is held alone
                    file = stack.enter_context(part.open("ab" if offset else "wb"))
                file.write(chunk)
                progress.advance(task, len(chunk))
            if file is not None:
                file.flush()
                os.fsync(file.fileno())
    size = part.stat().st_size if part.exists() else 0
    if total not in (None, size):
        raise InputError(
            f"the download of {entry.url} ended at {size:,} of {total:,} bytes: run the same command again, it resumes"
        )


def _accept(entry: Entry, part: Path, target: Path) -> Download:
    if not part.exists():
        raise InputError(f"the server sends nothing for {entry.url}: fetch the file elsewhere and pass its path")
    with open_file(part, "file") as file:
        head, digest = file.read(len(SIGNATURE)), sha256_in(file)
    if entry.sha256 is None:
        try:
            check_signature(entry.url, head)
        except InputError:
            part.unlink()
            raise
        record_hash(target, digest)
    elif digest != entry.sha256:
        part.unlink()
        raise InputError(
            f"{entry.url} has SHA-256 {digest[:12]}… instead of {entry.sha256[:12]}… and was removed again: "
            "run the same command once more, or fetch the file elsewhere and pass its path"
        )
    part.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return Download(target, digest, digest == entry.sha256)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
