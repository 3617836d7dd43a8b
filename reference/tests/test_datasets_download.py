"""Downloads against a local server that fails in every way a server can, and against a full disk and a kill."""

import errno
import hashlib
import http.server
import io
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from seem.datasets import Entry, download
from seem.errors import InputError

BODY = np.random.default_rng(0).bytes(600_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves BODY at any path; ``mode`` says how it fails, ``requests`` keeps the Range of each request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = "whole"
        self.cut = 300_000
        self.body = BODY
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
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(wanted)
        if server.mode in ("404", "503"):
            self.send_error(int(server.mode))
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.mode != "no range" else 0
        if start >= len(server.body):
            self.send_error(416)
            return
        self.send_response(206 if start or server.mode == "wrong range" else 200)
        first = 7 if start and server.mode == "wrong range" else start
        if start:
            self.send_header("Content-Range", f"bytes {first}-{len(server.body) - 1}/{len(server.body)}")
        if server.mode != "no length":
            extra = 1000 if server.mode == "lying length" else 0
            self.send_header("Content-Length", str(len(server.body) - first + extra))
        self.end_headers()
        end = server.cut if server.mode in ("cut", "reset", "stall") else len(server.body)
        self.wfile.write(server.body[first:end])
        if server.mode == "stall":
            time.sleep(30)
        if server.mode == "reset":  # lingering for 0 s makes close() send RST instead of an orderly end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.wfile.flush()
            time.sleep(0.4)
            self.connection.close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def names(folder: Path) -> set[str]:
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


def test_pinned_file_is_downloaded_once_and_verified(server, tmp_path):
    folder = tmp_path / "new" / "cache"
    found = download(server.entry(bytes=len(BODY), sha256=SHA256), folder)
    assert (found.path, found.sha256, found.verified) == (folder / "toy.hdf5", SHA256, True)
    assert found.path.read_bytes() == BODY
    assert names(folder) == {"toy.hdf5"}
    assert download(server.entry(bytes=len(BODY), sha256=SHA256), folder) == found
    assert server.requests == [None]


def test_unpinned_file_is_unverified_and_its_hash_is_recorded(server, tmp_path):
    found = download(server.entry(), tmp_path)
    assert (found.sha256, found.verified) == (SHA256, False)
    assert (tmp_path / "toy.hdf5.sha256").read_text() == f"{SHA256}  toy.hdf5\n"
    assert names(tmp_path) == {"toy.hdf5", "toy.hdf5.sha256"}
    assert download(server.entry(), tmp_path) == found
    assert len(server.requests) == 1


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {}])
def test_changed_cached_file_is_refused_and_left(server, tmp_path, known):
    download(server.entry(**known), tmp_path)
    (tmp_path / "toy.hdf5").write_bytes(BODY[:-1])
    with pytest.raises(InputError, match=rf"instead of {SHA256[:12]}…: delete it and run the same command again"):
        download(server.entry(**known), tmp_path)
    assert (tmp_path / "toy.hdf5").read_bytes() == BODY[:-1]
    assert len(server.requests) == 1


@pytest.mark.parametrize("known", [{"bytes": len(BODY), "sha256": SHA256}, {"sha256": SHA256}, {}])
@pytest.mark.parametrize("mode", ["cut", "reset"])
def test_interrupted_download_resumes_where_it_stopped(server, tmp_path, mode, known):
    server.mode = mode
    message = refused(server.entry(**known), tmp_path)
    assert ("ended at 300,000 of 600,000 bytes" if mode == "cut" else "the network failed") in message
    held = (tmp_path / "toy.hdf5.part").stat().st_size
    assert held == 300_000 if mode == "cut" else 0 < held <= 300_000
    server.mode = "whole"
    assert download(server.entry(**known), tmp_path).path.read_bytes() == BODY
    assert server.requests == [None, f"bytes={held}-"]
    assert "toy.hdf5.part" not in names(tmp_path)


def test_stalled_server_is_a_network_failure_and_what_came_is_kept(server, tmp_path):
    server.mode = "stall"
    assert "the network failed" in refused(server.entry(), tmp_path, timeout=0.3)
    assert (tmp_path / "toy.hdf5.part").stat().st_size >= 200_000


def test_body_shorter_than_its_announced_length_is_refused(server, tmp_path):
    server.mode = "lying length"
    assert "ended at 600,000 of 601,000 bytes" in refused(server.entry(), tmp_path)


def test_announced_size_other_than_the_manifests_is_refused_before_a_byte_is_kept(server, tmp_path):
    message = refused(server.entry(bytes=len(BODY) + 5, sha256=SHA256), tmp_path)
    assert "offers 600,000 bytes" in message
    assert "instead of 600,005" in message
    assert names(tmp_path) == set()


def test_body_without_announced_length_is_held_against_the_manifest(server, tmp_path):
    server.mode = "no length"
    assert "ended at 600,000 of 600,005 bytes" in refused(server.entry(bytes=len(BODY) + 5), tmp_path)
    assert download(server.entry(bytes=len(BODY), sha256=SHA256), tmp_path).verified


