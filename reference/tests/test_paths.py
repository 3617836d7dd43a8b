"""Paths of users: what is no regular file is refused at once, and a home that is not there in one sentence."""

import os
import pwd
import socket
import threading
from pathlib import Path

import pytest

from seem.datasets import cache_dir, load, read_d4rl, resolve
from seem.datasets.hashes import check_sums, sha256_of
from seem.errors import InputError
from seem.paths import open_file, read_text, user_path


def make(kind: str, folder: Path) -> Path:
    path = folder / "x.hdf5"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "terminal":
        path.symlink_to("/dev/ptmx")
    elif kind == "link in a circle":
        path.symlink_to(path)
    elif kind == "dangling link":
        path.symlink_to(folder / "nowhere")
    elif kind == "under a file":
        path.touch()
        return path / "below.hdf5"
    elif kind == "long name":
        return folder / ("x" * 300 + ".hdf5")
    return path


KINDS = {
    "folder": "is a folder",
    "pipe": "is a pipe",
    "socket": "is a socket",
    "device": "is a device",
    "terminal": "is a device",
    "link in a circle": "cannot be opened",
    "dangling link": "does not exist",
    "under a file": "cannot be opened",
    "long name": "cannot be opened",
    "missing": "does not exist",
}
READERS = {
    "read_d4rl": read_d4rl,
    "load": load,
    "resolve": lambda path: resolve("hopper", path),
    "sha256_of": sha256_of,
    "read_text": read_text,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_without_waiting(kind, reader, tmp_path):
    path = make(kind, tmp_path)
    before = sorted(tmp_path.iterdir()), len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(InputError) as caught:
        READERS[reader](path)
    message = str(caught.value)
    if reader != "sha256_of":
        assert KINDS[kind] in message
    assert ": pass the path of a " in message
    assert "\n" not in message
    assert (sorted(tmp_path.iterdir()), len(list(Path("/proc/self/fd").iterdir()))) == before


def test_a_regular_file_is_read_through_what_was_opened(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"first")
    with open_file(path, largest=5) as file:
        path.unlink()
        os.mkfifo(path)
        assert file.readall() == b"first"
    (tmp_path / "link").symlink_to(tmp_path / "y")
    (tmp_path / "y").write_text("π")
    assert read_text(tmp_path / "link") == "π"


def test_size_and_encoding_are_bounded(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"123456")
    with pytest.raises(InputError, match=r"has 6 bytes, more than the 5 of any note: pass another file"):
        read_text(path, "note", 5)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is no UTF-8 text: pass the path of a note"):
        read_text(path, "note")


def test_home_folders_are_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert user_path("~/x") == Path("/somewhere/x")
    assert user_path(Path("a/~b")) == Path("a/~b")
    assert user_path(f"~{pwd.getpwuid(os.getuid()).pw_name}") == Path(pwd.getpwuid(os.getuid()).pw_dir)


@pytest.mark.parametrize("given", ["~nosuchuser/x.hdf5", "~nosuchuser", "", "a\0b"])
def test_a_path_that_names_nothing_is_one_sentence(given):
    with pytest.raises(InputError, match=r": pass the path"):
        user_path(given)
    if given.endswith(".hdf5"):
        with pytest.raises(InputError, match=r"^~nosuchuser/x.hdf5 names a home folder that is not known here: "):
            resolve("hopper", given)


def test_without_home_and_passwd_entry_the_cache_is_asked_for(monkeypatch):
    for name in ("HOME", "SEEM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(InputError, match="set SEEM_CACHE"):
        cache_dir()
    with pytest.raises(InputError, match="or set HOME"):
        user_path("~/x")


def test_a_list_of_hashes_that_is_a_pipe_is_no_list(tmp_path):
    os.mkfifo(tmp_path / "SHA256SUMS")
    done = threading.Event()

    def check() -> None:
        check_sums(tmp_path / "x.hdf5", "0" * 64)
        done.set()

    threading.Thread(target=check, daemon=True).start()
    assert done.wait(10)
