"""Other interpreters: what is asked is answered, and one that has ended is noticed."""

import sys
from pathlib import Path

import pytest

from seem import peers

ECHO = """
import json, sys
for line in sys.stdin:
    told = json.loads(line)
    if told.get("end"):
        sys.exit()
    print(json.dumps({"told": told}), flush=True)
"""


def test_a_peer_answers_until_it_ends(tmp_path):
    script = tmp_path / "echo.py"
    script.write_text(ECHO)
    peer = peers.Peer(Path(sys.executable), script, {"threads": 1})
    assert peer.told == {"told": {"threads": 1}}
    assert peer.ask({"x": [0.1, float("inf")]}) == {"told": {"x": [0.1, float("inf")]}}
    for question in ({"end": True}, {"x": 1}):
        with pytest.raises(RuntimeError, match=r"echo\.py.* ended"):
            peer.ask(question)
    peer.close()


def test_a_peer_is_found_where_nox_put_it(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
    assert peers.find_peer("d3rlpy") is None
    python = tmp_path / "peers-d3rlpy" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert peers.find_peer("d3rlpy") == python
