"""Record a finished study, and seal all recorded files by their hashes.

    python experiments/record.py runs/surge

copies its results, kept runs and figures to experiments/recorded/surge/; without a folder it only seals. With
--judge-anew it writes what the present judges conclude from the recorded runs, which stay as they are, and prints what
changed. The claims of the ledger that rest on a recorded file turn red when it no longer has its hash.
"""

import tyro
from studies.shared.recording import RecordingOptions, record

from seem.errors import run_command

if __name__ == "__main__":
    run_command(lambda: record(tyro.cli(RecordingOptions)))
