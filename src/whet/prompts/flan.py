"""FLAN's `templates.py`: a Python file whose tables of patterns are read from its syntax tree, and which is never run.

`PATTERNS = {"rte": [("{premise}\\n\\n...{options_}", "{answer}"), ...]}`, and `FEWSHOT_PATTERNS` with a FewShotPattern each.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from whet.errors import DataError, Problem
from whet.example import Template
from whet.prompts import slots
from whet.prompts.sets import Repair, TemplateSet, needed, require_sound

TABLES = ("PATTERNS", "FEWSHOT_PATTERNS")
OPTION_SLOTS = ("options_", "options_str")
# `{hypothesis}n\n`: a backslash got lost. A word that ends in n stands behind a letter, not behind a slot.
LOST_BACKSLASH = re.compile(r"\}n(?=\n)")


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One pattern of a task: its texts, what divides them, and the line it begins on."""

    inputs: str
    targets: str
    line: int
    between: str | None = None
    separator: str = "\n\n"


def read(text: str, where: str) -> TemplateSet:
    """The patterns of a file as templates `task-1`, `task-2`, ...; slips are mended and said.

    Raises:
        DataError: with everything that is wrong with it.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(Problem(where, f"it is not valid Python: {error}", "Name FLAN's templates.py")) from None
    templates: list[Template] = []
    repairs: list[Repair] = []
    problems: list[Problem] = []
    for table, node in _tables(tree):
        for key, value in zip(node.keys, node.values, strict=True):
            try:
                task = _string(key)
                patterns = [_pattern(item) for item in _items(value)]
                made = list(_templates(task, table == "FEWSHOT_PATTERNS", patterns))
            except ValueError as error:
                problems.append(Problem(where, str(error), "Write texts, or remove the entry"))
                continue
            templates += [template for template, _ in made]
            repairs += [repair for _, found in made for repair in found]
    if problems:
        raise DataError(*problems)
    if not templates:
        raise DataError(Problem(where, "it holds no PATTERNS", "Name FLAN's templates.py, or a file of that form"))
    target, about = Counter(t.target for t in templates).most_common(1)[0][0], f"FLAN patterns of {where}"
    found = TemplateSet(where.removesuffix(".py"), about, "generate", (), target, (), tuple(templates), tuple(repairs))
    require_sound(found, where)
    return replace(found, fields=needed(templates, target))


def _tables(tree: ast.Module) -> Iterator[tuple[str, ast.Dict]]:
    """The tables of patterns: what the names are set to at the top of the file, and what is added to them there."""
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Subscript) and _is_table(target.value):
                    yield ast.unparse(target.value), ast.Dict([target.slice], [node.value])
                elif _is_table(target) and isinstance(node.value, ast.Dict):
                    yield ast.unparse(target), node.value
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called, given = node.value.func, node.value.args
            if isinstance(called, ast.Attribute) and called.attr == "update" and _is_table(called.value):
                yield from ((ast.unparse(called.value), table) for table in given if isinstance(table, ast.Dict))


def _is_table(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in TABLES


def _items(node: ast.expr) -> Sequence[ast.expr]:
    if not isinstance(node, (ast.List, ast.Tuple)):
        raise ValueError(f"line {node.lineno}: a task's patterns are no list")
    return node.elts


def _pattern(node: ast.expr) -> _Pattern:
    """A pair of texts, or a call of FewShotPattern with texts by name."""
    if isinstance(node, ast.Tuple) and len(node.elts) == 2:
        return _Pattern(_string(node.elts[0]), _string(node.elts[1]), node.lineno)
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError(f"line {node.lineno}: this is neither a pair of texts nor a FewShotPattern with its texts by name")
    texts = {k.arg: _string(k.value) for k in node.keywords if k.arg and k.arg != "in_template_mix"}
    if not {"inputs", "targets"} <= texts.keys():
        raise ValueError(f"line {node.lineno}: it has no inputs or no targets")
    delimiter = texts.get("x_y_delimiter", "\n\n") + texts.get("targets_prefix", "")
    inputs = texts.get("inputs_prefix", "") + texts["inputs"]
    return _Pattern(inputs, texts["targets"], node.lineno, delimiter, texts.get("example_separator", "\n\n\n"))


def _string(node: ast.expr | None) -> str:
    """A text that is written in the file, in one piece or as a sum of pieces."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _string(node.left) + _string(node.right)
    raise ValueError(f"line {getattr(node, 'lineno', '?')}: this is no text")


def _templates(task: str, is_few_shot: bool, patterns: Sequence[_Pattern]) -> Iterator[tuple[Template, list[Repair]]]:
    """The templates of a task, each with what was mended in it. What most of them answer with is the task's answer, and those
    that write something else are turned around."""
    usual = Counter(_slot_names(p.targets, p.line) for p in patterns).most_common(1)[0][0] if patterns else ()
    for number, pattern in enumerate(patterns, 1):
        name = f"{task}-{'few-shot-' if is_few_shot else ''}{number}"
        target = usual[0] if len(usual) == 1 else ""
        yield (
            Template(
                name, _mended(pattern.inputs), _mended(pattern.targets), target,
                is_inverted=_slot_names(pattern.targets, pattern.line) != usual,
                between=pattern.between, separator=pattern.separator, task=task,
            ),
            [Repair(name, _evidence(text)) for text in (pattern.inputs, pattern.targets) if LOST_BACKSLASH.search(text)],
        )  # fmt: skip


def _slot_names(text: str, line: int) -> tuple[str, ...]:
    try:
        return tuple(slot for slot in slots.slots(text) if slot not in OPTION_SLOTS)
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from None


def _mended(text: str) -> str:
    """The pattern with whet's slot for the Options clause, and lost backslashes found again.

    Example:
        >>> _mended("{hypothesis}n\\n{options_}")
        '{hypothesis}\\n\\n{options}'
    """
    for slot in OPTION_SLOTS:
        text = text.replace(f"{{{slot}}}", "{options}")
    return LOST_BACKSLASH.sub("}\n", text)


def _evidence(text: str) -> str:
    at = LOST_BACKSLASH.search(text)
    assert at
    piece = text[max(0, at.start() - 24) : at.end() + 2]
    return f"{piece!r} has lost a backslash, and is read as {LOST_BACKSLASH.sub('}' + chr(10), piece)!r}"
