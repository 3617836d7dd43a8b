"""The report, the tables of claims and the ledger are those of the evidence, and the page works in a browser."""

import copy
import html.parser
import json
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from claims import page as page_module
from claims import report, tables
from claims.evidence import Evidence, fingerprint, read_records, write_outcomes
from claims.ledger import RECORD, ROOT, Claim, Ledger, LedgerError, read_ledger
from claims.page import in_markdown, page
from claims.plugin import LEDGER
from claims.verdicts import VERDICTS, Row, compute

WRITTEN = json.loads((ROOT / LEDGER).read_text(encoding="utf-8"))
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
STALE = "run `nox -s claims` and commit what it writes"
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


def kept_outcomes() -> dict[str, Evidence]:
    """The evidence as the committed ledger has it."""
    return {item["name"]: Evidence(**item) for row in WRITTEN["claims"] for item in row["evidence"]}


def test_the_committed_ledger_is_that_of_the_claims_and_the_records():
    ledger = read_ledger()
    tests = {name: item for name, item in kept_outcomes().items() if not name.startswith(RECORD)}
    rows = compute(ledger, tests | read_records(ledger))
    expected = report.as_ledger(ledger, rows.values()) | {"environment": WRITTEN["environment"]}
    assert json.loads(json.dumps(expected)) == WRITTEN, STALE


def test_no_claim_is_unbound_and_every_piece_of_evidence_was_looked_at():
    assert not [name for name, item in kept_outcomes().items() if item.outcome in ("skipped", "broken")]


def test_the_readme_and_the_table_are_those_of_the_ledger():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert tables.with_table(readme, tables.headlines(WRITTEN)) == readme, STALE
    assert (ROOT / tables.WHOLE).read_text(encoding="utf-8") == tables.whole(WRITTEN), STALE


def test_every_headline_leads_to_its_row_and_every_row_to_formula_code_tests_and_runs():
    whole = (ROOT / tables.WHOLE).read_text(encoding="utf-8")
    anchors = re.findall(r'<a id="([^"]+)"></a>', whole)
    assert sorted(anchors) == sorted(claim["id"] for claim in WRITTEN["claims"])
    led = re.findall(rf"\({re.escape(tables.WHOLE)}#([^)]+)\)", tables.headlines(WRITTEN))
    assert led == list(tables.HEADLINES)
    assert set(re.findall(r"\(#([^)]+)\)", whole)) <= set(anchors)
    for path in re.findall(r"\]\(([^)#]+)\)", whole):
        assert (ROOT / "claims" / path).exists(), f"{tables.WHOLE} leads to {path}, which is not there"
    for claim in WRITTEN["claims"]:
        (row,) = [line for line in whole.splitlines() if f'<a id="{claim["id"]}"></a>' in line]
        evidence = (*claim["supports"], *claim["refutes"])
        runs = [item.removeprefix(RECORD) for item in evidence if item.startswith(RECORD)]
        records = {f"experiments/recorded/{run.partition(': ')[0]}" for run in runs}
        tests = {item.partition("::")[0] for item in evidence if not item.startswith(RECORD)}
        tests |= {tables.JUDGED_AGAIN} if runs else set()
        code = {place.partition("::")[0] for place in claim["implemented_by"]}
        formula = {f"theory/{claim['derivation']}.py"} if claim["derivation"] else set()
        assert {path.removeprefix("../") for path in re.findall(r"\]\((\.\./[^)]+)\)", row)} == (
            tests | records | code | formula
        )


def test_headlines_that_hold_and_headlines_that_do_not_stand_beside_each_other():
    claims = {claim["id"]: claim for claim in WRITTEN["claims"]}
    verdicts = [claims[name]["verdict"] for name in tables.HEADLINES]
    assert len(verdicts) == 8
    assert verdicts.count("refuted") >= 3
    assert not [name for name in tables.HEADLINES if tables.is_needed(claims[name])]
    with pytest.raises(LedgerError, match="name 'SIGN-GROWTH', which is no claim"):
        tables.headlines({"claims": [], "counts": dict.fromkeys(VERDICTS, 0)})


