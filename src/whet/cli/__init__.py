"""The verbs: parse, call a stage, print, exit code. No logic. stdout is data, stderr is talk."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of one command: 0 good, 1 the answer is no, 2 the user must change something, 3 our fault, 130 stopped."""
    from whet.cli.parser import build_parser
    from whet.errors import Interrupted, WhetError

    args = build_parser().parse_args(argv)
    try:
        code: int = args.verb(args)
        return code
    except WhetError as error:
        sign = "stopped" if isinstance(error, Interrupted) else "error"
        for problem in error.problems:
            print(f"whet: {sign}: {problem}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("whet: stopped. Give the same command again to go on.", file=sys.stderr)
        return Interrupted.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
