"""What a method works with: the task, the seeds, the prompts; it makes requests out of a prompt's name and its slots."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.example import Example, Task
from whet.recipe import Recipe
from whet.sections import Synth
from whet.synth.aims import Aims
from whet.synth.request import Request
from whet.synth.templates import Prompts


@dataclass(frozen=True, slots=True)
class Desk:
    """All that a method works with.

    Attributes:
        recipe: whose `[synth]` section is there.
        prompts: the templates.
        seeds: examples that the maker may see; none is repeated.
        unseen: examples that it never sees; none is repeated either.
        aims: the weak spots of a run, for the method that aims at them.
    """

    recipe: Recipe
    prompts: Prompts
    seeds: Sequence[Example] = ()
    unseen: Sequence[Example] = ()
    aims: Aims | None = None

    @property
    def synth(self) -> Synth:
        """The recipe's section."""
        assert self.recipe.synth is not None
        return self.recipe.synth

    @property
    def rows_task(self) -> Task:
        """The task whose rows are made: the recipe's; but other wordings of it are no rows of it, and have no label."""
        task = self.recipe.task
        return Task(kind="generate", instruction=task.instruction) if self.synth.method == "paraphrase" else task

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns of a row."""
        return self.recipe.data.input

    def request(
        self,
        purpose: str,
        slots: Mapping[str, Any],
        *,
        prompt: str,
        number: int,
        schema: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Request:
        """A request whose seed derives from the recipe's, its purpose and its number.

        Args:
            purpose: what the answer is for, as `take` reads it.
            slots: what the prompt's slots hold, by name; the instruction and labels of the task are always there.
            prompt: the template's name.
            number: of the request: `stock.asked` and its place in the wave.
            schema: of the JSON that is wanted.
            context: what `take` needs to know; plain JSON values. The prompt's name and the beginning of its hash come to it.
        """
        template = self.prompts[prompt]
        task = self.recipe.task
        messages = template.fill({"instruction": task.instruction.strip(), "labels": list(task.labels), **slots})
        seed = self.recipe.derive_seed(f"synth/{purpose}/{number}") & 0x7FFFFFFF  # some servers read 31 bits
        known = {"prompt": f"{prompt}@{template.fingerprint[:12]}", **(context or {})}
        return Request(purpose, messages, template.parameters, seed, schema, known)

    def random(self, use: str, number: int) -> random.Random:
        """A generator of its own for one request's choices: the same in every call."""
        return random.Random(self.recipe.derive_seed(f"synth/{use}/{number}"))
