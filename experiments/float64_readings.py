"""Read a declared sample of recorded float32 runs in float64 as well, and say what float32 blocks had changed.

    python experiments/float64_readings.py

The sample stands in experiments/recorded/float64-readings/sample.toml; the result is written beside it.
"""

import tyro
from studies.shared.float64_readings import Float64Options, read_sample

from seem.errors import run_command

if __name__ == "__main__":
    run_command(lambda: read_sample(tyro.cli(Float64Options)))
