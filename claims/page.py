"""The report: one self-contained HTML page with every claim, its evidence, the figures and the derivations."""

import base64
import html
import io
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from claims.evidence import EXPERIMENTS
from claims.ledger import RECORD
from claims.verdicts import VERDICTS

sys.path.insert(0, str(EXPERIMENTS))

from studies.shared.findings import Finding, read_findings
from studies.shared.markdown import in_markdown as in_markdown
from studies.shared.record import RECORDED
from studies.shared.recorded import recorded_versions

from theory.render import ABOUT, parts

STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("report.css", "report.js"))
WIDTH, COLOURS = 1100, 128
"""Figures are shrunk to so many pixels across and colours, so that the page stays small."""


def page(ledger: dict[str, Any], marks: dict[str, str]) -> str:
    """The report as HTML.

    Args:
        ledger: What ledger.json holds.
        marks: The mark of a verdict, by verdict.
    """
    findings = read_findings()
    sections = [
        *_head(ledger),
        *_table(ledger["claims"], {finding.folder for finding in findings}, marks),
        *_assumptions(ledger),
        *_deviations(ledger["deviations"]),
        *_figures(findings),
        *_derivations(),
        *_environment(ledger),
    ]
    script = SCRIPT.read_text(encoding="utf-8")
    return "\n".join([*sections, f"<script>\n{script}</script>", "</main></body></html>\n"])


def _escape(text: str) -> str:
    return html.escape(text, quote=True)


def _link(anchor: str, text: str) -> str:
    return f'<a href="#{_escape(anchor)}">{_escape(text)}</a>'


def _linked(text: str, names: frozenset[str]) -> str:
    """A text with a link from each id of a claim that it names."""
    words = re.split(r"(\b[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)+\b)", text)
    return "".join(_link(word, word) if word in names else _escape(word) for word in words)


def _head(ledger: dict[str, Any]) -> Iterator[str]:
    style = STYLE.read_text(encoding="utf-8")
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>SEEM-verify: claims and verdicts</title>'
    yield f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>\n{style}</style></head><body>'
    yield "<main><h1>SEEM-verify: claims and verdicts</h1>"
    yield (
        "<p>What the theory of Q-value divergence in offline reinforcement learning (Yue et al., NeurIPS 2023, "
        "arXiv 2310.04411) claims, what was checked, how, and what came out. Every verdict is computed from outcomes "
        "of tests and from recorded runs; none is typed.</p>"
    )
    counts = ", ".join(f"<b>{ledger['counts'][verdict]}</b> {verdict}" for verdict in VERDICTS)
    yield f'<p class="counts">{len(ledger["claims"])} claims: {counts}.</p>'
    links = {
        "claims": "Claims",
        "assumptions": "Assumptions",
        "deviations": "Deviations",
        "figures": "Figures",
        "derivations": "Derivations",
        "environment": "Environment",
    }
    yield "<nav>" + " ".join(f'<a href="#{anchor}">{title}</a>' for anchor, title in links.items()) + "</nav>"


def _table(claims: list[dict[str, Any]], folders: set[str], marks: dict[str, str]) -> Iterator[str]:
    yield '<h2 id="claims">Claims</h2><form id="filter" role="search">'
    yield '<input type="search" id="text" placeholder="Search statement, source, id" aria-label="Search claims">'
    for verdict in VERDICTS:
        yield f'<label><input type="checkbox" name="verdict" value="{verdict}" checked> {verdict}</label>'
    for name in ("grade", "kind"):
        values = dict.fromkeys(claim[name] for claim in claims)
        options = "".join(f'<option value="{_escape(value)}">{_escape(value)}</option>' for value in values)
        yield f'<label>{name} <select name="{name}"><option value="">any</option>{options}</select></label>'
    yield '<output id="shown" aria-live="polite"></output></form>'
    needed, names = [claim for claim in claims if is_needed(claim)], frozenset(claim["id"] for claim in claims)
    rest = [claim for claim in claims if claim not in needed]
    order = sorted(rest, key=lambda claim: (not claim["broken"], VERDICTS.index(claim["verdict"])))
    for claim in order:
        yield _claim(claim, folders, marks, names)
        # What a theorem needs hangs under the theorem.
        yield from (_claim(own, folders, marks, names) for own in needed if own["sharpens"] == claim["id"])


