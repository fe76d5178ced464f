"""The sandbox: templates that reach for Python's insides are refused, bombs are stopped, honest ones that change lists run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from whet.prompts import cell, sandbox
from whet.prompts.sandbox import Fault, Sandbox

# Ways out of a Jinja template that work where there is no sandbox, or a leaky one.
ESCAPES = (
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ().__class__.__bases__[0].__subclasses__() }}",
    "{{ {}.__class__.__base__ }}",
    "{{ [].__class__.__base__.__subclasses__()[40]('x') }}",
    "{{ ''['__class__'] }}",
    "{{ ''['__cla' ~ 'ss__'] }}",
    "{{ ''['__cla' + 'ss__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('__cla' ~ 'ss__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ (''|attr('__class__'))|attr('__mro__') }}",
    "{{ [''] | map(attribute='__class__') | list }}",
    "{{ [''] | map('attr', '__class__') | list }}",
    "{{ [''] | selectattr('__class__') | list }}",
    "{{ [''] | groupby('__class__') | list }}",
    "{{ [''] | sum(attribute='__class__') }}",
    "{{ [''] | sort(attribute='__class__.__name__') }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{x.__class__.__mro__}'.format_map({'x': ''}) }}",
    "{{ ('{0.__cla' ~ 'ss__}').format('') }}",
    "{{ ('{0.__class__}'|attr('format'))('') }}",
    "{{ ['{0.__class__}'.format] | map('string') | list }}{{ '{0.__class__}'.format(1) }}",
    "{{ lipsum.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ range.__class__ }}",
    "{{ dict.__base__ }}",
    "{{ dict.mro() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{% set x = cycler %}{% set y = x.__init__ %}{{ y }}",
    "{% for name in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% macro m() %}{{ caller.__init__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% if ''.__class__ %}in{% else %}out{% endif %}",
    "{% set x = ''.__class__ %}nothing is written",
    "{% with x = ''.__class__ %}{% endwith %}",
    "{{ ''.__class__ | default('safe') }}",
    "{{ ''.__class__ is defined }}",
    "{{ (1).__class__.__base__ }}",
    "{{ text.__class__ }}",
    "{{ (text | list).__class__ }}",
    "{{ seq.append.__self__.__class__ }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import system %}",
    "{% extends 'x' %}",
)
# Reaching for what a web framework would hand over, or for builtins: such names simply do not exist.
ABSENT = ("{{ config }}", "{{ request.application }}", "{{ open('x') }}", "{{ __import__('os') }}", "{{ eval('1') }}",
          "{{ self.template }}", "{{ ''.format.im_func }}", "{{ get_flashed_messages.x }}",
          "{{ zip.__self__ }}", "{% macro m() %}{% endmacro %}{{ m.__globals__ }}")  # fmt: skip
BOMBS = (
    "{{ 'a' * 10**9 }}",
    "{{ [0] * 10**9 }}",
    "{{ 9**(9**(9**9)) }}",
    "{{ 10**4000 * 10**4000 }}",
    "{{ range(10**9) | list }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{{ text * 1000 }}{% endfor %}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "{% for i in range(60) %}{% set _ = seq.extend(seq) %}{% endfor %}{{ seq | length }}",
    "{{ 'a' | center(10**10) }}",
    "{{ 'a'.ljust(10**10) }}",
    "{{ '{:>9999999999}'.format(1) }}",
    "{{ '%9999999999d' | format(1) }}",
    "{{ 'x' | replace('', 'y' * 999999) | replace('', 'y' * 999999) | length }}",
    "{{ 1.5 | round(10**9, 'ceil') }}",
    "{{ ('a' * 999) | indent(10**10, true) }}",
    "{{ lipsum(10**7) }}",
    "{{ ([[1] * 1000] * 1000) | sum(start=[]) | length }}",
    "{{" + "(" * 20000 + "1" + ")" * 20000 + "}}",
    "{{ " + "-" * 50000 + "1 }}",
    "{% if 1 %}" * 5000,
)


@pytest.fixture(scope="module")
def quick() -> Iterator[Sandbox]:
    """A sandbox whose templates may take a fifth of a second."""
    made = Sandbox(seconds=0.2)
    yield made
    made.close()


def test_there_are_enough_of_them() -> None:
    assert len(set(ESCAPES)) >= 50 and len(set(BOMBS)) >= 20


@pytest.mark.parametrize("template", ESCAPES)
def test_an_escape_is_refused(quick: Sandbox, template: str) -> None:
    with pytest.raises(Fault) as caught:
        quick.render(template, {"text": "t", "seq": [1]})
    assert caught.value.kind == "forbidden", str(caught.value)


@pytest.mark.parametrize("template", ABSENT)
def test_what_is_not_there_is_no_way_out(quick: Sandbox, template: str) -> None:
    with pytest.raises(Fault) as caught:
        quick.render(template, {"text": "t"})
    assert caught.value.kind == "missing", str(caught.value)


@pytest.mark.parametrize("template", BOMBS, ids=lambda text: text[:40])
def test_a_bomb_is_stopped_and_the_next_template_is_rendered(quick: Sandbox, template: str) -> None:
    with pytest.raises(Fault) as caught:
        quick.render(template, {"text": "abc" * 1000, "seq": [1]})
    assert caught.value.kind in ("too_much", "syntax"), str(caught.value)
    assert quick.render("{{ text }}", {"text": "still here"}) == "still here"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% set seen = [] %}{% for w in text.split() %}{% set _ = seen.append(w) %}{% endfor %}{{ seen | join('-') }}", "a-b"),
        ("{% set t = {'a': 1} %}{{ t.update({'b': 2}) or '' }}{{ t.a + t.b }}", "3"),
        ("{% set l = [3, 1, 2] %}{% set _ = l.sort() %}{{ l.pop() }}{{ l }}", "3[1, 2]"),
        ("{% set l = [1] %}{% set _ = l.insert(0, 9) %}{% set _ = l.extend([5]) %}{{ l | join }}", "915"),
        ("{% set t = {} %}{% set _ = t.setdefault('k', []).append('v') %}{{ t.k[0] }}{{ t.items() | list | length }}", "v1"),
        ("{{ choices.pop(0) }}{{ choices | length }}", "x1"),
        ("{% for a, b in zip([1, 2], [3, 4]) %}{{ a * b }} {% endfor %}", "3 8 "),
        ("{{ [1, 2, 2, 3, 3] | most_frequent | join(',') }}", "2,3"),
        ("{{ 'Hello %s' | format('you') }}{{ '{}!'.format('you') }}", "Hello youyou!"),
        ("{{ missing | default('none') }}{% if missing %}yes{% endif %}{{ missing is defined }}", "noneFalse"),
        ("{% macro q(x) %}<{{ x }}>{% endmacro %}{{ q(text) }}", "<a b>"),
        ("{{ 2**10 }} {{ 'ab' * 3 }} {{ [0] * 2 }} {{ 1.5 * 2 }}", "1024 ababab [0, 0] 3.0"),
        ("{{ 'a b' | wordwrap(1) }} {{ seq | pprint }} {{ '<i>x</i> &amp;' | striptags }} {{ {'a': 1} | tojson }}",
         'a\nb [1] x & {"a": 1}'),
        ("é {{ text }} \N{GRINNING FACE}", "é a b \N{GRINNING FACE}"),
    ],
)
def test_an_honest_template_is_rendered(quick: Sandbox, template: str, text: str) -> None:
    choices = ["x", "y"]
    assert quick.render(template, {"text": "a b", "choices": choices, "seq": [1]}) == text
    assert choices == ["x", "y"], "a template changes its own copy only"


def test_the_seed_decides_what_is_random(quick: Sandbox) -> None:
    template = "{{ range(1000) | list | choice }} {{ range(1000) | random }}"
    made = [quick.render(template, {}, seed) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_a_value_that_is_written_and_not_there_is_an_error(quick: Sandbox) -> None:
    for template in ("{{ text }}", "{% for x in text %}{% endfor %}", "{{ row.text }}", "{{ seq[7] }}"):
        with pytest.raises(Fault, match=r"text|7|no element") as caught:
            quick.render(template, {"row": {}, "seq": [1]})
        assert caught.value.kind == "missing"


def test_a_fault_of_syntax_names_its_line(quick: Sandbox) -> None:
    with pytest.raises(Fault, match=r"line 2") as caught:
        quick.render("a\n{% if %}", {})
    assert caught.value.kind == "syntax"


def test_a_template_does_not_see_the_fields_of_another(quick: Sandbox) -> None:
    assert quick.render("{% set kept = text %}{{ kept }}", {"text": "secret"}) == "secret"
    with pytest.raises(Fault):
        quick.render("{{ kept }}", {})


def test_threads_get_their_own_answers(quick: Sandbox) -> None:
    wrong: list[int] = []

    def ask(name: str) -> None:
        wrong.extend(n for n in range(50) if quick.render("{{ name }}{{ n }}", {"name": name, "n": n}) != f"{name}{n}")

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_interrupted_question_leaves_no_answer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Sandbox()
    assert made.render("{{ 1 }}", {}) == "1"
    process = made._process
    assert process and process.stdin

    def interrupt() -> bytes:
        raise KeyboardInterrupt

    pressed = SimpleNamespace(stdin=process.stdin, stdout=SimpleNamespace(readline=interrupt))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(made, "_running", lambda: pressed)  # Ctrl-C after the question and before the answer
        made.render("{{ 2 }}", {})
    assert made._process is None
    assert made.render("{{ 3 }}", {}) == "3"
    made.close()


def test_a_forked_process_has_a_sandbox_of_its_own() -> None:
    made = Sandbox()
    assert made.render("{{ 1 }}", {}) == "1"
    made._owner = os.getpid() + 1  # as a fork would find it
    parent = made._process
    assert made.render("{{ 2 }}", {}) == "2"
    assert made._process is not parent and parent is not None
    parent.kill()
    parent.communicate()
    made.close()


def test_the_locked_process_opens_nothing() -> None:
    """What is left to whoever should get past Jinja's sandbox: no file, no socket, no program, little memory, no secrets."""
    code = """
import os, socket, subprocess, sys
sys.path.insert(0, sys.argv[1])
import cell
cell.lock_up(300 * 2**20)
done = []
for attempt in (lambda: open("/etc/passwd"), lambda: open("new", "w"), socket.socket, lambda: subprocess.run(["true"]),
                lambda: os.open(".", os.O_RDONLY), lambda: bytes(10**9)):
    try:
        attempt()
        done.append(attempt)
    except (OSError, MemoryError, ImportError):
        pass
os.write(1, f"{len(done)} {sorted(os.environ)}".encode())
"""
    folder = str(Path(cell.__file__).parent)
    found = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, env={}, timeout=60, check=True)
    assert found.stdout.startswith("0 ")


def test_the_process_gets_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    made = Sandbox()
    made.render("{{ 1 }}", {})
    assert made._process
    listed = Path(f"/proc/{made._process.pid}/environ")
    if not listed.exists():
        pytest.skip("needs /proc")
    assert b"hunter2" not in listed.read_bytes()
    made.close()


def test_bounds_are_generous_by_default() -> None:
    long = "word " * 100_000
    assert sandbox.render("{{ text | upper }}", {"text": long}) == long.upper()
    with pytest.raises(Fault, match="1,048,576 characters"):
        sandbox.render("{{ text }}{{ text }}{{ text }}", {"text": long})


@pytest.mark.parametrize("template", ["{{ text.upper }}", "{{ [1]|map('string') }}", "{% macro m() %}x{% endmacro %}{{ m }}"])
def test_a_function_or_a_stream_is_no_text(template: str) -> None:
    """Python's name of it holds an address in memory, which is another in every process: no two runs would be alike."""
    with pytest.raises(Fault, match="is written where a text is meant") as caught:
        sandbox.render(template, {"text": "hi"})
    assert caught.value.kind == "error"
