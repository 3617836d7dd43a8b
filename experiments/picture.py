"""Draw the README's picture: forecasts of crashes that came, and of one that did not, from recorded runs alone.

python experiments/picture.py
"""

import tyro
from studies.growth.picture import PictureOptions, write_picture

from seem.errors import run_command

if __name__ == "__main__":
    run_command(lambda: write_picture(tyro.cli(PictureOptions)))
