"""Other interpreters: what is asked is answered, and one that has ended is noticed."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

from peers import SCRIPTS, pipe

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
    peer = pipe.Peer(Path(sys.executable), script, {"threads": 1})
    assert peer.told == {"told": {"threads": 1}}
    assert peer.ask({"x": [0.1, float("inf")]}) == {"told": {"x": [0.1, float("inf")]}}
    for question in ({"end": True}, {"x": 1}):
        with pytest.raises(RuntimeError, match=r"echo\.py.* ended"):
            peer.ask(question)
    peer.close()


def test_a_peer_is_found_where_nox_put_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pipe, "ENVIRONMENTS", tmp_path)
    assert pipe.find_peer("d3rlpy") is None
    python = tmp_path / "peers-d3rlpy" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert pipe.find_peer("d3rlpy") == python


ROOT = SCRIPTS.parents[1]


def imported(path: Path) -> set[str]:
    """Roots of the modules that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[0] for name in plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom)}}


def test_what_is_installed_needs_no_clone():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["packages"] == ["reference/seem"]
    assert "/reference" in build["sdist"]["include"]
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} | {"peers", "tests"}
    for path in (ROOT / "reference" / "seem").rglob("*.py"):
        assert not imported(path) & folders, f"{path} imports what is not installed"
    assert "seem" not in imported(SCRIPTS / "pipe.py")


def test_the_scripts_are_where_they_are_looked_for():
    scripts = {path.name for path in SCRIPTS.glob("*.py")} - {"__init__.py", "pipe.py"}
    assert scripts == {"d3rlpy_learner.py", "d3rlpy_td3.py", "jax_td3.py", "neural_tangents_ntk.py"}
    users = [path for room in ("experiments", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in users)
    assert all(f'"{name}"' in text for name in scripts)
    assert all(imported(SCRIPTS / name) >= {"json", "sys"} for name in scripts)
    assert not any("seem" in imported(SCRIPTS / name) for name in scripts)
