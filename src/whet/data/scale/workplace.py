"""The folder in which a dataset is made on disk, beside its run: held by one process, and gone when it is done."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whet.errors import Problem, RunError


@contextmanager
def workplace(run: Path) -> Iterator[Path]:
    """An empty hidden folder beside the folder of a run, on the same disk. What a killed process left there is removed first.

    Raises:
        RunError: another process prepares this run.
    """
    folder = run.parent / f".{run.name}-preparing"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(Problem(str(run), "another process prepares this run", "Wait for it, or end it")) from None
        inside = folder / "files"
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir()
        try:
            yield inside
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
