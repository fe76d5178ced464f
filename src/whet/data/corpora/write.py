"""Examples to a file that others read, as a stream: JSON lines (packed or not) or Parquet; whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from whet.data.corpora.forms import WHET, Form, to_record
from whet.errors import DataError, Problem
from whet.example import Example
from whet.run import sync_folder

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
PARQUET_ROWS = 10_000  # of a row group, which is what is in memory
Write = Callable[[Example], None]


@contextmanager
def open_writer(path: Path, form: Form) -> Iterator[Write]:
    """A function that writes one Example. The file is there once all are written.

    Args:
        path: ends in .jsonl, .jsonl.gz, .jsonl.zst or .parquet.
        form: of its records.

    Raises:
        DataError: another ending; a file that is there; an Example that the form cannot hold; or it cannot be written.

    Example:
        >>> import tempfile
        >>> from whet.example import Origin
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "rows.jsonl")
        ...     with open_writer(file, "alpaca") as write:
        ...         write(Example("a-1", {"input": ""}, "A crow.", None, Origin("a.json", 1), "Name a bird."))
        ...     record = json.loads(file.read_text())
        >>> record["instruction"], record["output"], record["source"], record["row"]
        ('Name a bird.', 'A crow.', 'a.json', 1)
    """
    kind = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)
    if kind is None:
        do = f"End the name in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise DataError(Problem(str(path), "whet does not know what kind of file this should become", do))
    refuse_existing(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            with _parquet(file, form) if kind == ".parquet" else _lines(file, kind, form) as write:
                yield write
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(Problem(str(path), f"it cannot be written: {reason}", "Make room, or name another place")) from error
    finally:
        beside.unlink(missing_ok=True)


def refuse_existing(path: Path) -> None:
    """Raises a DataError if there is something of this name: what somebody made is not written over."""
    if path.exists():
        raise DataError(Problem(str(path), "there is something of this name already", "Name another, or remove it"))


@contextmanager
def _lines(file: BinaryIO, kind: str, form: Form) -> Iterator[Write]:
    """Writes JSON lines, packed as the file's ending says; the same rows give the same bytes."""
    packers: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        ".jsonl.gz": lambda: gzip.GzipFile("", "wb", fileobj=file, mtime=0),
        ".jsonl.zst": lambda: zstandard.ZstdCompressor().stream_writer(file, closefd=False),
    }
    if kind not in packers:
        yield lambda example: _write_line(file, example, form)
        return
    with packers[kind]() as packed:
        yield lambda example: _write_line(packed, example, form)


def _write_line(file: Any, example: Example, form: Form) -> None:
    file.write((json.dumps(to_record(example, form), ensure_ascii=False) + "\n").encode())


@contextmanager
def _parquet(file: BinaryIO, form: Form) -> Iterator[Write]:
    """Writes Parquet, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet

    schema = _schema(form)
    waiting: list[dict[str, Any]] = []
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as table:

        def flush() -> None:
            if waiting:
                table.write_table(pa.Table.from_pylist(waiting, schema))
                waiting.clear()

        def write(example: Example) -> None:
            waiting.append(to_record(example, form))
            if len(waiting) == PARQUET_ROWS:
                flush()

        yield write
        flush()


def _schema(form: Form) -> Any:
    """The columns of a form, with their types."""
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.int64())])
    own = {
        "messages": [("messages", pa.list_(message))],
        "alpaca": [(name, pa.string()) for name in ("instruction", "input", "output")],
        "prompt-completion": [(name, pa.string()) for name in ("prompt", "completion")],
    }[form]
    texts = [(name, pa.string()) for name in ("id", "group", "source")]
    return pa.schema([*own, *texts, ("row", pa.int64()), ("licence", pa.string()), ("maker", pa.string()), (WHET, pa.string())])
