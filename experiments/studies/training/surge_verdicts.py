"""What the readings before a divergence say of SEEM: the first to rise, an alarm, and the best of the signals."""

from collections.abc import Sequence

import numpy as np
from studies.shared.runs import RISEN, ZERO, KeptRun, who
from studies.shared.verdicts import SIGNIFICANT, Verdict, in_words, share, side
from studies.training.surge_events import BASELINES, HORIZON, THEORY, alarm, auc_differences, auc_table, rise

from seem.statistics import bootstrap_interval


def rises_first(plain: Sequence[KeptRun]) -> Verdict:
    """The sentence that SEEM rises before |Q| does, in every critic that diverges.

    Args:
        plain: Kept runs of the arms that should diverge.
    """
    name = "normalised SEEM rises above a tenth before |Q| does, in every critic that diverges"
    rises = [(run, found) for run in plain if (found := rise(run)) is not None]
    unread = sum(run["divergence_step"] is not None for run in plain) - len(rises)
    apart = f"; {unread} diverge before their first reading and are not judged" if unread else ""
    if not rises:
        return Verdict(name, "open", f"no critic diverged: train for more --steps{apart}")
    late = [(run, found) for run, found in rises if found.seem is None or found.seem > found.q]
    leads = np.array([found.q - found.seem for _, found in rises if found.seem is not None], dtype=np.float64)
    evidence = f"{len(rises) - len(late)} of {len(rises)} diverging critics"
    if len(leads) > 1:
        lead = bootstrap_interval(leads, np.random.default_rng(0), statistic=np.median)
        evidence += f"; median lead {lead.estimate:.0f} steps [{lead.low:.0f}, {lead.high:.0f}]"
    evidence += f"; in {share(len(rises) - len(late), len(rises))} SEEM is first{apart}"
    for run, found in late[:3]:
        seem = "does not stay there" if found.seem is None else f"stays there from step {found.seem} on"
        evidence += f"; not in {who(run)}: SEEM {seem}, Q at {found.q}, divergence at {found.divergence}"
    return Verdict(name, "refuted" if late else "verified", evidence)


def judge_signals(runs: Sequence[KeptRun]) -> list[Verdict]:
    """SEEM as an alarm, and against the other signals, paired by run.

    Args:
        runs: Kept runs of all arms.
    """
    best = f"SEEM ranks what diverges within {HORIZON} steps better than every simpler signal"
    gap = f"SEEM ranks what diverges within {HORIZON} steps better than the spectral gap"
    return [
        _alarm(runs),
        _better(best, runs, BASELINES),
        _better(gap, runs, ["spectral gap"]),
        _condition(runs),
    ]


def _alarm(runs: Sequence[KeptRun]) -> Verdict:
    name = f"SEEM above zero tells of a divergence within {HORIZON} steps more than an alarm that is always on"
    found, higher = (alarm(runs, level) if len(runs) > 1 else None for level in (ZERO, RISEN))
    if found is None:
        return Verdict(name, "open", "no alarm, or no divergence, in these runs")
    evidence = f"precision {found.precision:.2f} against {found.always:.2f} of one that is always on, difference "
    evidence += f"{in_words(found.gain, '+.3f')}, paired by run; recall {found.recall:.2f}; a divergence at any later "
    evidence += f"step follows {found.later:.2f} of the alarms and {found.ever:.2f} of all readings"
    if higher is not None:
        evidence += f"; normalised SEEM above a tenth has precision {higher.precision:.2f}, recall {higher.recall:.2f}"
    return Verdict(name, side(found.gain), evidence)


def _better(name: str, runs: Sequence[KeptRun], rivals: Sequence[str]) -> Verdict:
    """Verified where the interval of every difference is above zero, refuted where one of them is below.

    That all are above needs no correction for their number; that one of several is below has each judged at its share
    of the level.
    """
    table = auc_table(runs) if len(runs) > 1 else {}
    if table.get("SEEM") is None:
        return Verdict(name, "open", "all readings have the same answer: add controls, or train longer")
    above = auc_differences(runs, "SEEM", rivals, 1 - SIGNIFICANT)
    below = auc_differences(runs, "SEEM", rivals, 1 - SIGNIFICANT / len(rivals))
    narrowest = min(rivals, key=lambda rival: above[rival].estimate)
    theory = max(THEORY, key=lambda signal: table[signal].estimate)
    evidence = f"AUC of SEEM {in_words(table['SEEM'])}; paired by run SEEM less {narrowest} "
    evidence += f"{in_words(above[narrowest], '+.3f')}"
    if len(rivals) > 1:
        evidence += f", the narrowest of {len(rivals)}; best signal of the theory {theory} {in_words(table[theory])}"
    if any(found.high < 0 for found in below.values()):
        return Verdict(name, "refuted", evidence)
    return Verdict(name, "verified" if all(found.low > 0 for found in above.values()) else "open", evidence)


def _condition(runs: Sequence[KeptRun]) -> Verdict:
    """Open by what is stored: min|λ| is at rounding, and no record has the condition number of the eigenvectors."""
    name = f"the condition number of A's eigenvectors tells what diverges within {HORIZON} steps"
    found = auc_table(runs).get("condition number") if len(runs) > 1 else None
    evidence = "it was not recorded"
    if found is not None:
        evidence += f"; what was, min|λ|/max|λ|, has an AUC of {in_words(found)}, and min|λ| is of the size of rounding"
    return Verdict(name, "open", evidence)
