"""`python -m whet`: the same as `whet`."""

from __future__ import annotations

import sys

from whet.cli import main

if __name__ == "__main__":
    sys.exit(main())
