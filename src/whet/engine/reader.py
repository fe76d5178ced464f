"""A model with its task and tokenizer: it reads inputs and gives label scores or answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from whet.data.tokens import Encoded, Tokens
from whet.engine import infer
from whet.errors import DataError, Problem
from whet.example import Example, Task
from whet.progress import Progress
from whet.prompts import plain

Inputs = Mapping[str, str]


@dataclass(frozen=True)
class Reader:
    """A model that can be asked. `max_length` is the most tokens of prompt and answer together, None for no limit."""

    model: torch.nn.Module
    task: Task
    tokens: Tokens
    batch_size: int
    max_length: int | None = None

    def label_scores(self, inputs: Sequence[Inputs], progress: Progress, demonstrations: Sequence[Example] = ()) -> np.ndarray:
        """log P(label and end token | prompt) for each input and each label in the task's order: (N, C)."""
        labels = [self.tokens.completion(plain.completion(label)) for label in self.task.labels]
        prompts = self._prompts(inputs, demonstrations, longest_answer=max(map(len, labels)))
        return infer.label_scores(self.model, prompts, labels, self.tokens.padding, self.batch_size, progress.advance)

    def answers(self, inputs: Sequence[Inputs], max_new_tokens: int, progress: Progress, demonstrations: Sequence[Example] = ()) -> list[str]:
        """The greedy answer to each input."""
        prompts = self._prompts(inputs, demonstrations, longest_answer=1)
        room = max_new_tokens if self.max_length is None else min(max_new_tokens, self.max_length - max(map(len, prompts), default=0))
        ids = infer.greedy_answers(
            self.model, prompts, self.tokens.end, self.tokens.padding, max(1, room), self.batch_size, progress.advance
        )
        return [plain.parse(self.tokens.decode(i)) for i in ids]

    def answer_nats(self, rows: Sequence[Encoded], progress: Progress) -> float:
        """Nats of the rows' own answers, summed."""
        return infer.answer_nats(self.model, rows, self.tokens.padding, self.batch_size, progress.advance)

    def bits_per_character(self, text: str) -> float:
        """How well the model still knows plain text: bits for each of its characters."""
        return infer.text_nats(self.model, self.tokens.prompt(text)) / np.log(2) / len(text)

    def _prompts(self, inputs: Sequence[Inputs], demonstrations: Sequence[Example], longest_answer: int) -> list[tuple[int, ...]]:
        prompts = [self.tokens.prompt(plain.prompt(self.task, i, demonstrations)) for i in inputs]
        too_long = [n for n, p in enumerate(prompts) if self.max_length and len(p) + longest_answer > self.max_length]
        if too_long:
            longest = max(len(prompts[n]) for n in too_long)
            what = f"{len(too_long)} prompts do not fit into the model's {self.max_length} tokens; the longest has {longest}"
            raise DataError(Problem(f"input {too_long[0] + 1}", what, "Give shorter passages, or fewer few-shot examples"))
        return prompts