def is_needed(claim: dict[str, Any]) -> bool:
    """Whether a claim's counterexample shows that a theorem needs a hypothesis, and refutes nobody."""
    return bool(claim["sharpens"]) and claim["verdict"] == "refuted" and not claim["broken"]


def _claim(claim: dict[str, Any], folders: set[str], marks: dict[str, str], names: frozenset[str]) -> str:
    state = "broken" if claim["broken"] else claim["verdict"].partition(" ")[0]
    search = " ".join((claim["id"], claim["statement"], claim["source"], claim["reason"])).lower()
    shown = "evidence broken" if claim["broken"] else claim["verdict"]
    lines = [
        f'<details class="claim {state}" id="{_escape(claim["id"])}" data-verdict="{_escape(claim["verdict"])}" '
        f'data-grade="{_escape(claim["grade"])}" data-kind="{_escape(claim["kind"])}" '
        f'data-search="{_escape(search)}">',
        f'<summary><span class="verdict">{marks[claim["verdict"]]} {shown}</span>'
        f'<span class="statement">{_escape(claim["statement"])}</span>'
        f"<code>{_link(claim['id'], claim['id'])}</code></summary><dl>",
    ]
    for term, text in _facts(claim, names):
        lines.append(f"<dt>{term}</dt><dd>{text}</dd>")
    lines.append("</dl><table><thead><tr><th>evidence</th><th>says</th><th>outcome</th><th>detail</th></tr></thead>")
    lines += [_evidence(item, claim, folders) for item in claim["evidence"]]
    tested = any(not item["name"].startswith(RECORD) for item in claim["evidence"])
    again = "Run its tests" if tested else "Judge its records again"
    command = f"pytest --claim {_escape(claim['id'])}" if tested else "pytest experiments/tests/test_recorded.py"
    lines.append(f"</table><p>{again}: <code>{command}</code></p></details>")
    return "\n".join(lines)


def _facts(claim: dict[str, Any], names: frozenset[str]) -> Iterator[tuple[str, str]]:
    yield "because", _linked(claim["reason"], names) or "all its evidence passes"
    yield "source", f"{_escape(claim['source'])} ({claim['grade']}); {claim['kind']}"
    yield "whose sentence", _escape(claim["whose"])
    if claim["sharpens"]:
        yield "shows that a hypothesis is needed for", _link(claim["sharpens"], claim["sharpens"])
    if claim["margin"]:
        yield "narrowest margin", _escape(claim["margin"])
    if claim["implemented_by"]:
        yield "implemented by", ", ".join(f"<code>{_escape(place)}</code>" for place in claim["implemented_by"])
    if claim["changed"]:
        yield "last changed", _linked(claim["changed"], names)
    yield "would be refuted by", _linked(claim["falsifier"], names)
    if claim["assumptions"]:
        yield "assumes", ", ".join(_link(f"assumes-{name}", name) for name in claim["assumptions"])
    if claim["uses"]:
        yield "uses", ", ".join(_link(name, name) for name in claim["uses"])
    if claim["derivation"]:
        yield "derived in", _link(f"derives-{claim['derivation']}", f"theory/{claim['derivation']}.py")


