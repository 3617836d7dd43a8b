"""Every published number follows from the recorded runs, whose files are unchanged."""

import json
import shutil
from pathlib import Path

import pytest
from studies.growth.forecast_errors import ForecastErrorOptions, collect
from studies.shared import findings
from studies.shared.declaration import read_declaration
from studies.shared.record import RECORDED, RESULTS, RUNS, read_results
from studies.shared.recorded import (
    ADDED,
    TOGETHER,
    damage,
    judge_again,
    judge_anew,
    merge,
    pooled,
    recorded_folders,
    recorded_verdicts,
)
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


def part(**words):
    return [{"sentence": name, "verdict": word, "evidence": f"why {word}"} for name, word in words.items()]


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (["verified"] * 3, "verified"),
        (["verified"], "verified"),
        (["verified"] * 7 + ["open"] * 5, "open"),
        (["open"] * 3, "open"),
        (["open", "refuted", "verified"], "refuted"),
        (["verified"] * 11 + ["refuted"], "refuted"),
    ],
)
def test_data_sets_verify_together_only_where_each_does(words, verdict):
    parts = {str(number): part(law=word) for number, word in enumerate(words)}
    (found,) = merge(parts)
    assert (found["sentence"], found["verdict"]) == ("law", verdict)
    assert f"of {len(words)} data sets" in found["evidence"]
    assert found["evidence"].count("why refuted") == words.count("refuted")


def test_a_data_set_without_the_sentence_verifies_nothing():
    assert [found["verdict"] for found in merge({"one": part(law="verified"), "two": part(other="verified")})] == [
        "open",
        "open",
    ]
    assert merge({}) == []


def test_runs_of_all_data_sets_are_also_judged_together():
    found = {judged["sentence"]: judged for judged in recorded_verdicts(WINDOWS)}
    together = {judged["sentence"]: judged for judged in pooled(WINDOWS)}
    assert set(together) <= set(found)
    rows = [run for path in WINDOW_STUDIES for run in read_results(path)[1]]
    crashed = sum(run["crash_step"] is not None for run in rows)
    evidence = found[f"{TOGETHER}crash step forecast at 80% of the run"]["evidence"]
    assert f"of {crashed} [" in evidence
    assert f"{len(rows) - crashed} of {len(rows)} runs censored" in evidence


def test_false_alarms_of_censored_runs_are_counted_from_their_forecasts():
    found = {judged["sentence"]: judged for judged in pooled(WINDOWS)}
    alarms = found[f"{TOGETHER}no run that outlives its budget was forecast to crash within it"]
    censored = alarmed = 0
    for path in WINDOW_STUDIES:
        for run in read_results(path)[1]:
            if run["crash_step"] is None:
                folder = path / "runs" / run["folder"]
                budget = json.loads((folder / "config.json").read_text())["run"]["budget"]
                lines = [json.loads(line) for line in (folder / "forecasts.jsonl").read_text().splitlines()]
                censored += 1
                alarmed += any(float(line["crash_step"]) <= budget for line in lines)
    assert alarmed > 0
    assert alarms["verdict"] == "refuted"
    assert alarms["evidence"].startswith(f"{alarmed} of {censored} [")


def test_a_sentence_is_not_verified_by_the_runs_it_was_chosen_on():
    changed = 0
    for name in recorded_folders():
        parts = sorted(RECORDED.glob(f"{name}/**/{RESULTS}"))
        declaration = read_declaration(read_results(parts[0].parent)[0]["study"])
        raw = {v["sentence"]: v["verdict"] for v in judge_again(parts[0].parent)} if len(parts) == 1 else {}
        for judged in recorded_verdicts(RECORDED / name):
            looked_at = declaration.looked_at(judged["sentence"].removeprefix(TOGETHER))
            if name in looked_at:
                assert judged["verdict"] != "verified"
                assert ADDED in judged["evidence"]
                changed += raw.get(judged["sentence"]) == "verified"
            else:
                assert ADDED not in judged["evidence"]
                assert judged["verdict"] == raw.get(judged["sentence"], judged["verdict"])
    assert changed, "there is something to keep from being verified"


def test_zero_was_chosen_on_the_embedded_runs_and_is_verified_by_the_later_ones():
    sentence = "critics begin to diverge at the discount at which normalised SEEM rises above zero"
    words = {
        name: next(v for v in recorded_verdicts(RECORDED / name) if v["sentence"].endswith(sentence))
        for name in ("discount", "discount-windows")
    }
    assert words["discount"]["verdict"] == "open"
    assert words["discount-windows"]["verdict"] == "verified"
    assert "added after a look at discount, not at these" in words["discount-windows"]["evidence"]


def test_judging_anew_changes_verdicts_and_no_run(recorded):
    path, runs = recorded / "baird" / RESULTS, (recorded / "baird" / RUNS).read_bytes()
    before = path.read_text()
    results = json.loads(before)
    results["verdicts"][0]["verdict"] = "refuted"
    results["verdicts"][1]["sentence"] = "something else"
    path.write_text(json.dumps(results))
    changed = judge_anew(recorded / "baird")
    assert len(changed) == 3
    assert f"{results['verdicts'][0]['sentence']}: refuted -> verified" in changed
    assert "something else: verified -> gone" in changed
    assert sum(line.endswith("not there -> verified") for line in changed) == 1
    assert json.loads(path.read_text()) == json.loads(before)
    assert (recorded / "baird" / RUNS).read_bytes() == runs
    assert judge_anew(recorded / "baird") == []


def test_judging_anew_seals_what_it_wrote(recorded, capsys):
    path = recorded / "baird" / RESULTS
    path.write_text(path.read_text().replace('"verdict":"verified"', '"verdict":"open"', 1))
    record(RecordingOptions(recorded=recorded, judge_anew=True))
    assert "baird: " in capsys.readouterr().out
    assert damage(recorded / "baird") == ""
    assert recorded_verdicts(recorded / "baird")


def test_a_declaration_made_before_its_runs_is_not_replaced(recorded):
    path = recorded / "baird" / RESULTS
    results = json.loads(path.read_text())
    results["declaration"] |= {"written": "before the runs", "sha256": "0" * 64}
    path.write_text(json.dumps(results))
    with pytest.raises(InputError, match="declare and run it anew"):
        judge_anew(recorded / "baird")
    results["declaration"]["sha256"] = json.loads((RECORDED / "baird" / RESULTS).read_text())["declaration"]["sha256"]
    path.write_text(json.dumps(results))
    assert judge_anew(recorded / "baird") == []
