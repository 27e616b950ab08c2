"""How the studies here are run: what a person can mend is one sentence, as graphops itself says it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from passes import UserError


def run(main: Callable[[], None]) -> None:
    """Run ``main`` and end: with exit code 2 after a sentence on what is wrong, 130 after Ctrl-C."""
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except FileNotFoundError as error:
        print(f"There is no file {error.filename}; check the path.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
