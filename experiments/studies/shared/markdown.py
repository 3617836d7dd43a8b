"""Words of anybody's inside Markdown that stay words."""

import re

MARKS = re.compile(r"[\\`*_|<$~]|&(?=[#\w])|\](?=[(\[:])")
"""What Markdown could take for a mark inside a line: emphasis, code, cells, tags, entities, formulas, links."""


def in_markdown(text: str) -> str:
    """A text on one line whose marks of Markdown are escaped: ``X*`` is no emphasis, ``|Q|`` ends no cell.

    Args:
        text: Plain words.
    """
    return MARKS.sub(lambda found: "\\" + found[0], " ".join(text.split()))
