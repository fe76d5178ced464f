"""A model in this process says what texts mean: the mean of its last hidden states over all tokens of a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from whet.data import bases
from whet.engine.model import MODEL_FILES, device
from whet.errors import ModelError, Problem
from whet.sections import Model

LONGEST = 512  # tokens at once where a model does not say what it can read


class TextEmbedder:
    """Any model that Transformers loads from safetensors without code of its own, an encoder or a language model.

    Args:
        name: whetstone, a folder, a finished run or a Hub id.

    Raises:
        ModelError: if it cannot be had, or is an adapter on another model.
    """

    def __init__(self, name: str) -> None:
        where = f"[synth] embedding_model {name}"
        base = bases.find(Model(base=name), MODEL_FILES)
        if base.adapters:
            do = f"Name its base, or what `whet export {name} FOLDER` writes"
            raise ModelError(Problem(where, "this run trained an adapter, and not a whole model", do))
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(base.folder, local_files_only=True)
            model = AutoModel.from_pretrained(base.folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            do = "It must be a model in safetensors that Transformers knows"
            raise ModelError(Problem(where, f"it cannot be loaded: {first}", do)) from error
        self._model = model.eval().to(device())
        self._longest = int(getattr(model.config, "max_position_embeddings", None) or LONGEST)

    @torch.inference_mode()
    def embed_all(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of texts: (N, D). Each text is read by itself, so that its vector does not depend on the others."""
        return np.stack([self._embed(text) for text in texts])

    def _embed(self, text: str) -> NDArray[np.float32]:
        """The mean over all tokens; a text that is longer than the model reads is read in windows, and none of it left out."""
        ids = torch.tensor(self._tokenizer(text, verbose=False)["input_ids"], device=device())
        if not text.strip() or not len(ids):
            return np.zeros(self._model.config.hidden_size, np.float32)
        states = [self._model(input_ids=window[None]).last_hidden_state[0] for window in ids.split(self._longest)]
        mean: NDArray[np.float32] = torch.cat(states).mean(0).float().cpu().numpy()
        return mean
