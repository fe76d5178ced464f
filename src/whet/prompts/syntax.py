"""What a Jinja template says, read from its syntax tree and never run: which fields it needs, and whether slots would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, TemplateSyntaxError, nodes

from whet.prompts.slots import escape

CHOICES = "answer_choices"
# What is there without a field of that name: Jinja's and promptsource's own names.
KNOWN = {CHOICES, *"range zip dict namespace cycler joiner lipsum loop caller varargs kwargs self".split()}
PIPES = "|||"


@dataclass(frozen=True, slots=True)
class Simple:
    """A Jinja template as two texts with slots. `label` is the field that chooses among `answer_choices`; None: none does."""

    prompt: str
    completion: str
    label: str | None


@lru_cache(1024)
def parse(text: str) -> nodes.Template:
    """The syntax tree.

    Raises:
        ValueError: with the reason, if it is no Jinja.
    """
    try:
        return Environment().parse(text)
    except TemplateSyntaxError as error:
        raise ValueError(f"{error.message} (line {error.lineno})") from None
    except RecursionError:
        raise ValueError("it nests too deep") from None


def names(*texts: str) -> tuple[str, ...]:
    """The fields that these templates need, in order of appearance: the names that are read and never set.

    Raises:
        ValueError: with the reason, if one of them is no Jinja.

    Example:
        >>> names("{% set who = author %}{{ who }}: {{ text }} ||| {{ answer_choices[label] }}")
        ('author', 'text', 'label')
    """
    found = [name for text in texts for name in parse(text).find_all(nodes.Name)]
    own = {name.name for name in found if name.ctx != "load"}
    return tuple(dict.fromkeys(name.name for name in found if name.name not in own | KNOWN))


def label_field(text: str) -> str | None:
    """The field that chooses among the answers, as `label` in `answer_choices[label - 1]`; None if none does.

    Example:
        >>> label_field("{{ text }} ||| {{ answer_choices[label - 1] }}")
        'label'
    """
    fields = names(text)
    for chosen in parse(text).find_all(nodes.Getitem):
        index = chosen.arg.left if isinstance(chosen.arg, (nodes.Add, nodes.Sub)) else chosen.arg
        if _is_choices(chosen.node) and isinstance(index, nodes.Name) and index.name in fields:
            return index.name
    return None


def simple(text: str, answer_choices: str = "") -> Simple | None:
    """The template as two texts with slots; None if only Jinja can say it.

    Example:
        >>> simple('{{ text }} {{ "Spam" }}? ||| {% if label != -1 %}{{ answer_choices[label] }}{% endif %}', "No ||| Yes")
        Simple(prompt='{text} Spam?', completion='{answer}', label='label')
        >>> simple("{{ text | upper }} ||| {{ label }}") is None
        True
    """
    body, label, choices = list(parse(text).body), label_field(text), split_choices(answer_choices) or ()
    if label is not None and (not choices or "answer" in names(text)):
        return None  # answers that differ from row to row; or two things of one name
    if body and _written(body[-1], choices) is not None and not (_written(body[-1], choices) or "").strip():
        body.pop()
    guarded = _guarded(body[-1], label, choices) if body else None  # an answer that is left out where the label is unknown
    written = [_written(node, choices) for node in (body[:-1] if guarded else body)] + ([guarded] if guarded else [])
    if any(part is None for part in written):
        return None
    prompt, pipes, completion = "".join(part or "" for part in written).partition(PIPES)
    if not pipes or PIPES in completion or (guarded and PIPES in guarded):
        return None
    found = Simple(prompt.strip(), completion.strip(), label)
    return found if found.prompt and found.completion else None


def split_choices(text: str) -> Sequence[str] | None:
    """The answers that a template chooses from, if they are the same for every row.

    Example:
        >>> split_choices("No ||| Yes"), split_choices("{{ choices }}")
        (['No', 'Yes'], None)
    """
    return None if "{" in text or not text else [choice.strip() for choice in text.split(PIPES)]


def _guarded(node: nodes.Node, label: str | None, choices: Sequence[str]) -> str | None:
    """The answer in `{% if label != -1 %}answer{% endif %}`."""
    if not (isinstance(node, nodes.If) and not node.else_ and not node.elif_ and isinstance(node.test, nodes.Compare)):
        return None
    unknown = nodes.Compare(nodes.Name(label or "", "load"), [nodes.Operand("ne", nodes.Neg(nodes.Const(1)))])
    parts = [_written(part, choices) for part in node.body]
    return "".join(part or "" for part in parts) if node.test == unknown and all(parts) else None


def _written(node: nodes.Node, choices: Sequence[str]) -> str | None:
    """A part of a template as text with slots, if it is nothing but text, constants, fields and answers."""
    if not isinstance(node, nodes.Output):
        return None
    pieces = [_piece(part, choices) for part in node.nodes]
    return None if any(piece is None for piece in pieces) else "".join(piece or "" for piece in pieces)


def _piece(node: nodes.Node, choices: Sequence[str]) -> str | None:
    if isinstance(node, nodes.TemplateData):
        return escape(node.data)
    if isinstance(node, nodes.Name) and node.name not in {*KNOWN, "options"}:
        return f"{{{node.name}}}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Name):
        return "{answer}" if _is_choices(node.node) else None
    constant = _constant(node, choices)
    return None if constant is None or PIPES in constant else escape(constant)


def _constant(node: nodes.Node, choices: Sequence[str]) -> str | None:
    """A text that is the same for every row: written there, one of the answers, or all of them joined."""
    if isinstance(node, nodes.Const):
        return str(node.value)
    if isinstance(node, nodes.Getitem) and _is_choices(node.node) and isinstance(node.arg, nodes.Const):
        at = node.arg.value
        return choices[at] if isinstance(at, int) and 0 <= at < len(choices) else None
    if isinstance(node, nodes.Filter) and node.name == "join" and len(node.args) == 1:
        joined, between = node.node, node.args[0]
    elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr == "join":
        joined, between = (*node.args, None)[0], node.node.node
    else:
        return None
    return str(between.value).join(choices) if choices and _is_choices(joined) and isinstance(between, nodes.Const) else None


def _is_choices(node: nodes.Node | None) -> bool:
    return isinstance(node, nodes.Name) and node.name == CHOICES
