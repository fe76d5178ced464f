"""A corpus of the Hugging Face Hub as a stream of records; and what to fetch, and how, where there is no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from whet.data.corpora.catalogue import Corpus
from whet.data.corpora.format import Record
from whet.data.corpora.streams import Stream
from whet.data.read import hub_answers
from whet.errors import DataError, Problem
from whet.example import Drop, Origin


def open_hub(name: str, split: str = "train", corpus: Corpus | None = None) -> Stream:
    """The records of a data set on the Hub, read as they arrive; of its local copy where the Hub cannot be reached.

    Args:
        name: its id there.
        split: which part of it.
        corpus: its entry in the catalogue, which knows what to download where it cannot be had.

    Raises:
        DataError: it cannot be had, with what to do instead.
    """
    import datasets

    was_offline = datasets.config.HF_HUB_OFFLINE
    is_online = not was_offline and hub_answers(name)
    try:
        datasets.config.HF_HUB_OFFLINE = not is_online
        rows = iter(datasets.load_dataset(name, split=split, streaming=is_online))
        first = list(islice(rows, 1))  # as a stream, it asks for nothing before its first row
    except Exception as error:
        raise DataError(_not_to_be_had(name, corpus, error)) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = was_offline
    return Stream(name, False, _records(name, chain(first, rows)))


def how_to_download(corpus: Corpus, what: str) -> Problem:
    """The Problem of a corpus that is not here: what to download, and how to read it then."""
    where = f" (huggingface.co/datasets/{corpus.hub[0]})" if corpus.hub else ""
    do = f"Where there is a network, download {corpus.files}{where}; then give the file, or the folder that you put it into"
    return Problem(corpus.name, what, do)


def _records(name: str, rows: Iterable[Any]) -> Iterator[Record | Drop]:
    number = 0
    try:
        for number, row in enumerate(rows, 1):
            yield Record(Origin(name, number), row)
    except Exception as error:
        what = f"it broke off behind row {number} ({type(error).__name__}: {error})"
        raise DataError(Problem(name, what, "Run the command again, or download the files and read those")) from error


def _not_to_be_had(name: str, corpus: Corpus | None, error: Exception) -> Problem:
    why = " ".join(str(error).split()).rstrip(".")[:160]
    what = f"it cannot be had from the Hub, and there is no local copy ({type(error).__name__}: {why})"
    if corpus is not None:
        return how_to_download(corpus, what)
    do = f"Where there is a network, download its files (huggingface.co/datasets/{name}); then give those"
    return Problem(name, what, do)
