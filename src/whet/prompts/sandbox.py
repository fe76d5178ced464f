"""Jinja templates of strangers: rendered in a process of its own, which is bounded in time, memory, output and reach.

A template is a program. Jinja's sandbox keeps it from Python's insides, but not from taking an hour or all memory, and a list
of forbidden operators has holes. So it is rendered by `cell.py`, another process, and the operating system holds the bounds.
They count processor time, not time on the wall: whether a template is refused does not depend on what else the machine does.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whet.errors import WhetError

SECONDS = 1.0
MEMORY_BYTES = 512 * 2**20
MOST_CHARACTERS = 2**20


class Fault(Exception):
    """A template that could not be rendered.

    `kind` is `syntax`, `forbidden` (it reached for Python's insides), `too_much` (time, memory or output), `missing` (a value
    that the row does not have) or `error`; `detail` is a sentence.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


class Sandbox:
    """A process that renders templates, started when it is first asked and again after a template has ended it."""

    def __init__(
        self, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES, most_characters: int = MOST_CHARACTERS
    ) -> None:
        self._bounds = (seconds, memory_bytes, most_characters)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        atexit.register(self.close)

    def render(self, template: str, fields: Mapping[str, Any], seed: int = 0) -> str:
        """The text of a Jinja template, as promptsource's Jinja renders it.

        Args:
            template: the source; it also knows the filters `choice` and `most_frequent`, and `zip`.
            fields: what its names stand for: JSON values, of which it gets a copy.
            seed: of whatever is random in it.

        Raises:
            Fault: it is no template, reaches for what it may not, takes too much, or needs a field that is not there.
        """
        line = json.dumps({"template": template, "fields": dict(fields), "seed": seed}).encode() + b"\n"
        with self._lock:
            found = json.loads(self._exchange(line))
        if "fault" in found:
            raise Fault(found["fault"], found["detail"])
        return str(found["text"])

    def close(self) -> None:
        """Ends the process; the next template starts another."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()

    def _exchange(self, line: bytes) -> bytes:
        process = self._running()
        assert process.stdin and process.stdout
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        except BaseException:  # interrupted between question and answer: the next answer would be to this question
            self.close()
            raise
        if not answer.endswith(b"\n"):
            raise Fault("too_much", self._cause_of_end(process))
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid():  # a forked process must not share its parent's pipes
            command = [sys.executable, "-P", str(Path(__file__).with_name("cell.py")), *map(str, self._bounds)]
            environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "0"}
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            )
            self._owner = os.getpid()
        return self._process

    def _cause_of_end(self, process: subprocess.Popen[bytes]) -> str:
        seconds, memory_bytes, _ = self._bounds
        code = process.wait()
        self.close()
        if code == -signal.SIGPROF:
            return f"it takes more than {seconds:g} second{'' if seconds == 1 else 's'} of processor time"
        if code > 0:
            raise WhetError.at("sandbox", f"the process that renders templates ended with {code}", "Report this")
        return f"it ended its process (signal {-code}): it nests too deep, or needs more than {memory_bytes // 2**20} MiB"


_SHARED = Sandbox()


def render(template: str, fields: Mapping[str, Any], seed: int = 0) -> str:
    """The text of a Jinja template (see `Sandbox.render`), from the one process that all of whet shares.

    Example:
        >>> render("{{ seq | choice }} {{ text }}", {"text": "It rains.", "seq": ["True?"]})
        'True? It rains.'
    """
    return _SHARED.render(template, fields, seed)
