"""One OpenAI-compatible endpoint: a request is sent once, and its reply or its fault comes back classified.

Nothing is retried here (`pool` does that), and the key of the endpoint is in nothing that leaves this module.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import openai

from whet.errors import ModelError, Problem
from whet.synth import answers
from whet.synth.request import Message, Outcome, Parameters, Reply, Request

CONNECT_SECONDS = 10.0
CLIENTS = 8  # that take turns: one alone looks through all of its connections for each request, which is half of its time
# What a server says no with, and what of the request it may not have liked: looked for in its words, dropped one by one.
_OPTIONS = {
    "max_completion_tokens": "max_tokens", "max_tokens": "max_tokens", "response_format": "schema", "json_schema": "schema",
    "grammar": "schema", "guided": "schema", "seed": "seed", "temperature": "temperature", "top_p": "top_p",
    "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty", "stop": "stop",
}  # fmt: skip
_QUOTA = ("insufficient_quota", "quota exceeded", "billing", "credit balance", "payment required")

# busy: asked too often (429). unwell: the server's own fault (5xx). slow: no whole answer in time. broken: the connection or
# the body. unreachable: no connection at all. refused: the server will never take this request. closed: it takes none of ours
# (key, quota, unknown model), so nothing more is sent to it.
FaultKind = Literal["busy", "unwell", "slow", "broken", "unreachable", "refused", "closed"]


class Fault(Exception):
    """An attempt without a reply. `retry_after` is in seconds where the server named a time.

    `may_be_paid`: the server had the whole request and may have answered it, but the answer did not arrive.
    """

    def __init__(self, kind: FaultKind, detail: str, retry_after: float | None = None, may_be_paid: bool = False) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.retry_after, self.may_be_paid = kind, detail, retry_after, may_be_paid


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server takes. `dropped` names what it would not have; `limit` is its name for the length of an answer."""

    schema: bool = False
    limit: str = "max_tokens"
    dropped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {**asdict(self), "dropped": list(self.dropped)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Abilities:
        """The Abilities that `to_json` wrote."""
        return cls(**{**record, "dropped": tuple(record["dropped"])})


# What a server is tried with: a schema of the kind that methods use, and a question that no model would answer so by itself.
PROBE = Request(
    "probe", (Message("user", "Do you read this? Answer in your own words."),), Parameters(temperature=0.0, max_tokens=256), 0,
    {"type": "object", "required": ["a"], "additionalProperties": False, "properties": {
        "a": {"type": "array", "items": {"type": "string", "enum": ["yes", "no"]}, "minItems": 1, "maxItems": 1},
    }},
)  # fmt: skip


class Maker(Protocol):
    """Something that answers requests: a server, or a model in this process."""

    name: str

    async def probe(self) -> tuple[Abilities, Reply]:
        """What it takes, and its reply to the last question of the probe."""

    async def send(self, request: Request) -> Reply:
        """The reply to one attempt; raises a Fault if there is none."""

    def use(self, abilities: Abilities) -> None:
        """Sets what an earlier probe found."""

    async def close(self) -> None:
        """Lets go of what it holds."""


class Endpoint:
    """One server and the model that is asked there.

    Args:
        base_url: up to and including `/v1`.
        model: what the server calls the model.
        key: the secret, or None; it is in no text that comes from here.
        timeout_seconds: for one attempt, from the first byte sent to the last one read.
    """

    def __init__(self, base_url: str, model: str, key: str | None, timeout_seconds: float) -> None:
        self.base_url, self.model, self.timeout_seconds = base_url, model, timeout_seconds
        self.name = urlsplit(base_url).netloc
        self.abilities = Abilities()
        self._key = key
        # Without a key of its own a server gets none: the library would otherwise send OPENAI_API_KEY to whoever listens.
        timeout = openai.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds), pool=None)
        self._clients = [
            openai.AsyncOpenAI(base_url=base_url, api_key=key or "none", max_retries=0, timeout=timeout) for _ in range(CLIENTS)
        ]
        self._next = itertools.cycle(self._clients)

    def use(self, abilities: Abilities) -> None:
        """Sets what an earlier probe found."""
        self.abilities = abilities

    async def close(self) -> None:
        """Closes its connections."""
        await asyncio.gather(*(client.close() for client in self._clients))

    async def send(self, request: Request) -> Reply:
        """The reply to one attempt.

        Raises:
            Fault: if there is none.
        """
        began = time.monotonic()
        found = await self.post("/chat/completions", self._body(request))
        return self._reply_of(request, found, time.monotonic() - began)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The body of the answer to one attempt at a path of the API.

        Raises:
            Fault: if there is none.
        """
        try:
            async with asyncio.timeout(self.timeout_seconds):  # a slow drip of bytes keeps every shorter timeout waiting
                # Not `chat.completions.create`, which walks every field of the body and of the answer: half of its time.
                return await next(self._next).post(path, body=body, cast_to=object)
        except TimeoutError:
            raise Fault("slow", f"no whole answer within {self.timeout_seconds:g} s", may_be_paid=True) from None
        except openai.APIStatusError as error:
            raise self._fault_of(error) from None
        except openai.APITimeoutError as error:
            connected = type(error.__cause__).__name__ not in ("ConnectTimeout", "PoolTimeout")
            raise Fault("slow", self._clean(f"timed out ({type(error.__cause__).__name__})"), may_be_paid=connected) from None
        except openai.APIConnectionError as error:
            never = type(error.__cause__).__name__ == "ConnectError"
            said = self._clean(f"{type(error.__cause__).__name__}: {error.__cause__}")
            raise Fault("unreachable" if never else "broken", said, may_be_paid=not never) from None
        except (openai.OpenAIError, ValueError, RecursionError) as error:  # no JSON, or no text
            raise Fault("broken", self._clean(f"{type(error).__name__}: {error}"), may_be_paid=True) from None

    async def probe(self) -> tuple[Abilities, Reply]:
        """What the server takes, found by asking it once, or once for each thing that it would not have; and its last reply.

        Raises:
            Fault: if it answers nothing at all.
        """
        tried = Abilities(schema=True)
        for _ in range(len(_OPTIONS)):
            self.abilities = tried
            try:
                reply = await self.send(PROBE)
            except Fault as fault:
                less = _without(tried, fault.detail) if fault.kind in ("refused", "unwell") else None
                if less is None:
                    raise
                tried = less
                continue
            keeps = any(value in ({"a": ["yes"]}, {"a": ["no"]}) for value in answers.read_objects(reply.text).objects)
            self.abilities = replace(tried, schema=tried.schema and keeps)
            return self.abilities, reply
        raise Fault("refused", "it takes no request, whatever is left out of it")

    def _body(self, request: Request) -> dict[str, Any]:
        """The request as the API's fields, without what the server would not have."""
        able = self.abilities
        drawn = request.parameters.to_json()
        drawn[able.limit] = drawn.pop("max_tokens")
        if request.schema is not None and able.schema:
            named = {"name": request.purpose, "schema": request.schema, "strict": True}
            drawn["response_format"] = {"type": "json_schema", "json_schema": named}
        body = {**drawn, "seed": request.seed}
        talk = [{"role": m.role, "content": m.content} for m in request.messages]
        return {"model": self.model, "messages": talk, **{k: v for k, v in body.items() if k not in able.dropped}}

    def _reply_of(self, request: Request, body: Any, seconds: float) -> Reply:
        """The Reply in a body; one that is sent as plain text may be JSON all the same."""
        try:
            body = json.loads(body) if isinstance(body, str) else body
            choice = body["choices"][0]
            message = choice["message"]
            said = message.get("content")
            said = "" if said is None else said
            if not isinstance(said, str):
                raise TypeError
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            what = self._clean(f"its answer is no chat completion: {str(body)[:200]}")
            raise Fault("broken", what, may_be_paid=True) from None
        usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
        outcome, detail = _outcome(choice.get("finish_reason"), message.get("refusal"), said)
        # A server that counts nothing is taken to have used as much as it can have.
        tokens_in = _count(usage.get("prompt_tokens"), request.prompt_bound())
        tokens_out = _count(usage.get("completion_tokens"), len(said.encode("utf-8", "replace")))
        return Reply(outcome, self._clean(said), tokens_in, tokens_out, round(seconds, 3), self._clean(detail))

    def _fault_of(self, error: openai.APIStatusError) -> Fault:
        """The Fault of an HTTP status: the server has looked at the request and taken no money for it."""
        status, said = error.status_code, self._clean(_message(error))
        detail = f"HTTP {status}: {said}"
        retry_after = _seconds(error.response.headers.get("retry-after"), error.response.headers.get("retry-after-ms"))
        if status == 402 or (status in (403, 429) and any(word in said.casefold() for word in _QUOTA)):
            return Fault("closed", detail)
        if status in (401, 403, 404):
            return Fault("closed", detail)
        if status == 429:
            return Fault("busy", detail, retry_after)
        if status in (408, 409) or status >= 500:
            return Fault("unwell", detail, retry_after, may_be_paid=status in (408, 504))
        return Fault("refused", detail)

    def _clean(self, text: str) -> str:
        """A text as it may be kept: without the key, should a server echo it, and without half characters."""
        kept = text.replace(self._key, "[key]") if self._key else text
        return kept if kept.isascii() else kept.encode("utf-8", "replace").decode("utf-8")


