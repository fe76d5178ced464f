"""The peak that a training really has in memory: of the process above where it stood, or of the accelerator."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from whet.engine.batch_size import forget_peak, peak_bytes


@dataclass(frozen=True, slots=True)
class Peak:
    """Begins where memory stands now, before the model is loaded. `start_bytes` are those of the process."""

    start_bytes: int

    @classmethod
    def start(cls) -> Peak:
        """One that counts from here."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            return cls(0)
        import psutil  # type: ignore[import-untyped]

        forget_peak()
        return cls(psutil.Process().memory_info().rss)

    def read(self) -> dict[str, int]:
        """The height since: bytes `allocated` and `reserved` of a GPU, else of the process `above_start` and as a `whole`."""
        if torch.cuda.is_available():
            return {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
        return {"above_start": max(0, peak_bytes() - self.start_bytes), "whole": peak_bytes()}
