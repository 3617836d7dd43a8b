"""The declared sample of recorded runs that was read in float64: what stands there, and that it comes again."""

import tomllib

import pytest
from studies.shared.float64_readings import FOLDER, READINGS, SAMPLE, read_again
from studies.shared.recorded import damage

from seem.errors import InputError
from seem.records import digest, parse_json


def test_the_readings_belong_to_the_declared_sample():
    content = (FOLDER / SAMPLE).read_bytes()
    sample, told = tomllib.loads(content.decode()), parse_json((FOLDER / READINGS).read_text())
    assert damage(FOLDER) == ""
    assert told["sample_sha256"] == digest(content)
    assert [{name: run[name] for name in ("record", "arm", "seed")} for run in told["runs"]] == sample["run"]
    assert told["readings"] == sum(run["readings"] for run in told["runs"])
    assert told["largest_change"] == max(run["largest_change"] for run in told["runs"])
    assert told["sign_changes"] == sum(run["sign_changes"] for run in told["runs"])


def test_a_run_read_again_differs_by_the_rounding_of_float32_and_by_no_sign():
    declared = {"record": "normalisation", "arm": "none", "seed": 10}
    again = read_again(declared, until=8)
    assert again["readings"] >= 8  # both critics, at steps 0, 1, 2 and 4 at least
    assert again["sign_changes"] == 0
    assert 0 < again["median_change"] < 1e-3  # not the same blocks, and not others
    assert again["from_record"] < 1e-3


def test_a_run_that_no_record_has_is_refused():
    with pytest.raises(InputError, match="names no run of its record"):
        read_again({"record": "normalisation", "arm": "none", "seed": 9_999}, until=8)
