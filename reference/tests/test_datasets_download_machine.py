"""Downloads where the machine fails them or shares them: no network, a full disk, a kill, several at once."""

import errno
import io
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from reference.tests.download_server import BODY, SHA256, names, refused
from seem.datasets import Entry, download
from seem.errors import InputError


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
