"""The one exception that bad input raises, and how a command line ends on it."""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Input that cannot be used; the message is one sentence that names the remedy."""


def run_command(main: Callable[[], int]) -> None:
    """Run a command's ``main`` and exit with its status, or with 2 and one sentence on bad input.

    Args:
        main: Takes nothing and returns the exit status.

    Raises:
        SystemExit: Always; status 2 on `InputError`, 130 when interrupted, else what ``main`` returns.
    """
    try:
        status = main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("interrupted: the same command resumes from the last checkpoint", file=sys.stderr)
        status = 130
    sys.exit(status)
