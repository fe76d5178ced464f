"""Starts a synth run in a fresh process for each line that it reads, quickly: everything is imported already.

    python fork_synth.py RECIPE FOLDER

prints the process id of each, and how it ended. Whoever reads the id may kill it.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import openai.resources.chat  # noqa: F401 - so that a forked process finds it loaded

import whet.synth.workshop  # noqa: F401
from whet import stages
from whet.recipe import load


def main(recipe: Path, folder: Path) -> None:
    """A process for each line of standard input."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                stages.synth(load(recipe), folder)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
