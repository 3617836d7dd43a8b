"""What a study declares: read, checked against its arms, its sentences and the register of seeds, and hashed."""

import dataclasses
import json
import shutil
import tomllib

import pytest
from studies.shared.declaration import (
    REGISTER,
    STUDIES,
    declared_studies,
    described,
    parse_declaration,
    read_declaration,
)
from studies.shared.record import RECORDED, RESULTS, begin, find_record, read_results
from studies.shared.recorded import DIFFERS, judge_again, provenance
from studies.shared.registry import MODULES, find_study
from studies.shared.runs import Arm
from studies.shared.study import parse, run_study

from seem.agents.sac import SACConfig
from seem.agents.td3 import TD3Config
from seem.errors import InputError
from seem.networks import MLPConfig
from seem.records import canonical_json, digest

TEXT = (STUDIES / "training" / "targets.toml").read_text(encoding="utf-8")


def test_every_study_has_a_declaration_and_every_declaration_a_study():
    assert declared_studies() == sorted(MODULES)
    assert [find_study(name).name for name in MODULES] == list(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_the_declared_arms_are_those_that_are_run(name):
    study = find_study(name)
    names = [arm.name if isinstance(arm, Arm) else arm for arm in study.arms]
    if name != "ntk-map":  # whose arms are two lists, of initialisations and of normalisations
        assert list(study.declaration.arms) == names


@pytest.mark.parametrize("folder", sorted(RECORDED.glob(f"**/{RESULTS}")), ids=lambda path: path.parent.name)
def test_every_sentence_that_is_judged_is_declared(folder):
    results, _ = read_results(folder.parent)
    declaration = read_declaration(results["study"])
    assert all(declaration.covers(verdict["sentence"]) for verdict in results["verdicts"])
    assert not declaration.covers("something else")


@pytest.mark.parametrize("folder", sorted(RECORDED.glob(f"**/{RESULTS}")), ids=lambda path: path.parent.name)
def test_only_records_of_declarations_before_their_runs_read_declared(folder):
    results, _ = read_results(folder.parent)
    before = results["study"] in DECLARED
    assert results["declaration"]["written"] == ("before the runs" if before else "after the runs")
    assert ("Declared" in provenance(folder.parent)) == before


DECLARED = ("growth-confirmation", "joint", "normalisation-long", "optimiser")
"""Studies that were declared before their runs."""


def test_what_was_chosen_on_runs_is_named_and_never_before_them():
    surge = read_declaration("surge")
    assert surge.looked_at("SEEM ranks what diverges within 100 steps better than every simpler signal") == (
        "surge",
        "surge-windows",
    )
    assert surge.looked_at("something else") == ()
    named = {
        name
        for study in declared_studies()
        for v in read_declaration(study).verdicts
        for name in v.get("looked_at", ())
    }
    assert named <= {path.name for path in RECORDED.iterdir()}
    text = (STUDIES / "growth" / "growth_confirmation.toml").read_text(encoding="utf-8")
    wrong = text.replace('falsifier = "one that did"\n', 'falsifier = "one that did"\nlooked_at = ["surge"]\n')
    assert wrong != text
    with pytest.raises(InputError, match="drop looked_at"):
        parse_declaration(wrong, "growth_confirmation.toml", "growth-confirmation")


WRONG = {
    "no seeds": ("seeds = [10, 11, 12, 13, 14]\n", "", "no declaration"),
    "toml": ("study =", "study", "no declaration"),
    "name": ('study = "targets"', 'study = "surge"', "declares the study 'surge'"),
    "time": ('"after the runs"', '"some day"', "say before the runs or after the runs"),
    "twice": ("[10, 11,", "[10, 10,", "a seed twice"),
    "unregistered": ("[10, 11,", "[10, 999,", "does not have: register it first"),
    "used": ('"after the runs"', '"before the runs"', "not of the study targets"),
    "no falsifier": (
        'falsifier = "an interval below zero"\n',
        "",
        "without sentence, statistic and falsifier",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_declaration_that_cannot_be_trusted_is_one_sentence(name):
    old, new, message = WRONG[name]
    assert TEXT.count(old) == 1
    with pytest.raises(InputError, match=message) as caught:
        parse_declaration(TEXT.replace(old, new), "targets.toml", "targets")
    assert "\n" not in str(caught.value)


def test_an_unknown_study_is_one_sentence():
    for find in (read_declaration, find_study):
        with pytest.raises(InputError, match="choose one of baird"):
            find("surges")


def test_the_hash_covers_thresholds_arms_and_sentences_and_no_comment():
    study = find_study("targets")
    before = study.declaration.sha256(study.arms)

    def sha256(text):
        return parse_declaration(text, "targets.toml", "targets").sha256(study.arms)

    assert sha256(TEXT) == before
    assert sha256(TEXT + "# a remark\n") == before
    assert sha256(TEXT.replace("Kendall's", "Spearman's")) != before
    looked_at = 'falsifier = "an interval below zero"\nlooked_at = ["targets"]\n'
    assert sha256(TEXT.replace('falsifier = "an interval below zero"\n', looked_at)) != before
    assert sha256(TEXT + "\n[thresholds]\nmore = 1\n") != before
    arm = study.arms[0]
    other = dataclasses.replace(arm, agent=dataclasses.replace(arm.agent, discount=0.9))
    assert study.declaration.sha256((other, *study.arms[1:])) != before


def test_a_new_option_with_its_default_leaves_the_hash_alone():
    @dataclasses.dataclass(frozen=True)
    class Config:
        rate: float = 1.0

    narrow = described(Config(2.0))
    wider = dataclasses.make_dataclass("Config", [("rate", float, 1.0), ("more", int, 0)], frozen=True)
    assert described(wider(2.0)) == narrow
    assert described(wider(2.0, 1)) != narrow


KNOWN = {
    TD3Config: (
        "critic",
        "actor",
        "discount",
        "critic_optimiser",
        "critic_lr",
        "momentum",
        "actor_lr",
        "actor_interval",
        "target_rate",
        "target_interval",
        "target_noise",
        "noise_clip",
        "behaviour_cloning",
        "hold_norms",
    ),
    SACConfig: (
        "critic",
        "actor",
        "discount",
        "critic_optimiser",
        "critic_lr",
        "momentum",
        "actor_lr",
        "actor_interval",
        "target_rate",
        "target_interval",
        "temperature",
        "tune_temperature",
        "temperature_lr",
        "target_entropy",
        "behaviour_cloning",
    ),
    MLPConfig: ("depth", "width", "activation", "bias", "normalisation", "normalised_layers", "affine", "epsilon"),
}
"""Options that there were when declarations began; a new one with its default changes no arm."""
DEFAULTS = {
    "TD3Config": "4b90618018bc",
    "SACConfig": "704a4711562a",
    "MLPConfig": "f8e09de70a7f",
}
"""Declarations say how an arm differs from these: a default that changes would change the arms of older records."""


@pytest.mark.parametrize("config", [TD3Config, SACConfig, MLPConfig])
def test_the_defaults_that_arms_are_described_by_stand(config):
    defaults = {field.name: field.default for field in dataclasses.fields(config) if field.name in KNOWN[config]}
    assert digest(canonical_json(defaults))[:12] == DEFAULTS[config.__name__]


@pytest.fixture
def recorded(tmp_path):
    """One recorded study in a folder of its own."""
    return shutil.copytree(RECORDED / "baird", tmp_path / "baird")


def edit(folder, **changes):
    path = folder / RESULTS
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_record_of_another_declaration_says_so_in_its_verdicts(recorded):
    assert not any(verdict["evidence"].endswith(DIFFERS) for verdict in judge_again(recorded))
    edit(recorded, declaration={"sha256": "0" * 64, "written": "after the runs", "date": "2026-01-01"})
    assert all(verdict["evidence"].endswith(DIFFERS) for verdict in judge_again(recorded))


def test_a_record_without_a_declaration_is_refused(recorded):
    edit(recorded, declaration=None)
    with pytest.raises(InputError, match="names no declaration"):
        judge_again(recorded)


def test_a_record_of_an_unknown_study_is_refused(recorded):
    edit(recorded, study="stars")
    with pytest.raises(InputError, match="there is no study 'stars'"):
        judge_again(recorded)


def test_a_folder_of_another_declaration_is_refused_and_left_alone(tmp_path):
    begin(tmp_path, "baird", "0" * 64)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    study = find_study("baird")
    with pytest.raises(InputError, match="study of another declaration"):
        run_study(study, parse(study, ["--quick", "--out", str(tmp_path)]))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def run_baird(out, *arguments):
    study = find_study("baird")
    return run_study(study, parse(study, ["--out", str(out), *arguments]))


def test_a_run_is_held_against_the_record_of_the_same_options(tmp_path, capsys, monkeypatch):
    recorded = tmp_path / "recorded"
    monkeypatch.setattr("studies.shared.study.find_record", lambda results: find_record(results, recorded))
    assert run_baird(tmp_path / "first", "--quick") == 0
    assert "no record of this declaration" in capsys.readouterr().out.splitlines()[-1]
    shutil.copytree(tmp_path / "first", recorded / "small")
    assert run_baird(tmp_path / "again", "--quick") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "compared with the record small: no verdict turned"
    assert run_baird(tmp_path / "other", "--quick", "--seeds", "7", "8") == 0
    assert "no record of this declaration" in capsys.readouterr().out.splitlines()[-1]
    verdicts = json.loads((recorded / "small" / RESULTS).read_text())["verdicts"]
    for word, status in (("refuted", 1), ("open", 0)):
        edit(recorded / "small", verdicts=[{**verdicts[0], "verdict": word}, *verdicts[1:]])
        assert run_baird(tmp_path / word, "--quick") == status
        assert ("turned: outside the complex window" in capsys.readouterr().out.splitlines()[-1]) == bool(status)


def test_the_register_names_each_seed_once():
    blocks = tomllib.loads(REGISTER.read_text(encoding="utf-8"))["block"]
    seeds = [seed for block in blocks for seed in range(block["first"], block["last"] + 1)]
    assert len(seeds) == len(set(seeds))
    assert seeds == sorted(seeds)
