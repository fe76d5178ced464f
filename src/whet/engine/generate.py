"""A model in this process answers requests: chat template, batch, one draw a row that its own seed decides."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from transformers import AutoTokenizer, LogitsProcessor, LogitsProcessorList

from whet.data import bases
from whet.data.tokens import Tokens
from whet.engine.model import MODEL_FILES, load_base
from whet.recipe import Recipe
from whet.sections import Model
from whet.synth.client import Fault
from whet.synth.request import Message, Outcome, Reply, Request

FILES = (*MODEL_FILES, "chat_template.jinja")


class Generator:
    """A causal model that answers requests as a server would.

    Args:
        recipe: its `[synth] model` names the model: whetstone, a folder, a finished run or a Hub id.

    Raises:
        ModelError: if it cannot be had.
    """

    def __init__(self, recipe: Recipe) -> None:
        assert recipe.synth is not None
        named = Model(base=recipe.synth.model)
        folder = bases.find(named, FILES).folder
        self.tokens = Tokens(folder, named.base)
        self._model = load_base(recipe.model_copy(update={"model": named, "lora": None}))
        chat = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._chat = chat if chat.chat_template else None

    def answer_all(self, requests: Sequence[Request]) -> list[Reply | Fault]:
        """The replies to a batch, in order; a Fault for a prompt that the model cannot read whole.

        A row's draw is decided by its seed; that of a batch of another size may differ from it by rounding.
        """
        prompts = [self._ids(request.messages) for request in requests]
        replies: list[Reply | Fault] = [self._too_long(prompt) or Fault("unwell", "not computed") for prompt in prompts]
        fits = [n for n, prompt in enumerate(prompts) if self._too_long(prompt) is None]
        if fits:
            began = time.monotonic()
            written = self._write([prompts[n] for n in fits], [requests[n] for n in fits])
            for n, ids in zip(fits, written, strict=True):
                replies[n] = self._reply(requests[n], len(prompts[n]), ids, time.monotonic() - began)
        return replies

    def _too_long(self, prompt: Sequence[int]) -> Fault | None:
        most = self.tokens.max_length
        if most is None or len(prompt) < most:
            return None
        return Fault("refused", f"the prompt has {len(prompt)} tokens, and the model reads {most}, its answer included")

    def _ids(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a talk, by the model's own chat template; of a model without one, its texts as paragraphs."""
        if self._chat is None:
            return list(self.tokens.prompt("\n\n".join(m.content for m in messages) + "\n\n"))
        talk = [{"role": m.role, "content": m.content} for m in messages]
        text = self._chat.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        return list(self._chat(text, add_special_tokens=False)["input_ids"])  # the template holds the special tokens

    @torch.inference_mode()
    def _write(self, prompts: Sequence[Sequence[int]], requests: Sequence[Request]) -> list[list[int]]:
        """The ids that follow each prompt, its end token included where it came to one."""
        model, width = self._model.eval(), max(map(len, prompts))
        device, padding = next(model.parameters()).device, self.tokens.padding
        ids = torch.tensor([[padding] * (width - len(p)) + list(p) for p in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        room = max(request.parameters.max_tokens for request in requests)
        if self.tokens.max_length is not None:
            room = min(room, self.tokens.max_length - width)
        written = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=room, do_sample=False, num_beams=1,
            eos_token_id=self.tokens.end, pad_token_id=padding, logits_processor=LogitsProcessorList([_Draw(requests, width)]),
        )[:, width:].tolist()  # fmt: skip
        return [self._own(row, request.parameters.max_tokens) for row, request in zip(written, requests, strict=True)]

    def _own(self, row: list[int], room: int) -> list[int]:
        """A row up to its end token or its own limit."""
        row = row[: row.index(self.tokens.end) + 1] if self.tokens.end in row else row
        return row[:room]

    def _reply(self, request: Request, prompt_tokens: int, ids: Sequence[int], seconds: float) -> Reply:
        ended = bool(ids) and ids[-1] == self.tokens.end
        text = self.tokens.decode(ids[:-1] if ended else ids)
        stops = [place for stop in request.parameters.stop if (place := text.find(stop)) >= 0]
        text = text[: min(stops)] if stops else text
        outcome: Outcome = "cut" if not (ended or stops) else "ok" if text.strip() else "empty"
        return Reply(outcome, text, prompt_tokens, len(ids), round(seconds, 3))


class _Draw(LogitsProcessor):
    """Turns greedy search into a draw from each row's own distribution with its own seed: the largest of logits / temperature
    plus Gumbel noise is a sample of the softmax (Gumbel 1954; Maddison, Tarlow & Minka 2014)."""

    def __init__(self, requests: Sequence[Request], width: int) -> None:
        self.parameters, self.width = [request.parameters for request in requests], width
        self.generators = [torch.Generator().manual_seed(request.seed) for request in requests]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores whose largest is the token drawn: (B, V)."""
        drawn = scores.float().clone()
        for row, (wanted, generator) in enumerate(zip(self.parameters, self.generators, strict=True)):
            counts = torch.bincount(input_ids[row, self.width :], minlength=drawn.shape[1])[: drawn.shape[1]]
            drawn[row] -= (wanted.presence_penalty or 0.0) * (counts > 0) + (wanted.frequency_penalty or 0.0) * counts
            temperature = 1.0 if wanted.temperature is None else wanted.temperature
            if temperature > 0:
                drawn[row] = _nucleus(drawn[row] / temperature, 1.0 if wanted.top_p is None else wanted.top_p)
                even = torch.rand(drawn.shape[1], generator=generator, dtype=torch.float64).to(drawn.device)
                drawn[row] -= (-even.log()).log().float()
        return drawn


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """The logits (V,) with all but the most probable tokens, which together have `top_p`, at minus infinity."""
    if top_p >= 1:
        return logits
    ordered, places = logits.sort(descending=True)
    before = ordered.softmax(0).cumsum(0) - ordered.softmax(0)
    return logits.index_fill(0, places[(before >= top_p) & (before > 0)], -torch.inf)