def without_images(text: str) -> str:
    """Other versions of the image library shrink figures to other bytes."""
    return re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)


@pytest.fixture(scope="module")
def fresh() -> str:
    """The page, made now."""
    return page(WRITTEN, report.MARKS)


def test_the_committed_page_is_that_of_the_ledger(fresh):
    assert without_images(report.PAGE.read_text(encoding="utf-8")) == without_images(fresh), STALE


def test_an_id_leads_to_its_claim_wherever_it_is_named(fresh):
    assert fresh.count('<code><a href="#SGD-LAW">SGD-LAW</a></code></summary>') == 1
    (bound,) = [claim for claim in WRITTEN["claims"] if claim["id"] == "DISCOUNT-THRESHOLD"]
    assert "DISCOUNT-TENTH" in bound["statement"]
    assert "([DISCOUNT-TENTH](#DISCOUNT-TENTH))" in tables.whole(WRITTEN)
    names = frozenset({"A-B"})
    assert page_module._linked("A-B, A-B-C and <A-B>", names) == (
        '<a href="#A-B">A-B</a>, A-B-C and &lt;<a href="#A-B">A-B</a>&gt;'
    )


class Links(html.parser.HTMLParser):
    """Ids, and where links and images lead."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.leads: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.leads += [found[key] for key in ("href", "src") if key in found]


def test_the_page_loads_nothing_and_every_link_leads_somewhere(fresh):
    links = Links()
    links.feed(fresh)
    assert len(links.ids) == len(set(links.ids))
    inner = {lead[1:] for lead in links.leads if lead.startswith("#")}
    assert inner <= set(links.ids)
    assert all(lead.startswith(("#", "data:image/png;base64,")) for lead in links.leads)


def test_broken_evidence_is_red_in_the_page_and_in_the_table():
    changed = copy.deepcopy(WRITTEN)
    changed["claims"][0]["broken"] = "theory/test_homogeneity.py::test_step failed"
    name = changed["claims"][0]["id"]
    assert f'<details class="claim broken" id="{name}"' in page(changed, report.MARKS)
    (row,) = [line for line in tables.whole(changed).splitlines() if f'<a id="{name}"></a>' in line]
    assert "| **evidence broken** |" in row


def judged(name, verdict, *, broken="", evidence=(), **fields):
    claim = Claim(name, f"{name} holds.", "here", "derived", "exact", "that not", cites=(), **fields)
    return Row(claim, verdict, "", broken, tuple(evidence))


JUDGED = [
    judged("GREEN", "verified"),
    judged("LOST", "open", broken="a record is missing"),
    judged("FALSE", "refuted", evidence=[Evidence("theory/test_a.py::test_one", "passed")]),
    judged("SHADED", "verified under assumptions"),
    judged("FALSE-TOO", "refuted"),
]


def test_the_counts_are_of_all_rows_and_their_broken_ones_stay_in_them():
    counts = report.as_ledger(Ledger({}, {}, (), {}), JUDGED)["counts"]
    assert counts == {"refuted": 2, "open": 1, "verified under assumptions": 1, "verified": 1}


def test_what_is_refuted_is_listed_before_the_topics():
    view, _, rest = tables.whole(report.as_ledger(Ledger({}, {}, (), {}), JUDGED)).partition("\n## ")
    assert re.findall(r"\[([A-Z-]+)\]\(#", view) == ["FALSE", "FALSE-TOO"]
    assert re.findall(r"</a>`([A-Z-]+)`", rest) == ["GREEN", "LOST", "FALSE", "SHADED", "FALSE-TOO"]


def test_the_page_says_on_which_side_evidence_stands():
    test = "theory/test_a.py::test_one"
    for side, says in (("supports", "for it"), ("refutes", "against it")):
        for outcome in ("passed", "failed"):
            claim = {"supports": [], "refutes": []} | {side: [test]}
            written = page_module._evidence(asdict(Evidence(test, outcome)), claim, set())
            assert f"<td>{says}</td><td>{outcome}</td>" in written


def row(name, verdict, *, whose="printed", sharpens="", **more):
    """A claim of a ledger as it is written."""
    return {"id": name, "verdict": verdict, "whose": whose, "sharpens": sharpens, "broken": "", **more}


CLAIMS_OF_ALL = [
    row("A", "verified"),
    row("B", "refuted"),
    row("C", "refuted", whose="this project", sharpens="A"),
    row("D", "open", whose="this project"),
    row("E", "refuted", whose="circulated"),
    row("F", "open", whose="this project", sharpens="A"),
]


def test_counts_are_by_whose_sentence_and_a_needed_hypothesis_refutes_nobody():
    assert tables.counted(CLAIMS_OF_ALL) == [
        "printed: 2 claims, 1 refuted, 0 open, 0 verified under assumptions, 1 verified",
        "this project: 3 claims, 0 refuted, 2 open, 0 verified under assumptions, 0 verified, "
        "1 without a hypothesis that a theorem needs",
        "circulated: 1 claims, 1 refuted, 0 open, 0 verified under assumptions, 0 verified",
    ]
    assert not tables.is_needed(CLAIMS_OF_ALL[2] | {"broken": "a test failed"})
    assert sum(counts.total() for counts in tables.by_whose(WRITTEN["claims"]).values()) == len(WRITTEN["claims"])


def test_every_changed_verdict_has_its_line_and_its_reason():
    now = [
        row("A", "open", reason="a test did\nnot run", changed=""),
        row("B", "verified", reason="", changed="restated"),
        row("C", "refuted", whose="this project", sharpens="A"),
        row("D", "open", whose="this project", reason="another reason", changed=""),
        row("E", "verified", reason="", changed=""),
        row("G", "open", reason="nothing ran", changed=""),
    ]
    assert report.changes(CLAIMS_OF_ALL, now) == [
        "A: verified -> open: a test did not run",
        "B: refuted -> verified: restated",
        "E: refuted -> verified: its evidence passes",
        "F: open -> not there: dropped",
        "G: not there -> open: nothing ran",
    ]
    assert report.changes(now, now) == []


def test_the_last_committed_ledger_is_the_one_of_the_clone(tmp_path):
    assert {claim["id"] for claim in report.committed_claims()} >= {"SGD-LAW", "HOM-OUTPUT"}
    assert report.committed_claims(tmp_path) == []


def test_what_a_theorem_needs_hangs_under_it(fresh):
    needed = [claim for claim in WRITTEN["claims"] if tables.is_needed(claim)]
    assert needed
    refuted, _, topics = tables.whole(WRITTEN).partition("\n## ")
    for claim in needed:
        assert f"[{claim['id']}]" not in refuted
        rows = topics[: topics.index(f'<a id="{claim["id"]}"></a>')].splitlines()
        above = next(line for line in reversed(rows[:-1]) if "↳" not in line)
        assert f'<a id="{claim["sharpens"]}"></a>' in above
        places = [fresh.index(f'" id="{name}" data-verdict') for name in (claim["sharpens"], claim["id"])]
        between = fresh[slice(*places)]
        others = re.findall(r'<details class="claim [a-z]+" id="([^"]+)"', between)
        assert all(other["sharpens"] == claim["sharpens"] for other in WRITTEN["claims"] if other["id"] in others)


HOSTILE = (
    "<script>document.title='taken'</script>",
    '"><img src=x onerror=document.title="taken">',
    "' onmouseover='x",
    "&lt;b&gt; & <b>",
    "[a](javascript:alert) ![b](x) `c` *d* _e_ |f| $g$ ~~h~~ <i>",
    "</table></details></main>",
)


def hostile() -> dict:
    """The ledger with a claim, its evidence and everything about it named to be taken for markup."""
    changed = copy.deepcopy(WRITTEN)
    claim = copy.deepcopy(next(row for row in WRITTEN["claims"] if row["derivation"] and row["evidence"]))
    words = " ".join(HOSTILE)
    claim |= {name: f"{name} {words}" for name in ("id", "statement", "source", "falsifier", "reason")}
    claim |= {
        "uses": [],
        "assumptions": [],
        "evidence": [item | {"name": words, "detail": words} for item in claim["evidence"]],
    }
    changed["claims"].insert(0, claim)
    changed["deviations"].append(dict.fromkeys(("topic", "paper", "code", "here"), words))
    changed["environment"]["torch"] = words
    return changed


class Words(html.parser.HTMLParser):
    """The tags of a page, and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.words = ""

    def handle_starttag(self, tag, attrs):
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.tags[tag] = self.tags.get(tag, 0) + 1

    def handle_data(self, data):
        self.words += data


