"""Who computes batches: this process, several, or those of a Ray cluster. The order stays, and so does the output."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, Protocol, TypeVar

from whet.errors import DataError, Problem, UserError

AHEAD = 3  # batches a process that may wait for it
WINDOW = 64  # batches that Ray holds at a time
B = TypeVar("B")
D = TypeVar("D")


class Map(Protocol):
    """Who does something with batches of rows, wherever: each batch done, in order."""

    def __call__(self, do: Callable[[B], D], batches: Iterable[B], /) -> Iterator[D]: ...


def in_this_process(do: Callable[[B], D], batches: Iterable[B], /) -> Iterator[D]:
    """Each batch done, in order."""
    return map(do, batches)


def in_processes(processes: int) -> Map:
    """A map over so many processes of this machine. It keeps the order, and no more batches in memory than it needs to.

    Raises:
        DataError: a process was ended from outside (out of memory, most often).
    """

    def mapped(do: Callable[[B], D], batches: Iterable[B], /) -> Iterator[D]:
        # Fresh processes: one that is forked from a process with threads (the tokenizer's) may wait for them for ever.
        with ProcessPoolExecutor(processes, get_context("spawn"), _end_with_parent) as pool:
            under_way: deque[Future[D]] = deque()
            try:
                for batch in batches:
                    under_way.append(pool.submit(do, batch))
                    if len(under_way) > AHEAD * processes:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            except BrokenProcessPool:
                what = "a process that was preparing rows was ended from outside"
                raise DataError(Problem("--processes", what, "Take fewer processes: each needs about 200 MB")) from None
            finally:
                pool.shutdown(cancel_futures=True)

    return mapped


def _end_with_parent() -> None:
    """Ends this process when the one that started it has ended: killed, it would leave this one waiting for ever."""
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=wait, daemon=True).start()


def on_ray() -> Map:
    """A map over the machines of a Ray cluster (RAY_ADDRESS; without it, over this machine), by Ray Data.

    Rows travel through Ray's object store, so the machines need no file system in common; each needs whet, and a base model
    that is a folder in the same place.

    Raises:
        DataError: Ray is not installed.
    """
    try:
        import ray  # type: ignore[import-not-found, unused-ignore]
        import ray.data  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        what = "Ray is not installed"
        raise DataError(Problem("--ray", what, 'Install it: pip install "ray[data]==2.60.*"; or use --processes')) from None

    def mapped(do: Callable[[B], D], batches: Iterable[B], /) -> Iterator[D]:
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # else it tells of every window on the terminal
        source = iter(batches)
        while window := list(islice(source, WINDOW)):
            rows = [{"place": place, "batch": batch} for place, batch in enumerate(window)]
            done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(partial(_on_ray, do)).take_all()
            for row in sorted(done, key=lambda row: row["place"]):
                if isinstance(row["done"], UserError):
                    raise row["done"]
                yield row["done"]

    return mapped


def _on_ray(do: Callable[[B], Any], row: dict[str, Any]) -> dict[str, Any]:
    """A row of a Ray data set, done. What is wrong with the data is handed back: Ray would try again, and wrap it."""
    try:
        return {"place": row["place"], "done": do(row["batch"])}
    except UserError as error:
        return {"place": row["place"], "done": error}
