"""Predictions to a file that a spreadsheet may open without running anything in it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from whet.errors import DataError, Problem
from whet.example import Prediction
from whet.run import write_atomically

FORMATS = (".csv", ".jsonl")
# What makes a spreadsheet calculate instead of show: OWASP "CSV Injection", with the full-width signs that Excel folds.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_COLUMNS = ("document", "start", "end", "text", "label", "probability")


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Writes a .csv or .jsonl file, whole or not at all.

    JSONL holds every text as it is. In CSV a text that a spreadsheet would take for a formula gets an apostrophe before it,
    and the score of each label has a column of its own.

    Raises:
        DataError: another suffix, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(
            Problem(str(path), f"whet writes no {suffix or 'files without a suffix'}", "End the name in .csv or .jsonl")
        )
    rows = list(predictions)
    text = _as_csv(rows) if suffix == ".csv" else "".join(json.dumps(p.to_json(), ensure_ascii=False) + "\n" for p in rows)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(Problem(str(path), f"it cannot be written: {reason}", "Make room, or name another place")) from error


def harmless(cell: str) -> str:
    """A text as a CSV cell that no spreadsheet takes for a formula.

    Example:
        >>> harmless("=HYPERLINK(\\"x\\")"), harmless("We will build."), harmless("- more homes")
        ('\\'=HYPERLINK("x")', 'We will build.', "'- more homes")
    """
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _as_csv(predictions: Sequence[Prediction]) -> str:
    labels = list(dict.fromkeys(label for p in predictions for label in p.scores))
    out = io.StringIO()
    # CR LF, because the module then puts quotes around a cell that holds either: with LF alone a CR would end the row.
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*_COLUMNS, *(harmless(label) if label not in _COLUMNS else f"score {label}" for label in labels)])
    for p in predictions:
        probability = "" if p.probability is None else p.probability
        scores = [p.scores.get(label, "") for label in labels]
        writer.writerow([harmless(p.document), p.start, p.end, harmless(p.text), harmless(p.label), probability, *scores])
    return out.getvalue()
