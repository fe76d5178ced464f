"""Parquet, Arrow and Hub data sets: columns of values to rows of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.data.records import Found, scan_records
from whet.data.table import Scan, Table, header_problems
from whet.errors import DataError, Problem

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 4096


def read_columnar(path: Path, *, source: str) -> Table:
    """The table in a Parquet or Arrow file (see `scan_columnar`)."""
    return scan_columnar(path, source=source, keep=True).table()


def scan_columnar(path: Path, *, source: str, keep: bool = False) -> Scan:
    """The table in a Parquet or Arrow (Feather, IPC file or stream) file; rows are counted from 1.

    Args:
        keep: whether its rows are kept in memory; else they are read again when they are wanted.

    Raises:
        DataError: the file is damaged or not of its kind.
    """
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.parquet

    @contextmanager
    def opened() -> Iterator[tuple[pa.Schema, Iterable[pa.RecordBatch]]]:
        if path.suffix.lower() == ".parquet":
            with pyarrow.parquet.ParquetFile(path) as file:
                yield file.schema_arrow, file.iter_batches(ROWS_AT_ONCE)
            return
        with pa.OSFile(str(path)) as bytes_:
            try:
                reader = pyarrow.ipc.open_file(bytes_)
                batches = map(reader.get_batch, range(reader.num_record_batches))
            except pa.ArrowInvalid:
                bytes_.seek(0)
                reader = pyarrow.ipc.open_stream(bytes_)
                batches = iter(reader)
            yield reader.schema, batches

    @contextmanager
    def refusals() -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            what = f"it cannot be read as {path.suffix[1:]}: {reason}"
            raise DataError(Problem(source, what, "Write the file again")) from error

    def batches() -> Iterator[pa.RecordBatch]:
        with refusals(), opened() as (_, found):
            yield from found

    with refusals():
        with opened() as (schema, _):
            pass
        return scan_arrow(schema, batches, source, keep=keep)


def table_from_arrow(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], source: str, names: Mapping[str, list[str]] | None = None
) -> Table:
    """The table in a stream of Arrow batches (see `scan_arrow`)."""
    return scan_arrow(schema, lambda: batches, source, names, keep=True).table()


def scan_arrow(
    schema: pa.Schema,
    batches: Callable[[], Iterable[pa.RecordBatch]],
    source: str,
    names: Mapping[str, list[str]] | None = None,
    *,
    keep: bool = False,
) -> Scan:
    """The table in a stream of Arrow batches. Columns of bytes (images, sound) are left out, with a note.

    Args:
        batches: from the first one on, each time that it is called.
        names: for a column of class numbers, what the classes are called.
        keep: whether its rows are kept in memory; else the batches are asked for again when they are wanted.
    """
    import pyarrow as pa

    if problems := header_problems(source, tuple(schema.names)):
        raise DataError(*problems)
    is_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    columns = [f.name for f in schema if not any(test(f.type) for test in is_bytes)]
    notes = [
        f"{source}: the column {name!r} holds bytes, not text, and is left out." for name in schema.names if name not in columns
    ]
    notes += [f"{source}: the numbers of column {name!r} are read as the names of its classes." for name in names or {}]

    def records() -> Iterator[Found]:
        number = 0
        for batch in batches():
            for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                few = batch.slice(start, ROWS_AT_ONCE)
                for cells in zip(*(few.column(name).to_pylist() for name in columns), strict=True):
                    number += 1
                    yield number, {c: _class_name(v, (names or {}).get(c)) for c, v in zip(columns, cells, strict=True)}

    return scan_records(source, records, keep, notes)


def _class_name(value: Any, names: list[str] | None) -> Any:
    """The name of a class number; a number outside the list (-1 is "no label") is no value."""
    if names is None:
        return value
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
