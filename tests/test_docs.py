"""The pages are tests: their commands and Python run, in order, one temporary folder a page, and show what the page shows.

What a page may say to this file, each in an HTML comment that the rendered page hides:

- `<!-- continues: start.md -->` anywhere: the page goes on in the folder that the other page leaves behind.
- `<!-- not run: REASON -->` right above a block: it is left out, counted and listed.
- `<!-- exits 2 -->` right above a console block: its last command ends with this exit code.

A block of another language with `title="speech.txt"` in its first line is a file that the page writes. In a console block,
`$ ` begins a command and the lines below it are what it prints; `...` stands for anything there.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import whet
from whet.prompts import set_file
from whet.recipe import known_keys

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNABLE = ("console", "bash", "python")
BLOCK = re.compile(
    r"(?:^<!--\s*(?P<note>[^\n]*?)\s*-->\n)?^```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it starts, its language, the file it is (if it is one), the comment above it."""

    place: str
    language: str
    title: str | None
    note: str
    body: str

    @property
    def left_out(self) -> bool:
        """Does the page say that this block is not run?"""
        return self.note.startswith("not run:")

    @property
    def exit_code(self) -> int:
        """The exit code that the page says its last command has."""
        return int(self.note.removeprefix("exits")) if self.note.startswith("exits") else 0


def name_of(page: Path) -> str:
    """A page as its readers call it: `README.md`, `docs/start.md`."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    found = []
    for match in BLOCK.finditer(text):
        title = re.search(r'title="([^"]+)"', match["info"])
        place = f"{name_of(page)}:{text.count(chr(10), 0, match.start()) + 1}"
        found.append(Block(place, match["language"], title[1] if title else None, match["note"] or "", match["body"]))
    assert text.count("```") == 2 * len(found), f"{name_of(page)}: a fence is not closed, or not at the start of its line"
    return found


ALL = {page: blocks(page) for page in PAGES}
EVERY = [block for found in ALL.values() for block in found]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What commands see: this Python and its whet first on the PATH, no network, no colour, a home of their own."""
    home = tmp_path_factory.mktemp("home")
    for name, command in {"python": sys.executable, "whet": f"{sys.executable} -m whet"}.items():
        (home / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (home / name).chmod(0o755)
    path, this_whet = f"{home}{os.pathsep}{os.environ['PATH']}", str(Path(whet.__file__).parent.parent)
    fixed = {"PATH": path, "PYTHONPATH": this_whet, "HOME": str(home), "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "120"}
    return {**os.environ, **fixed}


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Callable[[Path], Path]:
    """Walks a page once, and gives the folder that it leaves behind."""
    done: dict[Path, Path] = {}

    def walk(page: Path) -> Path:
        if page not in done:
            folder = tmp_path_factory.mktemp(page.stem)
            before = re.search(r"^<!-- continues: (\S+) -->$", page.read_text("utf-8"), re.MULTILINE)
            if before:
                shutil.copytree(walk(page.parent / before[1]), folder, dirs_exist_ok=True)
            for block in ALL[page]:
                run(block, folder, environment)
            done[page] = folder
        return done[page]

    return walk


def run(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Runs one block in the folder, or writes it where it is a file."""
    if block.left_out:
        return
    if block.title:
        file = folder / block.title
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.body, "utf-8")
    elif block.language == "python":
        finish(block, ["python", "-W", "error", "-c", block.body], folder, environment, 0)
    elif block.language == "bash":
        finish(block, ["bash", "-euo", "pipefail", "-c", block.body], folder, environment, block.exit_code)
    elif block.language == "console":
        commands = console(block)
        for number, (command, shown) in enumerate(commands, 1):
            last = number == len(commands)
            printed = finish(block, ["bash", "-c", command], folder, environment, block.exit_code if last else 0)
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            if shown and not doctest.OutputChecker().check_output(shown, printed, flags):
                pytest.fail(f"{block.place}: $ {command}\nThe page shows:\n{shown}\nIt printed:\n{printed}", pytrace=False)


def console(block: Block) -> list[tuple[str, str]]:
    """Each command of a console block with the output that is shown below it."""
    parts = re.split(r"^\$ ", block.body, flags=re.MULTILINE)
    assert parts[0] == "" and len(parts) > 1, f"{block.place}: a console block starts with a `$ ` line"
    found = []
    for part in parts[1:]:
        command, shown = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n(.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
        found.append((command, shown))
    return found


def finish(block: Block, command: list[str], folder: Path, environment: dict[str, str], code: int) -> str:
    """What the command prints, stderr included, as on a terminal; it must end with this exit code."""
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, timeout=1200,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode != code:
        pytest.fail(f"{block.place}: {command[-1]}\nended with {done.returncode}, not {code}:\n{done.stdout}", pytrace=False)
    return done.stdout


def test_the_pages_and_their_blocks_were_found() -> None:
    assert len(PAGES) >= 12
    runnable = [block for block in EVERY if block.language in RUNNABLE and not block.title]
    assert len(runnable) >= 20
    unknown = [block.place for block in EVERY if block.language in ("", "sh", "shell", "pycon", "py")]
    assert not unknown, f"say console, bash or python (or text): {unknown}"


def test_what_is_not_run_is_counted_and_says_why() -> None:
    left_out = {block.place.split(":")[0]: block.note for block in EVERY if block.left_out}
    assert all(len(note) > len("not run: ") for note in left_out.values())
    count = sum(block.left_out for block in EVERY)
    assert count == 2, f"blocks that are not run: {left_out}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_does_what_it_says(page: Path, walked: Callable[[Path], Path]) -> None:
    walked(page)


def test_recipe_fragments_hold_known_keys() -> None:
    fragments = [block for block in EVERY if block.language == "toml"]
    assert len(fragments) >= 3
    for block in fragments:
        values = tomllib.loads(block.body)
        if "template" in values:  # a template set, and no recipe
            assert set_file.read(block.body, "page", block.place).templates
            continue
        tables = [values, *values.pop("stage", [])]  # a stage holds the same sections as the rest of its file
        for section, value in (item for table in tables for item in table.items()):
            keys = value if isinstance(value, dict) else {}
            assert section in known_keys()[""], f"{block.place}: {section}"
            assert keys.keys() <= set(known_keys().get(section, ())), f"{block.place}: [{section}] {sorted(keys)}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken


def test_generated_pages_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "build_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_left_to_fill_in() -> None:
    marks = [f"{name_of(page)}: {line}" for page in PAGES for line in page.read_text("utf-8").splitlines() if "TODO" in line]
    assert not marks, "\n".join(marks)
