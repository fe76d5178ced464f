"""The `[evaluate]` section: what the result is compared with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from whet.sections.section import Section


class Evaluate(Section):
    """What the result is compared with. The `[evaluate]` section."""

    baselines: tuple[Literal["majority", "tfidf", "zero_shot", "few_shot"], ...] = Field(
        ("majority", "tfidf", "zero_shot", "few_shot"), description="what the fine-tune must beat"
    )
    few_shot_examples: int = Field(4, description="worked examples in the few-shot prompt, from the training split", ge=1)
    batch_size: int = Field(32, description="examples scored at a time", ge=1)
    bootstrap_samples: int = Field(1000, description="resamples behind each 95 % interval", ge=100)
    max_new_tokens: int = Field(128, description="longest answer of a `generate` task", ge=1)
