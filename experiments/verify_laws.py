"""Train small homogeneous critics to blow-up under many training rules and compare with the growth laws.

python experiments/verify_laws.py --quick
"""

from studies.laws.study import STUDY
from studies.shared.study import main

if __name__ == "__main__":
    main(STUDY)
