"""The runner of the mutants: it kills what a test notices, lets the rest live, and refuses a stale catalogue."""

from dataclasses import replace
from pathlib import Path

import pytest

from properties.mutants.catalogue import MUTABLE, REPOSITORY, Mutant, read_catalogue
from properties.mutants.general import PACKAGES, read_explained
from properties.mutants.run import MutantOptions, check_unmutated, select, try_mutant
from seem.errors import InputError

UNSEEN = Mutant(
    id="wrong-exponent",
    file="reference/seem/growth/base.py",
    find="return (self.degree - 1) / self.depth",
    replace="return self.degree / self.depth",
    killed_by="properties/test_growth_laws.py::test_time_scales_inversely_with_the_rate",
    mistake="wrong exponent",
    area="meta",
)
"""A mistake that its property cannot notice: the times stay inverse to the rate."""


def test_every_entry_of_the_catalogue_applies():
    assert {Path(mutant.file).parts[0] for mutant in read_catalogue()} == {part.split("/")[0] for part in MUTABLE}
    assert len(read_catalogue()) >= 480


def source_of(function: str) -> str:
    """The text of the module that a function of a survivor is in."""
    package, *rest = function.split(".")
    parts = [REPOSITORY.joinpath(PACKAGES[package], *rest[:place]) for place in range(len(rest), 0, -1)]
    return next(path.with_suffix(".py") for path in parts if path.with_suffix(".py").is_file()).read_text("utf-8")


@pytest.mark.parametrize("change", read_explained(), ids=lambda change: change.function)
def test_every_explained_survivor_changes_a_line_that_still_stands(change):
    standing = {line.strip() for line in source_of(change.function).splitlines()}
    assert {line[2:].strip() for line in change.lines.splitlines() if line.startswith("- ")} <= standing


def test_a_mistake_that_the_property_cannot_see_survives(monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--an-option-of-the-run-around-it")
    assert try_mutant(UNSEEN)[0] == "survived"


def test_a_mistake_that_the_property_sees_is_killed():
    mutant = replace(UNSEEN, find="return 1 / (self.exponent * rate)", file="reference/seem/growth/sgd.py")
    assert try_mutant(replace(mutant, replace="return 1 / (self.exponent + rate)"))[0] == "killed"


def test_a_mutant_that_cannot_be_imported_is_no_kill():
    first_import = "import numpy as np\n"
    fate, output = try_mutant(replace(UNSEEN, find=first_import, replace="raise RuntimeError('not importable')\n"))
    assert fate == "broken"
    assert "not importable" in output


def test_a_mistake_outside_the_package_is_made_in_the_copy_that_its_test_sees():
    mutant = replace(
        UNSEEN,
        file="claims/verdicts.py",
        find="    if against:\n",
        replace="    if len(against) > 1:\n",
        killed_by="claims/test_verdicts.py::test_what_all_evidence_supports_is_verified_and_a_counterexample_refutes",
    )
    fate, output = try_mutant(replace(mutant, killed_by="claims/test_verdicts.py::test_what_was_not_run_is_open"))
    assert (fate, output.count("1 passed")) == ("survived", 1)
    assert try_mutant(mutant)[0] == "killed"


def test_failing_tests_are_refused_before_any_mutant_is_tried():
    with pytest.raises(InputError, match="fail without a mutant"):
        check_unmutated([replace(UNSEEN, killed_by="properties/test_growth_laws.py::test_absent")])


ENTRY = {
    "id": "x",
    "file": UNSEEN.file,
    "find": UNSEEN.find,
    "replace": "return 0.0",
    "killed_by": UNSEEN.killed_by,
    "mistake": "m",
}


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [
        ({"find": "no such text"}, "occurs 0 times .* adapt 'find'"),
        ({"find": "self"}, "occurs .* times .* adapt 'find'"),
        ({"replace": "return (("}, "breaks the syntax"),
        ({"file": "reference/seem/absent.py"}, "no source file under"),
        ({"file": "properties/conftest.py"}, "no source file under"),
        ({"file": "claims/conftest.py"}, "no source file under"),
        ({"file": "theory/test_render.py"}, "no source file under"),
        ({"killed_by": "properties/test_growth_laws.py::test_absent"}, "no test"),
        ({"killed_by": "reference/tests/test_growth.py::test_sgd"}, "no test"),
        ({"killed_by": "properties/meta/test_mutants.py::test_a_wrong_entry_is_refused"}, "no test"),
        ({"killed_by": "claims/plugin.py::tests_of"}, "no test"),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path, changed, remedy):
    write(tmp_path, ENTRY | changed)
    with pytest.raises(InputError, match=remedy):
        read_catalogue(tmp_path)


def test_missing_keys_repeated_ids_and_broken_files_are_refused(tmp_path):
    write(tmp_path, {"id": "x"})
    with pytest.raises(InputError, match="give exactly"):
        read_catalogue(tmp_path)
    write(tmp_path, ENTRY, ENTRY)
    with pytest.raises(InputError, match="used twice"):
        read_catalogue(tmp_path)
    (tmp_path / "meta.toml").write_text("[[mutant")
    with pytest.raises(InputError, match="not TOML"):
        read_catalogue(tmp_path)


@pytest.mark.parametrize(
    "options", [MutantOptions(ids=("absent",)), MutantOptions(area="absent"), MutantOptions(workers=0)]
)
def test_an_unknown_selection_is_refused(options):
    with pytest.raises(InputError):
        select(options)


def write(folder, *entries):
    lines = [line for entry in entries for line in ("[[mutant]]", *(f"{k} = '''{v}'''" for k, v in entry.items()))]
    (folder / "meta.toml").write_text("\n".join(lines))
