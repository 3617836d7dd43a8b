"""Every published number follows from the recorded runs, whose files are unchanged."""

import json
from pathlib import Path

import findings
import forecast_errors
import pytest
import studies
import verify_baird
import verify_ntk_map
import verify_toy_maze
from growth_verdicts import judge, summarise
from training_study import RUNS, read_study
from verdicts import as_json

from seem.records import digest, parse_json

RECORDED = Path(__file__).parent / "recorded"
WINDOWS = RECORDED / "d4rl-v0-windows"
EXAMPLES = {"toy-maze": verify_toy_maze, "baird": verify_baird, "ntk-map": verify_ntk_map}
STUDIES = sorted(path.parent for path in WINDOWS.glob("*/summary.json"))


def test_recorded_verdicts_follow_from_recorded_rows():
    summary = parse_json((RECORDED / "hopper-embedded" / "summary.json").read_text())
    assert as_json(judge(summary["rows"])) == summary["claims"]


def test_there_are_recorded_studies_of_real_rows():
    assert {path.name.split("-")[0] for path in STUDIES} == {"hopper", "walker2d", "halfcheetah"}


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_summary_follows_from_the_runs(study):
    summary = parse_json((study / "summary.json").read_text())
    for folder, sha256 in summary["runs_sha256"].items():
        assert digest((study / "runs" / folder / "outcome.json").read_bytes()) == sha256
    rows = summarise(forecast_errors.plain_cells(study))
    assert json.loads(json.dumps(rows)) == json.loads(json.dumps(summary["rows"]))
    assert as_json(judge(rows)) == summary["claims"]


def test_published_table_follows_from_the_runs(tmp_path, capsys):
    forecast_errors.main(forecast_errors.Options(studies=tuple(STUDIES), out=tmp_path))
    assert (tmp_path / "forecast_errors.md").read_text() == (WINDOWS / "forecast_errors.md").read_text()
    assert capsys.readouterr().out.startswith("| study |")


@pytest.mark.parametrize("folder", EXAMPLES)
def test_verdicts_of_the_worked_examples_follow_from_their_numbers(folder):
    results = parse_json((RECORDED / folder / "results.json").read_text())
    assert as_json(EXAMPLES[folder].judge(results["numbers"])) == results["claims"]


@pytest.mark.parametrize("folder", sorted(RECORDED.glob(f"*/{RUNS}")), ids=lambda path: path.parent.name)
def test_verdicts_of_a_study_follow_from_its_kept_runs(folder):
    results, runs = read_study(folder.parent)
    study = studies.STUDIES[results["study"]]
    assert as_json(study.judge(runs)) == results["claims"]
    # Every declared run is there: none was dropped.
    assert len(runs) == len(results["options"]["data"]) * len(study.variants) * len(results["options"]["seeds"])


def test_the_findings_are_those_of_the_records():
    assert findings.PAGE.read_text(encoding="utf-8") == findings.page(findings.read_findings())
