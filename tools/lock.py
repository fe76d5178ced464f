"""Write lock.txt: every package but torch that whet needs, one version for every Python and system, each with its hashes.

    python tools/lock.py torch==2.13.0              (`make lock`: pins what is new, keeps every version that still fits)
    python tools/lock.py torch==2.13.0 --upgrade    (`make upgrade`: chooses all of them again)

Both need `uv` in the same environment.

Why torch stands outside: its wheel differs from machine to machine (CPU, CUDA, macOS) under the same version number, and a
hash would pin the wrong one for somebody. `make install` therefore installs the exact torch first, unhashed, and then this
file with `--require-hashes`, where the torch that is there counts as satisfied. What only a CUDA torch needs is left to it
for the same reason. The file names no index: pip asks whichever one it is set up for, and the hashes decide.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = re.compile(r"(torch|triton|nvidia-\S+|cuda-\S+)==|.* sys_platform == '(win32|emscripten)'")
RESOLVE = (
    *("uv", "pip", "compile", "pyproject.toml", "--extra", "dev"),
    *("--universal", "--python-version", "3.11", "--fork-strategy", "fewest"),
    *("--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--quiet"),
)
HEADER = """\
# Written by `make lock` from pyproject.toml; do not edit. Installed after {torch} with --require-hashes.
# Linux and macOS, Python 3.11 and later. No index is named here: pip's own setting decides where files come from.
"""


def entries(resolved: str) -> list[str]:
    """One string per package: its line and the hash lines that belong to it."""
    return re.findall(r"^\S.*\n(?:[ \t]+.*\n)*", resolved, flags=re.MULTILINE)


def lock(torch: str, *options: str) -> str:
    """The text of lock.txt for this torch requirement; `options` go to `uv pip compile`."""
    with tempfile.TemporaryDirectory() as folder:
        constraint, output = Path(folder, "torch.txt"), Path(folder, "lock.txt")
        constraint.write_text(torch + "\n", encoding="utf-8")
        shutil.copyfile(ROOT / "lock.txt", output)  # uv keeps the versions that it finds in its output file
        command = [*RESOLVE, "--constraint", str(constraint), "--output-file", str(output), *options]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        resolved = output.read_text(encoding="utf-8")
    return HEADER.format(torch=torch) + "".join(entry for entry in entries(resolved) if not LEFT_OUT.match(entry))


if __name__ == "__main__":
    (ROOT / "lock.txt").write_text(lock(*sys.argv[1:]), encoding="utf-8")
