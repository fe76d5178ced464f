"""OpenAssistant: trees of messages, as trees, as their root message, or flat (JSONL, or Parquet with parallel lists).

A tree has many conversations in it: where several people answered, reviewers ranked the answers. `best` follows the best
ranked answer from the root to the last that an assistant gave; `all` takes every answer once, behind the path that leads to it.
The unit that is read, repaired or skipped is the tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from whet.data.corpora.format import (
    BAD_FIELD,
    FILTERED,
    Format,
    Item,
    Options,
    Record,
    Unusable,
    as_object,
    attempt,
    has,
    share,
    text,
)
from whet.data.corpora.turns import EMPTY_TURN, UNANSWERED, role_of, to_example, to_item
from whet.data.examples import has_content
from whet.example import Drop, Example, Message

NO_PARENT = "no_parent"
UNGROUPED = "ungrouped"
TAKES = ("paths", "languages", "unreviewed")
MAX_DEPTH = 200


@dataclass
class _Node:
    """A message and the answers to it, best first."""

    message: Message
    rank: float
    refused: str  # why it is not read; empty if it is
    replies: list[_Node] = field(default_factory=list)


def _trees(records: Iterator[Record], options: Options) -> Iterator[Item]:
    """The Items of a file with one tree a record."""
    for record in records:
        yield attempt(record, lambda record: _item(record, _tree(_root(record.value), options), options))


def _flat(records: Iterator[Record], options: Options) -> Iterator[Item]:
    """The Items of a file with one message a record, the messages of a tree one behind the other."""
    seen: set[str] = set()
    for tree_id, messages in groupby(records, _tree_id):
        group = list(messages)
        if tree_id in seen:
            detail = "other messages stand between those of its tree; sort the file by message_tree_id"
            yield Item(group[0].origin, drops=tuple(record.drop(UNGROUPED, detail) for record in group))
        else:
            seen.add(tree_id)
            yield _planted(group, options)


def _tree_id(record: Record) -> str:
    value = record.value if isinstance(record.value, dict) else {}
    return str(value.get("message_tree_id") or value.get("message_id") or record.id)


def _planted(records: Sequence[Record], options: Options) -> Item:
    """The Item of the messages of one tree; it stands where the first of them does."""
    nodes: dict[str, _Node] = {}
    root, faults, orphans = None, [], []
    for record in records:
        try:
            value = as_object(record.value)
            nodes[text(value, "message_id")] = node = _node(value, options)
        except Unusable as fault:
            faults.append(record.drop(fault.reason, fault.detail))
            continue
        if value.get("parent_id") is None and root is None:
            root = node
        else:
            orphans.append((record, str(value.get("parent_id")), node))
    for record, parent, node in orphans:
        if parent in nodes:
            nodes[parent].replies.append(node)
        else:
            faults.append(record.drop(NO_PARENT, f"the message that it answers, {parent}, is not here"))
    if root is None:
        faults = faults or [records[0].drop(NO_PARENT, "the tree has no first message")]
        return Item(records[0].origin, drops=tuple(faults))
    return _item(records[0], root, options, faults)


def _root(value: Any) -> dict[str, Any]:
    """The first message of a tree, which may stand in a wrapper."""
    tree = as_object(value)
    return as_object(tree["prompt"]) if "prompt" in tree else tree


def _tree(value: dict[str, Any], options: Options, depth: int = 1) -> _Node:
    """The tree of a message that holds its replies."""
    if depth > MAX_DEPTH:
        raise Unusable(BAD_FIELD, f"it is deeper than {MAX_DEPTH} messages")
    node, replies = _node(value, options), value.get("replies") or []
    if not isinstance(replies, list):
        raise Unusable(BAD_FIELD, "the field 'replies' is no list")
    node.replies = [_tree(as_object(reply), options, depth + 1) for reply in replies]
    return node


def _node(value: dict[str, Any], options: Options) -> _Node:
    """The node of one message, without its replies."""
    rank = value.get("rank")
    rank = rank if isinstance(rank, (int, float)) else float("inf")  # unranked: behind the ranked, in the order of the file
    return _Node(Message(role_of(text(value, "role")), text(value, "text")), rank, _why_refused(value, options))


def _why_refused(value: dict[str, Any], options: Options) -> str:
    language = value.get("lang")
    if options.languages and language not in options.languages:
        return f"its language is {language}"
    if options.unreviewed:
        return ""
    return "it was deleted" if value.get("deleted") else "reviewers refused it" if value.get("review_result") is False else ""


def _item(record: Record, root: _Node, options: Options, faults: Sequence[Drop] = ()) -> Item:
    """The Item of a tree, without the messages that are refused and what hangs on them."""
    if root.refused:
        return Item(record.origin, drops=(*faults, record.drop(FILTERED, f"its first message is not read: {root.refused}")))
    refused = _prune(root)
    drops = [*faults, *(record.drop(FILTERED, f"a message and the answers to it are not read: {why}") for why in refused)]
    if options.paths == "best":
        return to_item(record, _best_path(root), repairs=drops)
    examples: list[Example] = []
    for before, answer in _answers(root, ()):
        if has_content(answer):
            examples.append(to_example(record, len(examples) + 1, before, answer, record.id))
        else:
            drops.append(record.drop(EMPTY_TURN, "an answer is empty"))
    if not examples and not drops:
        drops = [record.drop(UNANSWERED, "it has no answer")]
    return Item(record.origin, tuple(examples), tuple(drops))


def _prune(node: _Node) -> list[str]:
    """Takes the refused out of a tree and puts the best replies first; why each was refused."""
    refused = [reply.refused for reply in node.replies if reply.refused]
    node.replies = sorted((reply for reply in node.replies if not reply.refused), key=lambda reply: reply.rank)
    return refused + [why for reply in node.replies for why in _prune(reply)]


def _best_path(root: _Node) -> list[Message]:
    """The messages along the best replies, to the last that an assistant gave."""
    path, node = [root.message], root
    while node.replies:
        node = node.replies[0]
        path.append(node.message)
    while len(path) > 1 and path[-1].role == "user":  # nobody has answered there
        path.pop()
    return path


def _answers(node: _Node, before: tuple[Message, ...]) -> Iterator[tuple[tuple[Message, ...], str]]:
    """Each answer of an assistant in a tree, behind the messages that lead to it."""
    if node.message.role == "assistant" and before:
        yield before, node.message.text
    for reply in node.replies:
        yield from _answers(reply, (*before, node.message))


def _is_tree(value: Any) -> bool:
    is_wrapped = isinstance(value, dict) and isinstance(value.get("prompt"), dict) and "message_id" in value["prompt"]
    return is_wrapped or has("message_id", "replies", "text", "role")(value)


OASST = Format(
    name="oasst",
    title="OpenAssistant message trees",
    fields=("message_tree_id", "tree_state", "prompt"),
    sniff=lambda values: share(values, _is_tree),
    read=_trees,
    takes=TAKES,
)
OASST_MESSAGES = Format(
    name="oasst-messages",
    title="OpenAssistant flat messages",
    fields=("message_id", "parent_id", "text", "role", "lang"),
    sniff=lambda values: share(values, has("message_id", "parent_id", "text", "role", without=("replies",))),
    read=_flat,
    takes=TAKES,
)
