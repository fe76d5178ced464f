"""A recipe's training as a script on TRL, its rows beside it: what `whet eject` writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whet.budget import schedule
from whet.data import bases
from whet.data import tokens as tokenizers
from whet.data.dataset import Dataset
from whet.data.tokens import TOKENIZER_FILES, Tokens
from whet.engine.timetable import build_timetable
from whet.example import Example
from whet.prompts import asking
from whet.recipe import Recipe
from whet.run import write_atomically
from whet.sections import EMBEDDED_BASE
from whet.views import trl_script
from whet.views.trl_settings import differences


@dataclass(frozen=True, slots=True)
class Ejected:
    """A script on TRL, the folder of what it reads, how many rows it learns from, and what it does otherwise than whet."""

    script: Path
    data: Path
    rows: int
    differences: tuple[str, ...]


def write_script(recipe: Recipe, made: Dataset, path: Path, *, same_order: bool) -> Ejected:
    """Writes the script to `path` and what it reads to a folder beside it, called like the script with `_data` behind.

    Args:
        recipe: of a task with answers.
        made: its dataset.
        path: where to; a script that is there is replaced.
        same_order: whether the script takes the rows in the order that whet draws them, instead of its own.
    """
    tokens, examples, data = tokenizers.load(recipe.model.base), made.splits["train"], path.with_name(f"{path.stem}_data")
    _write_lines(data / "train.jsonl", [_row(recipe, example) for example in examples])
    if same_order:
        write_atomically(data / "order.json", json.dumps(_order(recipe, made, tokens)).encode())
    base = bases.find(recipe.model, TOKENIZER_FILES)
    is_embedded = base.folder == bases.base_folder(EMBEDDED_BASE, ())
    if is_embedded:
        shutil.copytree(base.folder, data / EMBEDDED_BASE, dirs_exist_ok=True)  # so that the script can do without whet
    is_on_disk = Path(recipe.model.base).exists()
    facts = trl_script.Ejection(
        recipe=recipe, folder=data.name, base_name=EMBEDDED_BASE,
        base=None if is_embedded else str(base.folder.resolve()) if is_on_disk else recipe.model.base,
        adapters=tuple(str(folder.resolve()) for folder in base.adapters), end=tokens.end,
        pads_with_end=tokens.padding == tokens.end, has_odd_rows=_has_odd_rows(base.folder), rows=len(examples),
        steps=schedule.steps(len(examples), recipe.train), same_order=same_order,
    )  # fmt: skip
    write_atomically(path, trl_script.render(facts).encode())
    said = differences(recipe, same_order=same_order, on_adapters=bool(base.adapters))
    return Ejected(path, data, len(examples), said)


def _has_odd_rows(folder: Path) -> bool:
    """May a linear layer's input be no multiple of 64 wide? No, where config.json gives the widths of a Llama-like model."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if not (width and heads and config.get("intermediate_size")):
        return True
    attended = heads * (config.get("head_dim") or width // heads)
    return any(n % 64 for n in (width, config["intermediate_size"], attended))


def _row(recipe: Recipe, example: Example) -> dict[str, str]:
    return {"prompt": asking.ask(recipe.task, example), "completion": asking.completion(example)}


def _order(recipe: Recipe, made: Dataset, tokens: Tokens) -> list[list[int]]:
    """The numbers of the rows in the order in which whet learns from them, a list for each epoch."""
    plan = build_timetable(recipe, [tokenizers.encode(e, recipe.task, tokens) for e in made.splits["train"]])
    starts = range(0, plan.steps, plan.steps_per_epoch)
    return [
        [row for step in range(start, min(start + plan.steps_per_epoch, plan.steps)) for row in plan.rows(step)]
        for start in starts
    ]


def _write_lines(path: Path, rows: Sequence[dict[str, str]]) -> None:
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "surrogatepass"))
