"""Other libraries beside this project's own code: how they are asked, and the scripts that answer.

Experiments and benchmarks import this package in a clone; it is no part of what is installed, since the interpreters
and the scripts are the clone's.
"""

from pathlib import Path

SCRIPTS = Path(__file__).parent
"""The folder of the scripts that run in other interpreters."""
