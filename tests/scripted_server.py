"""An OpenAI-compatible server that answers by script and plays every fault, on a real socket; it counts what it was asked.

with ScriptedServer(lambda body, n: Play(text="yes")) as server:
    ... server.base_url ... server.asked ...
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Play:
    """What the server does with one request.

    Attributes:
        text: the answer, of a status 200.
        finish_reason: why it ends.
        tokens: of the prompt and of the answer; None: the server counts nothing.
        status: an HTTP status; others than 200 send `text` as an error.
        headers: further ones.
        seconds: waits so long before it answers.
        body: sent instead of a chat completion.
        way: `whole`; `hang` (never answers); `drip` (a byte every 50 ms); `reset` (half a body, then a reset); `refuse` (the
            connection closes before a byte is sent).
        message: fields of the message, such as `refusal`.
    """

    text: str = ""
    finish_reason: str = "stop"
    tokens: tuple[int, int] | None = (100, 20)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    body: bytes | None = None
    way: str = "whole"
    message: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The body that is sent."""
        if self.body is not None:
            return self.body
        if self.status != 200:
            return json.dumps({"error": {"message": self.text, "type": "scripted"}}).encode()
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        usage = dict(zip(names, (*self.tokens, sum(self.tokens)), strict=True)) if self.tokens else None
        message = {"role": "assistant", "content": self.text, **self.message}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        found = {"id": "x", "object": "chat.completion", "created": 0, "model": "scripted", "choices": [choice], "usage": usage}
        return json.dumps(found).encode()


Script = Callable[[dict[str, Any], int], Play]  # the request's body, and how often this very request was asked before


class ScriptedServer:
    """A server in a thread of its own.

    Attributes:
        asked: how often each request was asked, by the hash of its body.
        answered: how often it was answered with a whole chat completion.
        bodies: the bodies, in the order of arrival.
        headers: the headers of each, lower-cased.
    """

    def __init__(self, script: Script, port: int = 0) -> None:
        self.script, self.port = script, port
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.under_way = self.most_under_way = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection, one after another."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:]) if k}
                raw = await reader.readexactly(int(headers.get("content-length", "0")))
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                try:
                    if not await self._play(raw, headers, writer):
                        return
                finally:
                    self.under_way -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _play(self, raw: bytes, headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        """Plays one request; returns whether the connection goes on."""
        key, body = hashlib.sha256(raw).hexdigest(), json.loads(raw or b"{}")
        play = self.script(body, self.asked[key])
        self.asked[key] += 1
        self.bodies.append(body)
        self.headers.append(headers)
        if play.seconds:
            await asyncio.sleep(play.seconds)
        if play.way == "hang":
            await asyncio.sleep(3600)
        if play.way == "refuse":
            return False
        content = play.to_bytes()
        extra = "".join(f"{k}: {v}\r\n" for k, v in play.headers.items())
        head = f"HTTP/1.1 {play.status} X\r\ncontent-type: application/json\r\n{extra}content-length: {len(content)}\r\n\r\n"
        if play.way == "reset":
            writer.write(head.encode() + content[: len(content) // 2])
            await writer.drain()
            writer.transport.abort()
            return False
        if play.way == "drip":
            writer.write(head.encode())
            for byte in content:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        else:
            writer.write(head.encode() + content)
            await writer.drain()
        self.answered[key] += play.status == 200 and play.body is None
        return True
