"""A real llama.cpp server on loopback that serves whetstone: in this process, up in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf

WHETSTONE = Path(__file__).resolve().parent.parent / "src/whet/base/whetstone"
# whetstone has none of its own: a talk is its texts as paragraphs, as `engine.generate` reads them.
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n\n{% endfor %}"


class RealServer:
    """llama.cpp's own server; `embeds`: it gives embeddings, the mean over all tokens. Goes away with the object."""

    def __init__(self, folder: Path, slots: int = 4, embeds: bool = False) -> None:
        import xllamacpp  # type: ignore[import-untyped]

        folder.mkdir(exist_ok=True)
        parameters: Any = xllamacpp.CommonParams()
        parameters.model.path = str(gguf.write_llama(WHETSTONE, folder / "whetstone.gguf", CHAT_TEMPLATE))
        parameters.n_ctx, parameters.n_parallel, parameters.port = 1024 * slots, slots, 0
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
        if embeds:
            parameters.embedding, parameters.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        self._server = xllamacpp.Server(parameters)
        self.base_url = f"{self._server.listening_address}/v1"
