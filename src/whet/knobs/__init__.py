"""The named choices of a recipe (optimizers, schedules, quantization) as facts: no torch, no model."""