def parsed(text: str) -> Words:
    found = Words()
    found.feed(text)
    return found


def test_names_that_look_like_markup_stay_words(fresh):
    found, plain = parsed(page(hostile(), report.MARKS)), parsed(fresh)
    for tag in ("script", "img", "b", "i", "main"):
        assert found.tags.get(tag, 0) == plain.tags.get(tag, 0)
    assert all(words in found.words for words in HOSTILE)


def test_names_that_look_like_markup_stay_words_in_markdown():
    written = in_markdown(" ".join(HOSTILE))
    assert written in tables.whole(hostile())
    for mark in ("<", "|", "`", "*", "_", "$", "~", "](", "&lt;"):
        assert not re.search(rf"(?<!\\){re.escape(mark)}", written), mark
    assert written.replace("\\", "") == " ".join(HOSTILE)


@in_a_browser
def test_names_that_look_like_markup_do_nothing_in_a_browser(tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page(hostile(), report.MARKS), encoding="utf-8")
    dumped = browse(file, "--dump-dom").stdout
    assert "<title>SEEM-verify: claims and verdicts</title>" in dumped
    assert re.search(r"document.title='taken'", dumped), "the words are there"


def test_a_readme_without_a_place_is_refused():
    with pytest.raises(LedgerError, match="no place for the claims"):
        tables.with_table("# Title\n", "table")


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Somewhere else to write to."""
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    (tmp_path / "claims").mkdir()
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    monkeypatch.setattr(report, "TABLE", tmp_path / "claims" / "README.md")
    monkeypatch.setattr(report, "PAGE", tmp_path / "report.html")
    monkeypatch.setattr(report, "OUT", tmp_path)
    return tmp_path


def test_fresh_outcomes_are_read_and_the_counts_printed(outputs, capsys, monkeypatch):
    tests = {name: item for name, item in kept_outcomes().items() if not name.startswith(RECORD)}
    write_outcomes(outputs / "outcomes.json", tests, fingerprint())
    monkeypatch.setattr(report, "run_tests", lambda _: pytest.fail("tests ran though outcomes are fresh"))
    monkeypatch.setattr(report, "page", lambda *_: "")
    assert report.main(report.ReportOptions(outcomes=outputs / "outcomes.json")) == 0
    counts = ", ".join(f"{WRITTEN['counts'][verdict]} {verdict}" for verdict in VERDICTS)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{len(WRITTEN['claims'])} claims: {counts}\n")
    assert all(line in printed for line in tables.counted(WRITTEN["claims"]))
    assert "verdicts changed since the last committed ledger" in printed
    assert json.loads((outputs / LEDGER).read_text(encoding="utf-8"))["claims"] == WRITTEN["claims"]
    assert (outputs / tables.WHOLE).read_text(encoding="utf-8") == tables.whole(WRITTEN)


@pytest.mark.parametrize(("rows", "status"), [(JUDGED, 1), ([each for each in JUDGED if not each.broken], 0)])
def test_one_broken_row_of_several_gives_status_one_and_refuted_ones_none(outputs, capsys, monkeypatch, rows, status):
    monkeypatch.setattr(report, "read_ledger", lambda: Ledger({}, {}, (), {}))
    for name, told in (
        ("check_bindings", None),
        ("gather", {}),
        ("page", ""),
        ("headlines", ""),
        ("compute", {r.claim.id: r for r in rows}),
    ):
        monkeypatch.setattr(report, name, lambda *_, told=told: told)
    assert report.main(report.ReportOptions()) == status
    printed = capsys.readouterr().out
    assert ("BROKEN   LOST" in printed) == bool(status)
    assert "REFUTED  FALSE: FALSE holds." in printed


def test_a_failed_test_is_printed_as_broken_and_gives_status_one(outputs, capsys, monkeypatch):
    tests = {name: item for name, item in kept_outcomes().items() if not name.startswith(RECORD)}
    broken = next(iter(tests.values()))
    broken.outcome, broken.detail = "failed", "assert 1 == 2"
    write_outcomes(outputs / "outcomes.json", tests, fingerprint())
    monkeypatch.setattr(report, "page", lambda *_: "")
    assert report.main(report.ReportOptions(outcomes=outputs / "outcomes.json")) == 1
    printed = capsys.readouterr().out
    assert "BROKEN" in printed
    assert f"{broken.name} failed: assert 1 == 2" in printed


def browse(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    command += [f"--user-data-dir={file.parent / 'profile'}", "--virtual-time-budget=2000", *options, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


@in_a_browser
@pytest.mark.parametrize(("width", "height"), [(1280, 1600), (400, 1600)], ids=["desktop", "phone"])
def test_the_page_draws_without_an_error(tmp_path, width, height):
    file = tmp_path / "report.html"
    shutil.copy(report.PAGE, file)
    screenshot = tmp_path / "screenshot.png"
    done = browse(file, f"--window-size={width},{height}", f"--screenshot={screenshot}")
    assert "CONSOLE" not in done.stderr
    assert screenshot.stat().st_size > 20_000


@in_a_browser
@pytest.mark.parametrize("width", [1280, 400], ids=["desktop", "phone"])
def test_nothing_of_the_page_is_wider_than_the_screen(tmp_path, width):
    # In a frame, because Chromium's windows are 500 pixels wide at least.
    shutil.copy(report.PAGE, tmp_path / "report.html")
    probe = "const page = document.querySelector('iframe').contentDocument.documentElement;"
    probe += "document.title = page.clientWidth + ' ' + page.scrollWidth;"
    frame = f'<iframe src="report.html" style="width: {width}px; height: 900px; border: 0"></iframe>'
    file = tmp_path / "frame.html"
    file.write_text(f"<title></title>{frame}<script>onload = () => {{ {probe} }}</script>", encoding="utf-8")
    dumped = browse(file, "--window-size=1400,1000", "--allow-file-access-from-files", "--dump-dom").stdout
    assert re.search(r"<title>(.*?)</title>", dumped)[1] == f"{width} {width}"


@in_a_browser
def test_the_filters_show_what_they_say(tmp_path):
    probe = """
        const shown = () => claims.filter((claim) => !claim.hidden).map((claim) => claim.id);
        const found = {all: shown().length};
        const boxes = {};
        for (const box of document.querySelectorAll("[name=verdict]")) boxes[box.value] = box;
        boxes["refuted"].click();
        found.without_refuted = shown().length;
        for (const name of ["open", "verified", "verified under assumptions"]) boxes[name].click();
        found.none = shown().length;
        boxes["refuted"].click();
        found.refuted = shown().length;
        document.getElementById("text").value = "BAIRD";
        filter.dispatchEvent(new Event("input"));
        found.words = shown();
        found.said = document.getElementById("shown").textContent;
        document.title = JSON.stringify(found);
    """
    file = tmp_path / "report.html"
    text = report.PAGE.read_text(encoding="utf-8")
    file.write_text(text.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
    found = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", browse(file, "--dump-dom").stdout)[1]))
    total, refuted = len(WRITTEN["claims"]), WRITTEN["counts"]["refuted"]
    expected = [
        row["id"]
        for row in WRITTEN["claims"]
        if row["verdict"] == "refuted"
        and "baird" in " ".join((row["id"], row["statement"], row["source"], row["reason"])).lower()
    ]
    assert (found["all"], found["without_refuted"], found["none"], found["refuted"]) == (
        total,
        total - refuted,
        0,
        refuted,
    )
    assert sorted(found["words"]) == sorted(expected)
    assert found["said"] == f"{len(expected)} of {total} shown"
