"""``import seem`` costs nothing, and each of its names loads only what it needs."""

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import seem

HEAVY = ("torch", "numpy", "scipy", "h5py", "matplotlib", "safetensors", "tyro", "rich", "gymnasium", "sympy")
"""What can be dear to load."""
TORCH = {"torch", "numpy"}
ORDERS = (
    [
        ("MLPConfig SACConfig TD3Config Training Transitions gram_blocks", TORCH),
        ("Calibration Reading Trail Watch forecast leading_eigenvalue look_ahead read", TORCH | {"scipy"}),
    ],
    [
        ("read_run", TORCH | {"safetensors"}),
        ("load", TORCH | {"safetensors", "h5py", "rich"}),
        ("RunConfig", TORCH | {"safetensors", "h5py", "rich", "tyro"}),
        ("train", TORCH | {"safetensors", "h5py", "rich", "tyro", "scipy"}),
    ],
)
"""Names in an order in which they can be loaded into one process, with all that is loaded by then."""


def loaded_by(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout))


def test_a_look_at_the_front_door_loads_nothing():
    looks = ("assert {*seem.__all__, '__file__'} <= {*dir(seem)}", "assert seem.__version__", "hasattr(seem, 'absent')")
    assert loaded_by("; ".join(("import seem", *looks))) == set()


@pytest.mark.parametrize("order", ORDERS, ids=["of readings", "of data and runs"])
def test_a_name_loads_only_what_it_needs(order):
    lines = ["import sys, seem"]
    for names, needed in order:
        lines += [f"seem.{name}" for name in names.split()]
        lines += [f"assert {{name for name in {HEAVY} if name in sys.modules}} == {needed}, [*sys.modules]"]
    loaded_by("\n".join(lines))


def test_every_name_is_in_an_order():
    assert sorted(" ".join(names for order in ORDERS for names, _ in order).split()) == sorted(seem.__all__)


def test_a_name_is_what_its_module_defines():
    for name in seem.__all__:
        value = getattr(seem, name)
        assert value.__module__ == f"seem.{seem._MODULES[name]}"
        assert value is getattr(importlib.import_module(value.__module__), name)
        assert f"- `{name}`: " in seem.__doc__
    assert seem.__doc__.count("\n- `") == len(seem.__all__)
    assert "__version__" not in seem.__all__
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        _ = seem.absent


def test_a_type_checker_sees_the_same_names_at_the_same_places():
    tree = ast.parse(Path(seem.__file__).read_text())
    seen = {
        alias.name: node.module.removeprefix("seem.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("seem.")
        for alias in node.names
    }
    assert seen == seem._MODULES
    assert sorted(seen) == sorted(seem.__all__)


def test_no_name_is_also_a_modules():
    """A module that is imported becomes an attribute of its package, and would take the name's place."""
    modules = {module.name for module in pkgutil.iter_modules(seem.__path__)}
    assert not modules & set(seem.__all__)
