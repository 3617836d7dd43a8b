"""Bytes of a server: asked for from where a download stands, bounded in time and size, and only by http and https."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from seem.datasets.registry import Entry
from seem.errors import InputError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""The first bytes of every HDF5 file without a user block, which D4RL's have not."""
LARGEST_DOWNLOAD = 1 << 36
"""64 GiB: forty times D4RL's largest file."""
LONGEST_SECONDS = 24 * 3600.0
"""Most seconds of one download; what came is kept, and the next call goes on from it."""
SLOWEST = 1024
"""Fewest bytes a second, over the time without an answer after which the network counts as gone."""
CHUNK = 1 << 16
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416
PAGES = ("text/", "application/json", "application/xml", "application/xhtml", "multipart/", "image/")
"""Types of what servers and portals send instead of a file."""


def request(entry: Entry, offset: int, timeout: float) -> tuple[HTTPResponse, int]:
    """Ask for the bytes from ``offset`` on.

    Args:
        entry: What is downloaded.
        offset: Bytes that are there already.
        timeout: Seconds until the server has to answer.

    Returns:
        The answer, and the byte that it begins at: ``offset``, or 0.

    Raises:
        InputError: When the network or the server fails, or it sends a page instead of a file.
    """
    asked = Request(entry.url, headers={"Range": f"bytes={offset}-"} if offset else {})  # noqa: S310 - Entry admits http(s) only
    try:
        with _hung_up_after(timeout) as opener:
            response: HTTPResponse = opener.open(asked, timeout=timeout)
    except HTTPError as error:
        error.close()
        if error.code == RANGE_NOT_SATISFIABLE and offset:  # what is held is no beginning of the file
            return request(entry, 0, timeout)
        said = str(error.reason).partition("\n")[0].rstrip(". ")
        raise InputError(
            f"the server answers {error.code} {said} for {entry.url}: "
            "try again later, or fetch the file elsewhere and pass its path"
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        raise network_error(entry, error) from error
    try:
        _check_type(entry, response)
    except InputError:
        response.close()
        raise
    if not offset or response.status != PARTIAL_CONTENT:  # a server may ignore the range and send the whole file
        return response, 0
    if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        response.close()
        return request(entry, 0, timeout)
    return response, offset


def length_of(entry: Entry, response: HTTPResponse, offset: int) -> int | None:
    """How many bytes the whole file has, as far as that is known.

    Args:
        entry: What is downloaded.
        response: The answer.
        offset: The byte that it begins at.

    Returns:
        The number of bytes, or None.

    Raises:
        InputError: When the server's length is no length, another one than expected, or beyond any data set's.
    """
    stated = set(response.headers.get_all("Content-Length", []))
    if len(stated) > 1 or not all(text.isascii() and text.isdigit() and len(text) < 20 for text in stated):
        raise InputError(
            f"the server states a length of {', '.join(map(repr, sorted(stated)))} for {entry.url}: "
            "try again later, or fetch the file elsewhere and pass its path"
        )
    offered = offset + int(stated.pop()) if stated else None
    if entry.bytes is not None and offered not in (None, entry.bytes):
        raise InputError(
            f"the server offers {offered:,} bytes for {entry.url} instead of {entry.bytes:,}: "
            "the file there has changed or something stands between, so fetch it elsewhere and pass its path"
        )
    if offered is not None and offered > LARGEST_DOWNLOAD:
        raise _too_large(entry, offered)
    return entry.bytes if entry.bytes is not None else offered


def chunks(
    entry: Entry, response: HTTPResponse, offset: int, timeout: float, longest: float = LONGEST_SECONDS
) -> Iterator[bytes]:
    """The bytes of an answer as they come.

    Args:
        entry: What is downloaded.
        response: The answer.
        offset: The byte that it begins at.
        timeout: Seconds in which something has to come.
        longest: Most seconds of all.

    Yields:
        Bytes, none of them empty.

    Raises:
        InputError: When the network fails or hardly goes on, or what comes is no HDF5 file or larger than it may be.
    """
    began = window = time.monotonic()
    size, in_window, head = offset, 0, b""
    largest = LARGEST_DOWNLOAD if entry.bytes is None else entry.bytes
    while chunk := _read(entry, response):
        size, in_window, now = size + len(chunk), in_window + len(chunk), time.monotonic()
        if size > largest:
            raise _too_large(entry, size)
        if now - window >= timeout:
            if in_window < SLOWEST * (now - window):
                raise network_error(entry, f"fewer than {SLOWEST:,} bytes a second came in {now - window:.0f} s")
            window, in_window = now, 0
        if now - began >= longest:
            raise network_error(entry, f"it takes longer than {longest:.0f} s")
        if not offset and len(head) < len(SIGNATURE):
            head += chunk
            check_signature(entry.url, head)
            if len(head) < len(SIGNATURE):  # held back until it is known to be what was asked for
                continue
            chunk = head
        yield chunk
    if not offset and 0 < size < len(SIGNATURE):
        check_signature(entry.url, head + b"\0")


def check_signature(what: str, head: bytes) -> None:
    """Refuse what does not begin as an HDF5 file.

    Args:
        what: The file or address.
        head: Its first bytes, as many as there are.

    Raises:
        InputError: When they are no beginning of the signature.
    """
    if not head or not SIGNATURE.startswith(head[: len(SIGNATURE)]):
        raise InputError(f"{what} holds no HDF5 file: fetch the file elsewhere and pass its path")


def network_error(entry: Entry, error: Exception | str) -> InputError:
    """One sentence on a network that failed.

    Args:
        entry: What is downloaded.
        error: What happened.

    Returns:
        The error to raise.
    """
    reason = getattr(error, "reason", None) or error
    said = " ".join(str(reason).split()) or type(reason).__name__
    return InputError(
        f"the network failed during the download of {entry.url} ({said}): "
        "run the same command again, which resumes, or fetch the file elsewhere and pass its path"
    )


def _read(entry: Entry, response: HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)  # what is there, where read would wait for a whole chunk
    except (OSError, HTTPException, ValueError) as error:
        raise network_error(entry, error) from error


def _check_type(entry: Entry, response: HTTPResponse) -> None:
    kind = response.headers.get("Content-Type", "").strip().lower()
    if kind.startswith(PAGES):
        raise InputError(
            f"the server sends {' '.join(kind.split())} instead of a file for {entry.url}: "
            "log in to the network if it asks for that, or fetch the file elsewhere and pass its path"
        )


def _too_large(entry: Entry, size: int) -> InputError:
    largest = LARGEST_DOWNLOAD if entry.bytes is None else entry.bytes
    return InputError(
        f"the server sends {size:,} bytes and more for {entry.url}, which has no more than {largest:,}: "
        "fetch the file elsewhere and pass its path"
    )


def _has_port(url: str) -> bool:
    """Whether the port of an address exists; connecting to another one leaves its socket open."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


class Redirects(HTTPRedirectHandler):
    """Follows to https, and from http to http."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        """The request that follows, or an error where it would leave the web or lose its encryption."""
        if urlsplit(newurl).scheme not in ("https", req.type) or not _has_port(newurl):
            raise HTTPError(req.full_url, code, f"and sends on to {newurl}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """The answer of the place that a server sends on to; its own answer is closed where that place is none."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except Exception:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


@contextmanager
def _hung_up_after(seconds: float) -> Iterator[OpenerDirector]:
    """An opener whose connections are shut when the block takes too long: a server may send its headers bit by bit."""
    connections: list[HTTPConnection] = []

    def hang_up() -> None:
        for connection in connections:
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)

    def kept(kind: type[HTTPConnection]) -> Any:
        def connect(*arguments: Any, **options: Any) -> HTTPConnection:
            connections.append(kind(*arguments, **options))
            return connections[-1]

        return connect

    class Plain(HTTPHandler):
        def http_open(self, req: Request) -> Any:
            return self.do_open(kept(HTTPConnection), req)

    class Encrypted(HTTPSHandler):
        def https_open(self, req: Request) -> Any:
            return self.do_open(kept(HTTPSConnection), req)

    opener = OpenerDirector()
    for handler in (ProxyHandler, Plain, Encrypted, HTTPDefaultErrorHandler, Redirects, HTTPErrorProcessor):
        opener.add_handler(handler())
    watch = threading.Timer(seconds, hang_up)
    watch.daemon = True
    watch.start()
    try:
        yield opener
    finally:
        watch.cancel()
