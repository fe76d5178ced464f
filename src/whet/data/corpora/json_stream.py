"""JSON values one after another out of a stream of bytes, in the memory of one value: of a list its items, else the values.

The standard library parses whole texts only. Here a window moves over the stream; its decoder is asked for one value at a
time, and the window grows only while a value is longer than what is in it. A value that is no JSON is passed over by its
brackets, so that one bad row does not cost those behind it.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from whet.data.records import only_once

CHUNK_BYTES = 2**18
MAX_VALUE_CHARS = 2**28
# How near to the window's end an error must be for the rest to be still to come: "\\ud83d\\ude00" is the longest piece
# that the decoder takes whole.
_NEAR_END_CHARS = 12
_SPACE = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|["\[\]{},]', re.DOTALL)


class BadJson:
    """Stands where a value could not be read: why, and whether nothing behind it could be read either."""

    def __init__(self, why: str, is_end: bool = False) -> None:
        self.why, self.is_end = why, is_end


def read_values(read: Callable[[int], bytes]) -> Iterator[Any]:
    """The items of a JSON list, or the JSON values that stand one after another; a BadJson for each that is none.

    Bytes that are not UTF-8 become half surrogates, as in `surrogateescape`.

    Args:
        read: gives the next bytes, so many at most; none at the end.

    Example:
        >>> import io
        >>> [v.why if isinstance(v, BadJson) else v for v in read_values(io.BytesIO(b'[1, {"a": nope}, {"b": 2}]').read)]
        [1, 'no valid JSON (Expecting value)', {'b': 2}]
    """
    window = _Window(read)
    is_list = window.peek() == "["
    window.at += is_list
    while (char := window.peek()) and not (is_list and char == "]"):
        if char == ",":
            window.at += 1
            continue
        try:
            yield window.value()
        except (ValueError, RecursionError) as error:
            fault = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            why = "JSON nested too deeply" if isinstance(error, RecursionError) else f"no valid JSON ({fault})"
            if not window.pass_over():
                yield BadJson(f"{why}, and its end cannot be found: nothing from here on was read", is_end=True)
                return
            yield BadJson(why)
    if is_list and not char:
        yield BadJson("the file ends inside the list: it was cut off", is_end=True)
    elif is_list:
        window.at += 1
        if window.peek():
            yield BadJson("there is more behind the end of the list, and it was not read", is_end=True)


class _Window:
    """The part of a stream's text that is in memory; everything before `at` is done with."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.text, self.at, self.is_last = "", 0, False
        self._read = read
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._json = json.JSONDecoder(object_pairs_hook=only_once)

    def peek(self) -> str:
        """The next character that is no space, with `at` on it; empty at the end of the stream."""
        while True:
            found = _SPACE.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text) or self.is_last:
                return self.text[self.at : self.at + 1]
            self._grow(CHUNK_BYTES)

    def value(self) -> Any:
        """The JSON value at `at`, which moves behind it.

        Raises:
            ValueError: there is none.
        """
        size = CHUNK_BYTES
        while True:
            try:
                value, end = self._json.raw_decode(self.text, self.at)
                # A number may go on behind the window: `1`, `1.`, `1e-` are all that there is of 1e-5 so far.
                if self.is_last or not isinstance(value, (int, float)) or len(self.text) - end > 2:
                    self.at = end
                    return value
            except json.JSONDecodeError as error:
                may_go_on = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - _NEAR_END_CHARS
                if self.is_last or not may_go_on or len(self.text) - self.at > MAX_VALUE_CHARS:
                    raise
            self._grow(size)
            size *= 2

    def pass_over(self) -> bool:
        """Moves `at` behind the value that begins there, by its brackets alone; False if it ends nowhere."""
        size = CHUNK_BYTES
        while True:
            depth = 0
            for match in _TOKEN.finditer(self.text, self.at):
                token = match[0]
                if token == '"':  # a string that goes on behind the window
                    break
                depth += (token in ("[", "{")) - (token in ("]", "}"))
                if depth < 0 or (depth == 0 and token == ","):
                    self.at = match.start()
                    return True
                if depth == 0 and token in ("]", "}"):
                    self.at = match.end()
                    return True
            if self.is_last or len(self.text) - self.at > MAX_VALUE_CHARS:
                return False
            self._grow(size)
            size *= 2

    def _grow(self, size: int) -> None:
        chunk = self._read(size)
        self.is_last = not chunk
        self.text, self.at = self.text[self.at :] + self._decoder.decode(chunk, self.is_last), 0
