"""Downloads against a local server that fails in every way a server can."""

import gc
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from reference.tests.download_server import BODY, SHA256, names, refused
from seem.datasets import download
from seem.datasets.transfer import Redirects
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


PAGE = b"<!DOCTYPE html><html><body>log in first</body></html>"


def refused_and_nothing_kept(server, folder, **options) -> str:
    message = refused(server.entry(), folder, **options)
    assert names(folder) == set()
    return message


@pytest.mark.parametrize("length", ["many", "-5", "1e5", "0x10", "\u00b2", "12, 12", "9" * 30, ""])
def test_a_malformed_length_is_one_sentence(server, tmp_path, length):
    server.headers["Content-Length"] = length
    message = refused_and_nothing_kept(server, tmp_path)
    assert "the server states a length of" in message


@pytest.mark.parametrize(
    "kind", ["text/html", "text/html; charset=utf-8", "TEXT/PLAIN", "application/json", "image/png"]
)
def test_a_page_by_its_type_is_never_stored(server, tmp_path, kind):
    server.headers["Content-Type"] = kind
    assert f"the server sends {kind.lower()} instead of a file" in refused_and_nothing_kept(server, tmp_path)


@pytest.mark.parametrize("mode", ["whole", "no length"])
@pytest.mark.parametrize(
    "body", [PAGE, b"", b"\x89HDF", b"\x89HDF\r\n\x1a", b"\x89HDF\r\n\x1b\n" + BODY[8:], b"\0" * 1000]
)
def test_what_does_not_begin_as_an_hdf5_file_is_never_stored(server, tmp_path, body, mode):
    server.body, server.mode = body, mode
    message = refused_and_nothing_kept(server, tmp_path) if body else refused(server.entry(), tmp_path)
    assert "HDF5 file" in message or "sends nothing" in message or "answers 416" in message
    assert names(tmp_path) == set()
    server.body, server.mode = BODY, "whole"
    assert download(server.entry(), tmp_path).path.read_bytes() == BODY


def test_a_page_under_the_final_name_is_refused(server, tmp_path):
    (tmp_path / "toy.hdf5").write_bytes(PAGE)
    with pytest.raises(InputError, match=r"toy.hdf5 \(delete it\) holds no HDF5 file: "):
        download(server.entry(), tmp_path)
    assert server.requests == []


@pytest.mark.parametrize("mode", ["body", "slow headers"])
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(server, tmp_path, mode):
    server.pause, server.mode = 0.05, mode
    message = refused(server.entry(), tmp_path, timeout=0.5)
    assert "the network failed" in message


def test_a_download_has_an_end(server, tmp_path):
    assert "it takes longer than 0 s" in refused(server.entry(), tmp_path, longest=0.0)


@pytest.mark.parametrize("scheme", ["ftp", "file", "data", "gopher"])
def test_a_redirect_off_the_web_is_not_followed(server, tmp_path, scheme):
    server.redirect = f"{scheme}://127.0.0.1/etc/passwd"
    assert "the server answers 302" in refused_and_nothing_kept(server, tmp_path)


@pytest.mark.parametrize(
    ("begun", "place", "followed"),
    [
        ("https", "http://b/y", False),
        ("https", "https://b/y", True),
        ("http", "http://b/y", True),
        ("http", "https://b/y", True),
    ],
)
def test_a_redirect_does_not_lose_its_encryption(begun, place, followed):
    asked = Request(f"{begun}://a/x")  # noqa: S310
    if followed:
        assert Redirects().redirect_request(asked, None, 302, "", {}, place).full_url == place
    else:
        with pytest.raises(HTTPError, match="sends on to http://b/y"):
            Redirects().redirect_request(asked, None, 302, "", {}, place)


@pytest.mark.parametrize("place", ["http://[", "http://127.0.0.1:99999/x", "/folder/toy.hdf5", "http:///x", "\u00e9"])
def test_a_redirect_to_nowhere_or_in_a_circle_is_one_sentence(server, tmp_path, place):
    server.redirect = place.encode().decode("latin-1")
    refused_and_nothing_kept(server, tmp_path)
    gc.collect()  # an answer that nobody closed warns here, and warnings are errors


def test_more_bytes_than_a_file_has_are_not_kept(server, tmp_path, monkeypatch):
    server.mode = "no length"
    assert "has no more than 1,000" in refused(server.entry(bytes=1000, sha256=SHA256), tmp_path)
    monkeypatch.setattr("seem.datasets.transfer.LARGEST_DOWNLOAD", 2000)
    assert "has no more than 2,000" in refused(server.entry(), tmp_path / "unpinned")
    server.mode = "whole"
    assert "has no more than 2,000" in refused_and_nothing_kept(server, tmp_path / "announced")


def test_an_unpinned_file_without_a_recorded_hash_gets_one(server, tmp_path):
    (tmp_path / "toy.hdf5").write_bytes(BODY)
    found = download(server.entry(), tmp_path)
    assert (found.sha256, found.verified) == (SHA256, False)
    (tmp_path / "toy.hdf5").write_bytes(BODY[:-1])
    with pytest.raises(InputError, match=f"instead of {SHA256[:12]}"):
        download(server.entry(), tmp_path)
