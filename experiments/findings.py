"""Write FINDINGS.md: what the paper says, what was measured, and the verdict, from the recorded runs alone.

python experiments/findings.py
"""

import tyro
from studies.shared.findings import FindingsOptions, write_findings

from seem.errors import run_command

if __name__ == "__main__":
    run_command(lambda: write_findings(tyro.cli(FindingsOptions)))
