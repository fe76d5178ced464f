"""The sandbox's other side: a process of its own that renders Jinja templates, and can do nothing else.

`sandbox.py` starts this file by its path, with an empty environment, and speaks to it in lines of JSON. It imports jinja2 and
nothing of whet. Before it reads the first line it gives up what a template could misuse: it can open no file and no socket,
start no program that needs one, write to no disk, and take no more memory than it is given. A line that takes too much
processor time ends the process.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import FunctionLoader, TemplateError, TemplateSyntaxError, Undefined, UndefinedError, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

LARGEST_NUMBER_BITS = 4096
# Makes Python and Jinja read what they read once, when it is first needed (an error's module too): later nothing can be opened.
WARM_UP = "{{ 'a'|wordwrap }}{{ 'a'|pprint }}{{ '<b>&amp;</b>'|striptags }}{{ lipsum(1) }}{{ nothing }}"


class Missing(Undefined):
    """A value that is not there: false in a test, as in plain Jinja, but an error as soon as it is to be written or walked."""

    __slots__ = ()
    __str__ = __iter__ = __len__ = Undefined._fail_with_undefined_error


class Cell(SandboxedEnvironment):
    """Jinja with what promptsource adds, whose templates may change their own lists and tables and reach nothing else."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, most_characters: int) -> None:
        super().__init__(undefined=Missing, loader=FunctionLoader(refuse_file), finalize=written)
        self.most_characters = most_characters
        self.filters |= {"choice": choice, "most_frequent": most_frequent}
        self.globals["zip"] = zip

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """No value that could be ignored, but the end: a template that asks for this means no good."""
        raise SecurityError(f"the attribute {attribute!r} of a {type(obj).__name__} is out of its reach")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """A product or power, unless it would be huge; memory and time are bounded anyway, and this says why."""
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            too_large = left.bit_length() * right > LARGEST_NUMBER_BITS
        elif isinstance(left, int) and isinstance(right, int):
            too_large = left.bit_length() + right.bit_length() > LARGEST_NUMBER_BITS
        else:
            sizes = [value if isinstance(value, int) else len(value) for value in (left, right) if not isinstance(value, float)]
            too_large = len(sizes) == 2 and sizes[0] * sizes[1] > self.most_characters
        if too_large:
            raise OverflowError(f"the result of {operator} would be too large")
        return super().call_binop(context, operator, left, right)


def written(value: Any) -> Any:
    """What `{{ ... }}` writes: the value, unless it is a function or a stream, whose name in Python is another each time."""
    if not isinstance(value, Undefined) and (callable(value) or isinstance(value, Iterator)):
        raise TypeError(f"a {type(value).__name__} is written where a text is meant; `|list` or `|join` makes one of a stream")
    return value


def refuse_file(name: str) -> None:
    """What `include`, `import` and `extends` find: nothing."""
    raise SecurityError(f"the file {name!r} is out of its reach")


@pass_context  # and so, like Jinja's own `random`, drawn when the template is rendered and not once when it is compiled
def choice(context: Context, items: Sequence[Any]) -> Any:
    """One of the items, at random."""
    return random.choice(items)


def most_frequent(items: Sequence[Any]) -> list[Any]:
    """All items that occur as often as the most frequent one, in order of appearance."""
    counts = Counter(items)
    return [item for item, count in counts.items() if count == max(counts.values())]


def answer(line: bytes, cell: Cell, compiled: Any) -> dict[str, str]:
    """`{"text": ...}` for a line `{"template", "fields", "seed"}`; or `{"fault": its kind, "detail": ...}`."""
    asked: Mapping[str, Any] = json.loads(line)
    random.seed(asked["seed"])  # `choice`, `random` and `lipsum` draw from here, and this process has no other use for it
    try:
        parts, length = [], 0
        for part in compiled(asked["template"]).generate(asked["fields"]):
            parts.append(part)
            length += len(part)
            if length > cell.most_characters:
                return {"fault": "too_much", "detail": f"it writes more than {cell.most_characters:,} characters"}
        return {"text": "".join(parts)}
    except SecurityError as error:
        return {"fault": "forbidden", "detail": str(error)}
    except TemplateSyntaxError as error:
        return {"fault": "syntax", "detail": f"{error.message} (line {error.lineno})"}
    except UndefinedError as error:
        return {"fault": "missing", "detail": str(error)}
    except (MemoryError, OverflowError) as error:
        return {"fault": "too_much", "detail": str(error) or "it takes more memory than it may"}
    except RecursionError:
        return {"fault": "too_much", "detail": "it calls itself, or nests, without end"}
    except (TemplateError, ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        return {"fault": "error", "detail": f"{type(error).__name__}: {error}"[:500]}


def lock_up(memory_bytes: int) -> None:
    """Gives up all that rendering does not need."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks; then our input ends, and so do we
    limits = {resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_NOFILE: 3, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    for limit, value in limits.items():
        try:
            resource.setrlimit(limit, (value, value))
        except (OSError, ValueError):  # macOS knows no bound on memory; the bound on processor time holds there too
            continue


def main(seconds: float, memory_bytes: int, most_characters: int) -> None:
    """Answers each line of stdin with one of stdout, until there are no more."""
    cell = Cell(most_characters)
    compiled = lru_cache(256)(lambda text: cell.from_string(text))
    answer(json.dumps({"template": WARM_UP, "fields": {}, "seed": 0}).encode(), cell, compiled)
    lock_up(memory_bytes)
    pipe = sys.stdout.buffer
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, seconds)  # unanswered, SIGPROF ends this process, whatever it is doing
        found = json.dumps(answer(line, cell, compiled)).encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        pipe.write(found + b"\n")
        pipe.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
