"""Downloads that resume, are verified, and appear in the cache only when they are whole."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from seem.datasets.hashes import record_hash, recorded_hash, sha256_of
from seem.datasets.registry import Entry
from seem.errors import InputError

CHUNK = 1 << 16
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416


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
    """
    if own := os.environ.get("SEEM_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "seem-verify"


def download(entry: Entry, folder: Path, *, console: Console | None = None, timeout: float = 30.0) -> Download:
    """Bring a file into a folder, unless it is there already; nothing unfinished ever has the final name.

    Bytes go to ``<name>.part``, which an interruption leaves behind and the next call goes on from. A whole file is
    hashed, fsynced and renamed. The hash of an unpinned file is recorded as ``<name>.sha256``, and later calls hold
    the file against it. A lock (``<name>.lock``) makes a second process wait and then use the first one's file.

    Args:
        entry: What to download.
        folder: Where to; it is created when missing.
        console: Where the progress bar goes, if it is a terminal; None means the standard error.
        timeout: Seconds without an answer after which the network counts as gone.

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
        _fetch(entry, part, console, timeout)
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
    with target.with_name(target.name + ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with console.status(f"waiting for another process that downloads {target.name}"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file releases the lock, and so does the end of a killed process


def _cached(entry: Entry, target: Path) -> Download:
    digest = sha256_of(target)
    expected = entry.sha256 or recorded_hash(target)
    if expected not in (None, digest):
        raise InputError(
            f"{target} has SHA-256 {digest[:12]}… instead of {expected[:12]}…: "
            "delete it and run the same command again, which downloads it anew"
        )
    return Download(target, digest, digest == entry.sha256)


def _fetch(entry: Entry, part: Path, console: Console, timeout: float) -> None:
    offset = part.stat().st_size if part.exists() else 0
    if offset and offset == entry.bytes:
        return
    if entry.bytes is not None and offset > entry.bytes:
        offset = 0
    response, offset = _request(entry, offset, timeout)
    with response:
        total = _total(entry, response, offset)
        with part.open("ab" if offset else "wb") as file, _progress(console) as progress:
            task = progress.add_task(entry.name, total=total, completed=offset)
            for chunk in _chunks(entry, response):
                file.write(chunk)
                progress.advance(task, len(chunk))
            file.flush()
            os.fsync(file.fileno())
    size = part.stat().st_size
    if total not in (None, size):
        raise InputError(
            f"the download of {entry.url} ended at {size:,} of {total:,} bytes: run the same command again, it resumes"
        )


def _request(entry: Entry, offset: int, timeout: float) -> tuple[HTTPResponse, int]:
    """Ask for the bytes from ``offset`` on; the answer begins at the byte returned beside it, ``offset`` or 0."""
    request = Request(entry.url, headers={"Range": f"bytes={offset}-"} if offset else {})  # noqa: S310 - Entry admits http(s) only
    try:
        response = urlopen(request, timeout=timeout)  # noqa: S310 - likewise
    except HTTPError as error:
        error.close()
        if error.code == RANGE_NOT_SATISFIABLE and offset:  # what is held is no beginning of the file
            return _request(entry, 0, timeout)
        raise InputError(
            f"the server answers {error.code} {error.reason} for {entry.url}: "
            "try again later, or fetch the file elsewhere and pass its path"
        ) from error
    except (OSError, HTTPException) as error:
        raise _network_error(entry, error) from error
    if not offset or response.status != PARTIAL_CONTENT:  # a server may ignore the range and send the whole file
        return response, 0
    if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        response.close()
        return _request(entry, 0, timeout)
    return response, offset


def _network_error(entry: Entry, error: Exception) -> InputError:
    reason = getattr(error, "reason", None) or error
    return InputError(
        f"the network failed during the download of {entry.url} ({str(reason) or type(reason).__name__}): "
        "run the same command again, which resumes, or fetch the file elsewhere and pass its path"
    )


def _total(entry: Entry, response: HTTPResponse, offset: int) -> int | None:
    length = response.headers.get("Content-Length")
    offered = offset + int(length) if length else None
    if entry.bytes is not None and offered not in (None, entry.bytes):
        raise InputError(
            f"the server offers {offered:,} bytes for {entry.url} instead of {entry.bytes:,}: "
            "the file there has changed or something stands between, so fetch it elsewhere and pass its path"
        )
    return entry.bytes if entry.bytes is not None else offered


def _chunks(entry: Entry, response: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _network_error(entry, error) from error


def _accept(entry: Entry, part: Path, target: Path) -> Download:
    digest = sha256_of(part)
    if entry.sha256 is None:
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
