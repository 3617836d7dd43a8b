"""Downloads against a local server that fails in every way a server can."""

import pytest

from reference.tests.download_server import BODY, SHA256, names, refused
from seem.datasets import download
from seem.errors import InputError


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
