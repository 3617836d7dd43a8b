"""Every published number follows from the recorded runs, whose files are unchanged."""

import shutil
from pathlib import Path

import pytest
from studies.growth.forecast_errors import ForecastErrorOptions, collect
from studies.shared import findings
from studies.shared.record import RECORDED, RESULTS, read_results
from studies.shared.recorded import damage, recorded_folders, recorded_verdicts
from studies.shared.recording import RecordingOptions, record
from studies.shared.registry import find_study
from studies.shared.training import TrainingOptions

from seem.errors import InputError

WINDOWS = RECORDED / "d4rl-v0-windows"
WINDOW_STUDIES = sorted(path.parent for path in WINDOWS.glob(f"*/{RESULTS}"))


@pytest.mark.parametrize("name", recorded_folders())
def test_written_verdicts_follow_from_what_was_measured(name):
    assert recorded_verdicts(RECORDED / name)


@pytest.mark.parametrize("name", recorded_folders())
def test_recorded_files_are_as_they_were_sealed(name):
    assert damage(RECORDED / name) == ""


def test_there_are_recorded_studies_of_real_rows():
    assert {path.name.split("-")[0] for path in WINDOW_STUDIES} == {"hopper", "walker2d", "halfcheetah"}


def test_published_table_follows_from_the_runs(tmp_path, capsys):
    collect(ForecastErrorOptions(studies=tuple(WINDOW_STUDIES), out=tmp_path))
    assert (tmp_path / "forecast_errors.md").read_text() == (WINDOWS / "forecast_errors.md").read_text()
    assert capsys.readouterr().out.startswith("| study |")


@pytest.mark.parametrize("folder", sorted(RECORDED.glob(f"*/{RESULTS}")), ids=lambda path: path.parent.name)
def test_every_declared_run_of_a_study_is_recorded(folder):
    results, runs = read_results(folder.parent)
    study = find_study(results["study"])
    if isinstance(study.options, TrainingOptions):
        assert len(runs) == len(results["options"]["data"]) * len(study.arms) * len(results["options"]["seeds"])
    elif study.name == "growth":
        depths, seeds = (results["options"][name] for name in ("depths", "seeds"))
        plain = [(run["depth"], run["seed"]) for run in runs if run["kind"] == "plain"]
        assert sorted(plain) == sorted((depth, seed) for depth in depths for seed in seeds)


def test_the_findings_are_those_of_the_records():
    assert findings.PAGE.read_text(encoding="utf-8") == findings.page(findings.read_findings())


@pytest.fixture
def recorded(tmp_path) -> Path:
    """Two recorded studies in a folder of their own, sealed."""
    for name in ("baird", "ntk-map"):
        shutil.copytree(RECORDED / name, tmp_path / "recorded" / name)
    record(RecordingOptions(recorded=tmp_path / "recorded"))
    return tmp_path / "recorded"


def test_a_sealed_folder_is_whole(recorded):
    assert [damage(recorded / name) for name in recorded_folders(recorded)] == ["", ""]


def test_a_changed_number_a_missing_and_a_new_file_are_noticed(recorded):
    path = recorded / "baird" / RESULTS
    path.write_text(path.read_text().replace("0.861111", "0.861112", 1))
    assert damage(recorded / "baird") == "baird/results.json was changed after it was sealed"
    assert damage(recorded / "ntk-map") == ""
    path.unlink()
    assert damage(recorded / "baird") == "baird/results.json is missing"
    (recorded / "ntk-map" / "more.json").write_text("{}")
    assert damage(recorded / "ntk-map") == "ntk-map/more.json is not sealed"
    assert damage(recorded / "nothing") == "there is no recorded study nothing"


def test_a_changed_verdict_does_not_follow_from_the_runs_even_when_sealed_again(recorded):
    path = recorded / "baird" / RESULTS
    path.write_text(path.read_text().replace('"verdict":"verified"', '"verdict":"refuted"', 1))
    record(RecordingOptions(recorded=recorded))
    assert damage(recorded / "baird") == ""
    with pytest.raises(InputError, match="do not follow from its runs"):
        recorded_verdicts(recorded / "baird")


def test_a_finished_study_is_copied_under_its_name_and_sealed(recorded, tmp_path, capsys):
    shutil.copytree(RECORDED / "baird", tmp_path / "runs" / "baird")
    shutil.rmtree(recorded / "baird")
    record(RecordingOptions(folders=(tmp_path / "runs" / "baird",), recorded=recorded))
    assert {path.name for path in (recorded / "baird").iterdir()} == {"results.json", "runs.jsonl", "baird.png"}
    assert damage(recorded / "baird") == ""
    assert capsys.readouterr().out.startswith("recorded: ")


def test_an_unfinished_study_is_refused_and_nothing_is_copied(recorded, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no results"):
        record(RecordingOptions(folders=(tmp_path / "empty",), recorded=recorded))
    assert not (recorded / "empty").exists()
