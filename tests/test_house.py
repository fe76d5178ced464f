"""The house rules, read from the syntax tree: which room imports which, what library code never does, what starting costs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import whet

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "whet"
MODULES = sorted(SOURCE.rglob("*.py"))

# Imports run downward only, or stay inside one room. `prompts` lies under `data` because an example is rendered, then encoded.
FLOORS = (
    {"errors"},
    {"base", "example", "knobs", "measure", "progress"},
    {"sections"},
    {"recipe"},
    {"budget", "run", "series", "recipe_text"},
    {"ledger", "prompts"},
    {"data", "track", "views"},
    {"synth"},
    {"engine", "web"},
    {"planning"},
    {"comparison", "ejection", "evaluation", "run_plan"},
    {"stages"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ENGINE_ONLY = {"torch", "transformers", "peft", "accelerate", "bitsandbytes"}
HEAVY = ENGINE_ONLY | {"datasets", "numpy", "scipy", "sklearn", "pyarrow", "pandas", "pydantic"}
NOT_A_ROOM = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
PICKLES = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
RUNS_CODE = {"eval", "exec", "compile", "__import__", "torch.load", "torch.save", "os.system"}
RISKY_SETTINGS = {"trust_remote_code", "allow_pickle", "shell"}
# Put together from halves, so that this file does not hold what it looks for.
FORBIDDEN_TEXT = {
    "an index host": "|".join(f"{name}\\.org" for name in ("py" + "pi", "python" + "hosted", "download\\.py" + "torch")),
    "a path of one machine": r"(?<![\w./~-])/(?:" + "|".join(("wo" + "rk", "tm" + "p", "home", "Users", "root")) + r")/\w",
}
TEXT_FILES = {".py", ".md", ".toml", ".txt", ".html", ".css", ".js", ".svg", ".sh", ".cfg", ".yaml", ".yml", ""}


def room_of(module: str) -> str:
    """The room of a dotted module: `whet.data.read` is in `data`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def dotted(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, anywhere in it, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            module = node.module or ""
            if module == "whet":
                yield from ((f"whet.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield module, node.lineno


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, with the called name as written: `print`, `torch.load`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.fixture(params=MODULES, ids=lambda path: dotted(path))
def module(request: pytest.FixtureRequest) -> tuple[str, ast.Module]:
    """Each source file in turn: its dotted name and its tree."""
    return dotted(request.param), ast.parse(request.param.read_text("utf-8"))


def test_the_house_was_found() -> None:
    rooms = {room_of(dotted(path)) for path in MODULES}
    assert len(MODULES) >= 30
    assert rooms >= {"cli", "stages", "engine", "data", "prompts", "views", "run", "recipe", "example", "measure", "errors"}
    assert rooms - {"__init__"} <= FLOOR.keys(), "a new room needs a floor here"


def test_imports_run_downward(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    here = room_of(name)
    if here == "__init__":
        top_level = {m for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)) for m, _ in imports(node)}
        assert top_level <= {"__future__", "importlib", "typing"}, "the menu resolves its names lazily"
        return
    for imported, line in imports(tree):
        if imported.split(".")[0] != "whet" or imported in ("whet", "whet.__version__"):
            continue
        there = room_of(imported)
        assert there == here or FLOOR[there] < FLOOR[here], f"{name}:{line} imports {imported}, which is not below it"


def test_the_menu_is_for_guests(module: tuple[str, ast.Module]) -> None:
    """Inside the house `import whet` is for the version; a public name is imported from its own module."""
    name, tree = module
    if any(imported == "whet" for imported, _ in imports(tree)):
        used = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "whet"}
        assert used == {"whet.__version__"}, f"{name} uses {sorted(used)}"


def test_only_the_engine_knows_torch(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    found = {imported.split(".")[0] for imported, _ in imports(tree)}
    assert "pandas" not in found
    if room_of(name) != "engine":
        assert not found & ENGINE_ONLY, f"{name} imports {sorted(found & ENGINE_ONLY)}"


def test_measure_stands_alone(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    if room_of(name) == "measure":
        rooms = {room_of(imported) for imported, _ in imports(tree) if imported.split(".")[0] == "whet"}
        assert rooms <= {"measure", "errors"}


def test_library_code_never_prints(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    if room_of(name) not in ("cli", "__main__"):
        loud = [call.lineno for called, call in calls(tree) if called in ("print", "sys.stdout.write", "sys.stderr.write")]
        assert not loud, f"{name} prints in lines {loud}"


def test_nothing_runs_what_it_reads(module: tuple[str, ast.Module]) -> None:
    """No pickle and no code out of data: a model, a run or a table from a stranger is data."""
    name, tree = module
    assert not {imported.split(".")[0] for imported, _ in imports(tree)} & PICKLES
    for called, call in calls(tree):
        where = f"{name}:{call.lineno}"
        assert called not in RUNS_CODE, f"{where} calls {called}"
        for keyword in call.keywords:
            is_off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            assert keyword.arg not in RISKY_SETTINGS or is_off, f"{where} sets {keyword.arg}"


def test_every_module_says_what_it_is_for(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    assert ast.get_docstring(tree), f"{name} has no docstring"
    assert not set(re.split(r"[._]", name)) & NOT_A_ROOM, f"{name}: a module is called by what is in it"


def tracked_files() -> list[Path]:
    """The files of the repository: what git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file())


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git checkout to know which files are the project's")
def test_no_file_names_an_index_or_a_machine() -> None:
    files = [path for path in tracked_files() if path.suffix in TEXT_FILES]
    assert len(files) >= 50
    assert {"pyproject.toml", "lock.txt", "Makefile", "README.md"} <= {path.name for path in files}
    found = [
        f"{path.relative_to(ROOT)}:{number}: {what}: {line.strip()[:80]}"
        for path in files
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        for what, pattern in FORBIDDEN_TEXT.items()
        if re.search(pattern, line)
    ]
    assert not found, "\n".join(found)


def test_forbidden_text_is_recognised() -> None:
    """The patterns above are put together from halves; here is the proof that they still match."""
    host, path = FORBIDDEN_TEXT.values()
    assert re.search(host, "https://" + "py" + "pi.org/simple") and re.search(host, "download.py" + "torch.org/whl/cpu")
    assert re.search(path, "open('/" + "tm" + "p/x')") and re.search(path, "cd /" + "wo" + "rk/main")
    assert not re.search(path, "the work/life balance, ../" + "wo" + "rk/x") and not re.search(host, "pytorch.org")


def test_the_menu_is_the_public_names_and_the_documented_ones() -> None:
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    documented = re.findall(r"^\| `whet\.(\w+)", page, flags=re.MULTILINE)
    assert len(whet.__all__) >= 15
    assert sorted(documented) == sorted(whet.__all__)
    tree = ast.parse((SOURCE / "__init__.py").read_text("utf-8"))
    typed = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names if alias.asname]
    assert sorted(typed) == sorted(whet.__all__), "the type checker must see the same menu"
    for name in whet.__all__:
        public = getattr(whet, name)
        assert public.__doc__, f"whet.{name} has no docstring"
        assert getattr(import_module(public.__module__), name) is public
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        _ = whet.Trainer


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, as a user would start it; it must succeed."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("start", [("-c", "import whet"), ("-m", "whet", "--help"), ("-m", "whet", "--version")], ids=" ".join)
def test_starting_loads_nothing_heavy(start: tuple[str, ...]) -> None:
    log = python("-X", "importtime", *start).stderr
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in log.splitlines() if line.startswith("import time:")}
    assert len(loaded) > 20 and "whet" in loaded
    assert not loaded & HEAVY, f"loads {sorted(loaded & HEAVY)}"


def cpu_seconds(*arguments: str) -> float:
    """User and system time of one Python process."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_help_takes_under_a_quarter_second_of_cpu() -> None:
    """A figure of the contract, not a benchmark: the terminal and every script start here."""
    assert min(cpu_seconds("-m", "whet", "--help") for _ in range(3)) < 0.25


def test_the_installed_command_is_the_cli() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["whet"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_the_lock_pins_every_package_by_hash() -> None:
    lock = (ROOT / "lock.txt").read_text("utf-8")
    pinned = re.findall(r"^(\S+)==\S+.*\\\n(?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", lock, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^[^#\s]", lock, re.MULTILINE)) >= 50
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in wanted}
    assert names - {"torch"} <= set(pinned), "pyproject.toml changed: run `make lock`"
    assert "torch" not in pinned