@pytest.mark.parametrize("mode", ["no range", "wrong range"])
def test_server_without_ranges_sends_the_whole_file_again(server, tmp_path, mode):
    (tmp_path / "toy.hdf5.part").write_bytes(BODY[:1000])
    server.mode = mode
    assert download(server.entry(sha256=SHA256), tmp_path).path.read_bytes() == BODY
    assert server.requests == ["bytes=1000-", *([None] if mode == "wrong range" else [])]


@pytest.mark.parametrize("known", [{"bytes": len(BODY), "sha256": SHA256}, {"sha256": SHA256}])
def test_part_longer_than_the_file_is_started_anew(server, tmp_path, known):
    (tmp_path / "toy.hdf5.part").write_bytes(BODY + b"x")
    assert download(server.entry(**known), tmp_path).path.read_bytes() == BODY
    assert server.requests == ([None] if "bytes" in known else [f"bytes={len(BODY) + 1}-", None])  # 416, then anew


def test_whole_part_is_accepted_without_a_request(server, tmp_path):
    (tmp_path / "toy.hdf5.part").write_bytes(BODY)
    assert download(server.entry(bytes=len(BODY), sha256=SHA256), tmp_path).verified
    assert server.requests == []


def test_wrong_hash_removes_the_part_and_says_so(server, tmp_path):
    message = refused(server.entry(bytes=len(BODY), sha256="0" * 64), tmp_path)
    assert f"has SHA-256 {SHA256[:12]}… instead of 000000000000…" in message
    assert "was removed again" in message
    assert names(tmp_path) == set()


def test_part_of_another_file_ends_in_the_wrong_hash_not_in_the_cache(server, tmp_path):
    (tmp_path / "toy.hdf5.part").write_bytes(b"\0" * 1000)
    assert "was removed again" in refused(server.entry(bytes=len(BODY), sha256=SHA256), tmp_path)
    assert download(server.entry(bytes=len(BODY), sha256=SHA256), tmp_path).verified


@pytest.mark.parametrize("mode", ["404", "503"])
def test_server_errors_are_one_sentence(server, tmp_path, mode):
    server.mode = mode
    assert f"the server answers {mode}" in refused(server.entry(), tmp_path)
    assert names(tmp_path) == set()


def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        entry = Entry("toy-v2", f"http://127.0.0.1:{closed.getsockname()[1]}/toy.hdf5")
        message = refused(entry, tmp_path)
    assert "the network failed" in message
    assert "Connection refused" in message


def test_full_disk_keeps_the_part_and_resumes(server, tmp_path, monkeypatch):
    room = 200_000
    opened = Path.open

    class Full(io.FileIO):
        def write(self, data) -> int:
            if self.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    def open_on_full_disk(self, mode="r", *args, **kwargs):
        return Full(self, mode) if self.suffix == ".part" and "b" in mode else opened(self, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_on_full_disk)
        message = refused(server.entry(sha256=SHA256), tmp_path)
    assert "no space is left" in message
    assert "SEEM_CACHE" in message
    held = (tmp_path / "toy.hdf5.part").stat().st_size
    assert 0 < held <= room
    assert download(server.entry(sha256=SHA256), tmp_path).verified
    assert server.requests == [None, f"bytes={held}-"]


def test_unwritable_folder_is_one_sentence(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .*: make the folder writable or set SEEM_CACHE"):
        download(server.entry(), tmp_path / "file" / "cache")
    assert server.requests == []


CHILD = """
import sys
from pathlib import Path
from seem.datasets import Entry, download
download(Entry("toy-v2", sys.argv[1]), Path(sys.argv[2]))
"""


def test_killed_process_frees_its_lock_and_leaves_a_part_that_a_waiting_one_resumes(server, tmp_path):
    server.mode = "stall"
    part, deadline = tmp_path / "toy.hdf5.part", time.monotonic() + 60
    waiting = threading.Thread(target=download, args=(server.entry(sha256=SHA256), tmp_path))
    with subprocess.Popen([sys.executable, "-c", CHILD, server.entry().url, str(tmp_path)]) as process:
        while not (part.exists() and part.stat().st_size > 200_000) and time.monotonic() < deadline:
            time.sleep(0.02)
        held = part.stat().st_size
        assert names(tmp_path) == {"toy.hdf5.part"}
        server.mode = "whole"
        waiting.start()
        waiting.join(timeout=0.3)
        assert waiting.is_alive()
        assert server.requests == [None]
        process.kill()
    waiting.join(timeout=30)
    assert (tmp_path / "toy.hdf5").read_bytes() == BODY
    assert server.requests == [None, f"bytes={held}-"]
    assert held > 200_000


def test_downloads_at_once_fetch_one_file_once(server, tmp_path):
    # Two open files of one process exclude each other under flock just as those of two processes do.
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: download(server.entry(sha256=SHA256), tmp_path), range(4)))
    assert [(one.sha256, one.verified) for one in found] == [(SHA256, True)] * 4
    assert server.requests == [None]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_terminals_only(server, tmp_path, terminal):
    shown = io.StringIO()
    download(server.entry(), tmp_path, console=Console(file=shown, force_terminal=terminal, width=100))
    assert ("600.0/600.0 kB" in shown.getvalue()) == terminal
    assert bool(shown.getvalue()) == terminal
