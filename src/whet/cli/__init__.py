"""The verbs: parse, call a stage, print, exit code. No logic. stdout is data, stderr is talk."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence

# What a disk or its permissions may refuse, and only the user can mend.
USERS_DISK = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG, errno.EFBIG, errno.ENOTDIR}
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of one command: 0 good, 1 the answer is no, 2 the user must change something, 3 our fault, 130 stopped."""
    from whet.cli.parser import build_parser
    from whet.errors import Interrupted, UserError, WhetError

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
    except OSError as error:
        if error.errno not in USERS_DISK:
            return _our_fault()
        place = error.filename or "the disk"
        print(f"whet: error: {place}: {error.strerror}. Make room, or name another place.", file=sys.stderr)
        return UserError.exit_code
    except Exception:
        return _our_fault()


def _our_fault() -> int:
    """Shows the whole traceback: a fault of whet must not be lost."""
    import traceback

    traceback.print_exc()
    print("whet: this is a fault of whet, not yours. What it says above is what a report of it needs.", file=sys.stderr)
    return 3
