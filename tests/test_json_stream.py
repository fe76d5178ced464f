"""JSON values out of a stream: those that `json` reads, whatever the window; a broken one costs itself alone; flat memory."""

from __future__ import annotations

import io
import json
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from whet.data.corpora import json_stream
from whet.data.corpora.json_stream import BadJson, read_values


def random_value(random_: random.Random, depth: int = 0) -> Any:
    kind = random_.randrange(9 if depth < 3 else 6)
    if kind < 3:
        return "".join(random_.choice('ab"\\\n\té😀[]{},: ') for _ in range(random_.randrange(9)))
    if kind < 6:
        return random_.choice([None, True, False, 0, -12, 1.5, 1e300, 12345678901234567890])
    if kind < 8:
        return {f"k{n}": random_value(random_, depth + 1) for n in range(random_.randrange(4))}
    return [random_value(random_, depth + 1) for _ in range(random_.randrange(4))]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_values_through_a_window_of_any_size_are_those_that_json_reads(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_stream, "CHUNK_BYTES", chunk)
    random_ = random.Random(chunk)
    for number in range(60):
        values = [random_value(random_) for _ in range(random_.randrange(5))]
        written = json.dumps(values, ensure_ascii=number % 2 == 0, indent=number % 3 or None)
        assert list(read_values(io.BytesIO(f" {written}\n".encode()).read)) == values
        apart = "\n".join(json.dumps(value) for value in values)
        if values and not isinstance(values[0], list):
            assert list(read_values(io.BytesIO(apart.encode()).read)) == values


@pytest.mark.parametrize("chunk", [1, 5, 1000])
@pytest.mark.parametrize(
    "broken", ['{"a": nope}', '{"a": "\\d", "b": [1, {"c": "]}"}]}', "nope", '{"a" 1}', '{"a": 1,}', '"a\nb"', "1" * 5000]
)
def test_one_bad_item_costs_no_other(monkeypatch: pytest.MonkeyPatch, chunk: int, broken: str) -> None:
    monkeypatch.setattr(json_stream, "CHUNK_BYTES", chunk)
    read = list(read_values(io.BytesIO(f'[{{"x": 1}}, {broken}, {{"x": 2}}]'.encode()).read))
    assert [value for value in read if not isinstance(value, BadJson)] == [{"x": 1}, {"x": 2}]
    (bad,) = [value for value in read if isinstance(value, BadJson)]
    assert bad.why.startswith("no valid JSON (") and not bad.is_end


def test_deep_nesting_is_no_crash() -> None:
    bad, good = read_values(io.BytesIO(b"[" + b"[" * 200_000 + b"]" * 200_000 + b", 2]").read)
    assert isinstance(bad, BadJson) and bad.why == "JSON nested too deeply" and good == 2


class _Endless(io.RawIOBase):
    """A list of many records that is made as it is read, so that nothing but the reader holds it."""

    def __init__(self, count: int, joint: bytes) -> None:
        self._parts = self._pieces(count, joint)
        self._rest = b""

    @staticmethod
    def _pieces(count: int, joint: bytes) -> Iterator[bytes]:
        for number in range(count):
            yield (joint if number else b"[") + json.dumps({"messages": [f"Question {number}?", "y" * 500]}).encode()
        yield b"]"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while len(self._rest) < len(buffer) and (piece := next(self._parts, b"")):
            self._rest += piece
        taken, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def test_memory_does_not_grow_with_the_number_of_records() -> None:
    def peak_bytes(count: int) -> int:
        file = io.BufferedReader(_Endless(count, b",\n"))
        tracemalloc.start()
        assert sum(1 for _ in read_values(file.read)) == count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak_bytes(3_000), peak_bytes(12_000)  # 2 MB and 8 MB of JSON
    assert many < 1.2 * few < 4e6
