"""The committed table of faults that were tried."""

import re
from pathlib import Path

from reference.tests.fault_plan import CALLS, ERRORS, SETTINGS, SIGNALS

TABLE = Path(__file__).with_name("faults.md")


def test_the_committed_table_has_a_thousand_tries_of_every_kind_and_no_loss():
    text = TABLE.read_text(encoding="utf-8")
    tries, survived = re.search(r"\| \*\*all\*\* \| \| \*\*(\d+)\*\* \| \*\*(\d+)\*\* \|", text).groups()
    assert tries == survived
    assert int(tries) >= 1000
    rows = re.findall(r"^\| ([^|*]+(?:\*[^|]+)?) \| ([^|]+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert sum(int(row[2]) for row in rows) == int(tries)
    assert all(row[2] == row[3] for row in rows)
    kinds = {row[0] for row in rows}
    assert {f"{error} at a {call}" for error in ERRORS for call in CALLS} <= kinds
    assert {f"{name} at a any" for name in SIGNALS} <= kinds
    assert {f"SIGKILL at a any on *{stage}*" for stage in ("runs.jsonl", "results.json", ".png")} <= kinds
    assert {row[1] for row in rows} == {setting.name for setting in SETTINGS}
    commands = re.search(r"^Commands: (.*)\.$", text, re.MULTILINE)[1].split(", ")
    assert len([name for name in commands if name.startswith("verify_")]) >= 12
