"""`whet compare`: is a run better than an earlier one?"""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from whet import stages
from whet.cli.progress import console
from whet.run import Run
from whet.views.comparison import comparison_table


def compare(args: Namespace) -> int:
    """Says what is better and what is worse. Exit code 1: it got worse, by more than chance."""
    found = stages.compare(Run.open(args.source), Run.open(args.before)).to_json()
    if args.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        console(sys.stdout).print(comparison_table(found))
    return 1 if found["verdict"] == "worse" else 0
