"""A local server that fails in every way a server can, for the tests of downloads."""

import hashlib
import http.server
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from seem.datasets import Entry, download
from seem.datasets.transfer import SIGNATURE
from seem.errors import InputError

BODY = SIGNATURE + np.random.default_rng(0).bytes(600_000 - len(SIGNATURE))
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves BODY at any path; ``mode`` says how it fails, ``requests`` keeps the Range of each request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = "whole"
        self.cut = 300_000
        self.body = BODY
        self.headers: dict[str, str] = {}
        self.redirect = ""
        self.pause = 0.0
        self.requests: list[str | None] = []

    def handle_error(self, *_):
        """Clients that hang up are what is tested."""

    def entry(self, **known) -> Entry:
        """The manifest entry of the served file."""
        return Entry("toy-v2", f"http://127.0.0.1:{self.server_port}/folder/toy.hdf5", **known)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request as the server's mode says."""

    server: Server

    def log_message(self, *_):
        """Keep the test's output clean."""

    def do_GET(self):
        """Send the body, or what the mode wants instead."""
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(wanted)
        if server.mode in ("404", "503"):
            self.send_error(int(server.mode))
            return
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        if server.mode == "slow headers":
            self.drip(b"HTTP/1.1 200 OK\r\nX-Filling: " + b"x" * 10**6)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.mode != "no range" else 0
        if start >= len(server.body):
            self.send_error(416)
            return
        self.send_response(206 if start or server.mode == "wrong range" else 200)
        first = 7 if start and server.mode == "wrong range" else start
        if start:
            self.send_header("Content-Range", f"bytes {first}-{len(server.body) - 1}/{len(server.body)}")
        for name, value in server.headers.items():
            self.send_header(name, value)
        if server.mode != "no length" and "Content-Length" not in server.headers:
            extra = 1000 if server.mode == "lying length" else 0
            self.send_header("Content-Length", str(len(server.body) - first + extra))
        self.end_headers()
        end = server.cut if server.mode in ("cut", "reset", "stall") else len(server.body)
        if server.pause:
            self.drip(server.body[first:end])
            return
        self.wfile.write(server.body[first:end])
        if server.mode == "stall":
            time.sleep(30)
        if server.mode == "reset":  # lingering for 0 s makes close() send RST instead of an orderly end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.wfile.flush()
            time.sleep(0.4)
            self.connection.close()

    def drip(self, content: bytes) -> None:
        """Send a byte at a time, until the client hangs up."""
        for byte in content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(self.server.pause)


def names(folder: Path) -> set[str]:
    """The files of a folder, but for the lock."""
    return {path.name for path in folder.iterdir()} - {"toy.hdf5.lock"}


def refused(entry: Entry, folder: Path, **options) -> str:
    """The message of the refusal: one sentence with a remedy, and nothing under the final name."""
    with pytest.raises(InputError) as caught:
        download(entry, folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert ". " not in message
    assert ": " in message
    assert not (folder / "toy.hdf5").exists()
    return message
