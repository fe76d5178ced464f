"""The engine: the only room that knows torch, transformers, peft, accelerate and bitsandbytes."""

import logging

# On CPUs with avx512_bf16, importing bitsandbytes (PEFT does, too) complains that an optional kernel could not be fetched.
# whet neither fetches nor needs it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
