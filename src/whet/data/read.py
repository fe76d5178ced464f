"""A file or a Hub id to a Table. Nothing is guessed, nothing is changed: a row is read right, or set aside with its reason."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from whet.data.columnar import scan_arrow, scan_columnar
from whet.data.delimited import scan_delimited
from whet.data.records import scan_json, scan_json_lines
from whet.data.table import Scan, Table
from whet.errors import DataError, Problem

DELIMITED = (".csv", ".tsv", ".tab")
JSON_LINES = (".jsonl", ".ndjson")
COLUMNAR = (".parquet", ".arrow", ".feather")
FORMATS = (*DELIMITED, *JSON_LINES, ".json", *COLUMNAR)
HUB_TIMEOUT_SECONDS = 10
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def read_rows(
    path: str | Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool = True,
    split: str = "train",
) -> Table:
    """The rows of a CSV, TSV, JSONL, JSON, Parquet or Arrow file, or of a Hub data set, all as text.

    `None`, `NA`, `007` and the empty cell stay what they are. `table.read` is always `len(rows) + len(drops)`.

    Args:
        path: a file; or a Hub id (`owner/name`) where no such file exists.
        encoding: of a text file that is neither UTF-8 nor begins with a byte-order mark.
        delimiter: between the cells of a CSV or TSV file; left out, it is found.
        header: whether the first row of a CSV or TSV file names the columns.
        split: of a Hub data set.

    Raises:
        DataError: there is no such file, its kind is not known, or it cannot be read without guessing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "talks.csv")
        ...     _ = file.write_text("id,text,label\\n007,We will build.,None\\n008,Too,many,cells\\n009,No.,NA\\n")
        ...     table = read_rows(file)
        >>> [row.cells for row in table.rows]
        [('007', 'We will build.', 'None'), ('009', 'No.', 'NA')]
        >>> print(table.drops[0].origin, "-", table.drops[0].detail)
        talks.csv, row 3 - 4 cells where the header has 3; a cell with a comma in it must stand in quotes
    """
    return scan_rows(path, encoding=encoding, delimiter=delimiter, header=header, split=split, keep=True).table()


def scan_rows(
    path: str | Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool = True,
    split: str = "train",
    keep: bool = False,
) -> Scan:
    """The same, read once to see what it is; its rows are read again when they are wanted, and not held in memory.

    Of a JSON file its records are: it is one value, and read whole.

    Args:
        keep: hold the rows in memory all the same, and read them once.

    Raises:
        DataError: what `read_rows` raises.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if file.is_dir():
        raise DataError(Problem(str(path), "this is a folder, not a file", "Name the file in it"))
    if not file.exists():
        if isinstance(path, str) and HUB_ID.fullmatch(path) and suffix not in FORMATS:
            return _scan_hub(path, split, keep)
        raise DataError(_no_such_file(file))
    if suffix not in FORMATS:
        packed = suffix in (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z")
        do = "Unpack it first" if packed else f"Save it as one of {', '.join(FORMATS)}"
        raise DataError(Problem(file.name, f"whet reads no {suffix or 'files without a suffix'} tables", do))
    try:
        if suffix in DELIMITED:
            return scan_delimited(file, source=file.name, encoding=encoding, delimiter=delimiter, header=header, keep=keep)
        if suffix in JSON_LINES:
            return scan_json_lines(file, source=file.name, encoding=encoding, keep=keep)
        if suffix == ".json":
            return scan_json(file, source=file.name, encoding=encoding, keep=keep)
        return scan_columnar(file, source=file.name, keep=keep)
    except PermissionError:
        raise DataError(Problem(str(path), "you may not read this file", "Change its permissions")) from None


def table_from_dataset(dataset: Any, source: str) -> Table:
    """The Table of a `datasets.Dataset` (see `scan_dataset`)."""
    return scan_dataset(dataset, source, keep=True).table()


def scan_dataset(dataset: Any, source: str, *, keep: bool = False) -> Scan:
    """The Scan of a `datasets.Dataset`; class numbers are read as the names of the classes."""
    names = {name: list(f.names) for name, f in dataset.features.items() if type(f).__name__ == "ClassLabel"}
    schema = dataset.features.arrow_schema

    def batches() -> Iterator[Any]:
        return (b for table in dataset.with_format("arrow").iter(batch_size=1000) for b in table.to_batches())

    return scan_arrow(schema, batches, source, names, keep=keep)


def hub_answers(name: str) -> bool:
    """Whether the Hub can be asked for this data set now; False where it cannot be reached.

    Asked before the data set is loaded, because without a network the library tries for half a minute before it looks at its
    own copy.

    Raises:
        DataError: the Hub refuses it: unknown, private or gated.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(name, timeout=HUB_TIMEOUT_SECONDS)
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code < 500:
            what = f"there is no such file, and the Hub refused it ({error.response.status_code}: unknown, private or gated)"
            raise DataError(Problem(name, what, "Check the spelling and your access token")) from None
        return False
    except Exception:  # network, DNS, proxy and settings fail with a dozen types from three libraries
        return False
    return True


def _scan_hub(name: str, split: str, keep: bool) -> Scan:
    """The Scan of a data set on the Hugging Face Hub, or of its local copy where the Hub cannot be reached."""
    import datasets

    was_offline = datasets.config.HF_HUB_OFFLINE
    is_offline = was_offline or not hub_answers(name)
    try:
        datasets.config.HF_HUB_OFFLINE = is_offline
        dataset = datasets.load_dataset(name, split=split)
    except ValueError as error:
        # An unknown split or configuration: the library's own words name those that exist.
        raise DataError(Problem(name, " ".join(str(error).split()).rstrip("."), "Name one that exists")) from error
    except Exception as error:
        what = (
            f"there is no such file, and no such data set could be had from the Hub or its local copy ({type(error).__name__})"
        )
        do = "Download it where there is a network, save it as JSONL or Parquet, and give that file as `path`"
        raise DataError(Problem(name, what, do)) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = was_offline
    scan = scan_dataset(dataset, name, keep=keep)
    local = f"{name}: the Hub cannot be reached; this is the local copy."
    return replace(scan, notes=(*scan.notes, local)) if is_offline else scan


def _no_such_file(file: Path) -> Problem:
    """The Problem of a path that leads nowhere, with the files that it may have meant."""
    folder = file.parent
    if not folder.is_dir():
        return Problem(str(file), f"there is no folder {folder}", "Check the path; it is taken from the recipe's folder")
    near = difflib.get_close_matches(file.name, [f.name for f in folder.iterdir() if f.is_file()], 3, 0.5)
    do = f"Did you mean {' or '.join(near)}" if near else "Check the path; it is taken from the recipe's folder"
    return Problem(str(file), "there is no such file", do)