def _evidence(item: dict[str, Any], claim: dict[str, Any], folders: set[str]) -> str:
    says = "for it" if item["name"] in claim["supports"] else "against it"
    name = f"<code>{_escape(item['name'])}</code>"
    if item["name"].startswith(RECORD):
        folder, _, text = item["name"].removeprefix(RECORD).partition(": ")
        name = f"recorded run <i>{_escape(folder)}</i>: {_escape(text)}"
        if folder in folders:
            name = f'<a href="#study-{_escape(folder)}">{name}</a>'
    detail = [item["detail"]] if item["detail"] else []
    detail += [f"{label}: at most {share:.2g}" for label, share in item["margins"].items()]
    detail += [f"{item['cases']} cases"] if item["cases"] > 1 else []
    cells = "".join(f"<td>{cell}</td>" for cell in (name, says, item["outcome"], _escape("; ".join(detail))))
    return f'<tr class="{item["outcome"]}">{cells}</tr>'


def _assumptions(ledger: dict[str, Any]) -> Iterator[str]:
    yield '<h2 id="assumptions">Assumptions</h2><dl class="register">'
    for assumption in ledger["assumptions"]:
        users = [claim["id"] for claim in ledger["claims"] if assumption["id"] in claim["assumptions"]]
        links = " ".join(_link(user, user) for user in users)
        yield f'<dt id="assumes-{_escape(assumption["id"])}">{_escape(assumption["id"])}</dt>'
        yield f'<dd>{_escape(assumption["statement"])}<br><span class="faint">{links}</span></dd>'
    yield "</dl>"


def _deviations(deviations: Iterable[dict[str, str]]) -> Iterator[str]:
    yield '<h2 id="deviations">Deviations</h2><div class="wide"><table><thead><tr>'
    yield "<th>in</th><th>paper</th><th>authors' code</th><th>this implementation</th></tr></thead>"
    for row in deviations:
        cells = "".join(f"<td>{_escape(row[key])}</td>" for key in ("topic", "paper", "code", "here"))
        yield f"<tr>{cells}</tr>"
    yield "</table></div>"


def _figures(findings: list[Finding]) -> Iterator[str]:
    yield '<h2 id="figures">Figures, and the runs behind them</h2>'
    for finding in findings:
        yield f'<h3 id="study-{_escape(finding.folder)}">{_escape(finding.title)}</h3>'
        yield f"<p>{_escape(finding.says.strip())}</p>"
        yield f"<p><code>{_escape(finding.command)}</code> ({_escape(finding.took)}; records in "
        made_with = ", ".join(f"{name} {version}" for name, version in recorded_versions(finding.folder).items())
        yield f"<code>experiments/recorded/{_escape(finding.folder)}/</code>; made with {_escape(made_with)})</p>"
        yield f"<p>{_escape(finding.provenance)}</p>"
        for name in finding.figures:
            source = shrink(RECORDED / finding.folder / name)
            alternative = _escape(f"{finding.title}: {name}")
            yield f'<img loading="lazy" alt="{alternative}" src="data:image/png;base64,{source}">'


@cache
def shrink(path: Path) -> str:
    """A figure, smaller, in base64."""
    with Image.open(path) as figure:
        image = figure.convert("RGB")
    image.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def _derivations() -> Iterator[str]:
    contents, body = parts()
    yield f'<h2 id="derivations">Derivations</h2><p>{ABOUT}</p><details><summary>Contents</summary><ul>'
    yield from contents
    yield '</ul></details><div class="derivations">'
    yield from body
    yield "</div>"


def _environment(ledger: dict[str, Any]) -> Iterator[str]:
    yield '<h2 id="environment">Environment</h2><p>The tests behind the verdicts ran with '
    yield ", ".join(f"{name} {_escape(version)}" for name, version in ledger["environment"].items())
    yield ". A recorded run names its own versions in its folder; its files are sealed by "
    yield "<code>experiments/recorded/SHA256SUMS</code>, and its verdicts are computed anew from its numbers.</p>"
    yield "<h3>Cite</h3><p><code>python -m seem cite ID</code> prints what a claim rests on.</p>"
    yield f"<pre>{_escape(chr(10).join(ledger['references'].values()))}</pre>"