def read_key(variable: str | None, setting: str) -> str | None:
    """The key in the environment variable that a setting of [synth] names; None where none is named.

    Raises:
        ModelError: if the variable is not set.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        what = f"the environment variable {variable} is not set"
        raise ModelError(Problem(f"[synth] {setting}", what, f"Set it: export {variable}=..."))
    return key


def _outcome(finish_reason: object, refusal: object, said: str) -> tuple[Outcome, str]:
    """The class of a text that arrived, and what the server said about it."""
    if refusal:
        return "refused", str(refusal)[:200]
    if finish_reason == "content_filter":
        return "filtered", "the server's content filter stopped it"
    if finish_reason == "length":
        return "cut", "it ended at the limit of its length"
    return ("ok", "") if said.strip() else ("empty", "there is no text in it")


def _count(told: object, bound: int) -> int:
    """The number of tokens that a server told, or the bound."""
    return told if isinstance(told, int) and told >= 0 else bound


def _without(able: Abilities, said: str) -> Abilities | None:
    """The Abilities without what a complaint names, or else without the schema, then the seed. None: nothing is left."""
    if "max_completion_tokens" in said and able.limit == "max_tokens":
        return replace(able, limit="max_completion_tokens")
    for word, option in _OPTIONS.items():
        if word in said and option not in able.dropped and option != "max_tokens":
            if option == "schema" and able.schema:
                return replace(able, schema=False)
            if option != "schema":
                return replace(able, dropped=(*able.dropped, option))
    if able.schema:
        return replace(able, schema=False)
    return replace(able, dropped=(*able.dropped, "seed")) if "seed" not in able.dropped else None


def _message(error: openai.APIStatusError) -> str:
    """What a server says about its no, in one line."""
    body = error.body
    inner = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(inner, dict):
        said = " ".join(str(inner[k]) for k in ("message", "detail", "code", "type", "param") if inner.get(k))
        inner = said or json.dumps(inner)
    return " ".join(str(inner or error.response.text or "nothing").split())[:300]


def _seconds(retry_after: str | None, milliseconds: str | None) -> float | None:
    """The seconds that Retry-After asks for: a number of them, or a date."""
    for text, unit in ((milliseconds, 0.001), (retry_after, 1.0)):
        if text and re.fullmatch(r"\s*\d{1,9}(\.\d*)?\s*", text):
            return float(text) * unit
    try:
        return max(0.0, parsedate_to_datetime(retry_after or "").timestamp() - time.time())
    except ValueError:
        return None
