"""What a template costs: `python benchmarks/templates.py [--rows 20000]`.

Rows of premise and hypothesis, about 300 characters each, are rendered by one template in three ways: slots, the same text in
Jinja through the sandbox's process, and in Jinja without any sandbox. Then bombs: how long until each is stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jinja2

from whet.example import Template
from whet.prompts.library import open_set
from whet.prompts.render import render
from whet.prompts.sandbox import Fault, Sandbox

JINJA = "Judge the claim by its source.\n\nClaim: {{ hypothesis }}\nSource: {{ premise }} ||| {{ answer_choices[label] }}"
CHOICES = "supported ||| not enough information ||| refuted"
BOMBS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a list that extends itself": "{% set l = [1] %}{% for i in range(60) %}{% set _ = l.extend(l) %}{% endfor %}",
    "a wide format": "{{ '{:>9999999999}'.format(1) }}",
    "a rounding": "{{ 1.5 | round(10**9, 'ceil') }}",
}


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=20_000)
    count = parser.parse_args().rows
    rows = [{"premise": f"premise {n} " * 15, "hypothesis": f"what follows {n} " * 8, "label": n % 3} for n in range(count)]
    slotted = open_set("nli").named("fact check")
    named = [{**row, "label": ("entailment", "neutral", "contradiction")[row["label"] % 3]} for row in rows]  # type: ignore[operator]
    cell = Template("jinja", completion="", jinja=JINJA, answer_choices=CHOICES)
    bare = jinja2.Environment().from_string(JINJA)
    ways: dict[str, tuple[list[dict[str, object]], Callable[[dict[str, object]], object]]] = {
        "slots": (named, lambda row: render(slotted, row, with_options=False)),
        "Jinja in the sandbox": (rows, lambda row: render(cell, row)),
        "Jinja without a sandbox": (rows, lambda row: bare.render(**row, answer_choices=CHOICES.split("|||"))),
    }
    print(f"{'template':28} {'rows/s':>10} {'µs/row':>8}")
    for name, (given, way) in ways.items():
        began = time.perf_counter()
        for row in given:
            way(row)
        seconds = time.perf_counter() - began
        print(f"{name:28} {count / seconds:10,.0f} {seconds / count * 1e6:8.1f}")
    print(f"\n{'bomb':28} {'seconds':>10}")
    sandbox = Sandbox()
    for name, template in BOMBS.items():
        sandbox.render("{{ 1 }}", {})
        began = time.perf_counter()
        try:
            sandbox.render(template, {})
        except Fault as fault:
            print(f"{name:28} {time.perf_counter() - began:10.2f}  {fault.detail}")
    sandbox.close()


if __name__ == "__main__":
    main()
