"""Map the kernel of wide two-layer ReLU networks to a reference point, without and with normalisation.

python experiments/verify_ntk_map.py --quick
"""

from studies.kernel_map.study import STUDY
from studies.shared.study import main

if __name__ == "__main__":
    main(STUDY)
