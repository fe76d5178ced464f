"""What is asked of a model and what comes back: Request, Reply, Answer. Plain records, told apart by their key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

# ok: a whole text. cut: it ended at max_tokens. refused, filtered, empty: there is no text to use. parked: no answer yet; it is
# asked for again at the end, and in the next call.
Outcome = Literal["ok", "cut", "refused", "filtered", "empty", "parked"]
BYTES_OF_MARKUP = 24  # tokens at most that a chat template puts around one message, counted as bytes are: one token each


@dataclass(frozen=True, slots=True)
class Parameters:
    """How an answer is drawn, under the names of the OpenAI API; None leaves a choice to the server."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int = 1024
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The parameters that are set, as plain JSON values."""
        given = {name: getattr(self, name) for name in self.__slots__}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items() if v not in (None, ())}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Parameters:
        """The Parameters that `to_json` wrote."""
        return cls(**{**record, "stop": tuple(record.get("stop", ()))})


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the talk: `system`, `user` or `assistant`, and what is said."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model.

    Attributes:
        purpose: what the answer is for, in the method's own words (`rows`, `label`); the method reads it back in `take`.
        messages: the talk so far.
        parameters: how the answer is drawn.
        seed: of the draw; two requests that differ in it only are two requests.
        schema: the JSON Schema that the answer has where the server can promise that.
        context: what `take` needs to know about the request; plain JSON values, no part of the key.
    """

    purpose: str
    messages: tuple[Message, ...]
    parameters: Parameters
    seed: int
    schema: Mapping[str, Any] | None = None
    context: Mapping[str, Any] = field(default_factory=dict)

    def key(self, model: str) -> str:
        """SHA-256 of all that decides the answer: model, messages, parameters, seed and schema."""
        asked = [
            model, [[m.role, m.content] for m in self.messages], self.parameters.to_json(), self.seed, self.schema
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(asked, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()

    def prompt_bound(self) -> int:
        """A number of tokens that the prompt cannot pass: no tokenizer makes more tokens than there are bytes."""
        return sum(len(m.content.encode("utf-8", "replace")) + BYTES_OF_MARKUP for m in self.messages) + BYTES_OF_MARKUP

    def with_room(self, max_tokens: int) -> Request:
        """The same request with another limit on the answer's length."""
        return replace(self, parameters=replace(self.parameters, max_tokens=max_tokens))

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {
            "purpose": self.purpose, "messages": [[m.role, m.content] for m in self.messages],
            "parameters": self.parameters.to_json(), "seed": self.seed, "schema": self.schema, "context": dict(self.context),
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Request:
        """The Request that `to_json` wrote."""
        messages = tuple(Message(role, content) for role, content in record["messages"])
        return cls(**{**record, "messages": messages, "parameters": Parameters.from_json(record["parameters"])})


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model sent back to one request, classified. Token counts are the server's own where it gives some."""

    outcome: Outcome
    text: str
    tokens_in: int
    tokens_out: int
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A Request with its Reply, as a method's `take` gets it. `key` names both in the journal."""

    request: Request
    reply: Reply
    key: str

    @property
    def text(self) -> str:
        """What the model wrote."""
        return self.reply.text

    @property
    def is_usable(self) -> bool:
        """Whether there is a text to read rows from; a cut one holds whole rows as well."""
        return self.reply.outcome in ("ok", "cut")
