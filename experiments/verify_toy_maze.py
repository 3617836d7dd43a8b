"""Train the toy maze to its crash: the printed run, many seeds and discounts, and a LayerNorm control.

python experiments/verify_toy_maze.py --quick
"""

from studies.maze.study import STUDY
from studies.shared.study import main

if __name__ == "__main__":
    main(STUDY)
