"""The engine: the only room that knows torch, transformers, peft and accelerate."""
