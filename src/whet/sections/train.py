"""The `[train]` section: how the weights move."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from whet.knobs.optimizers import why_not_optimizer
from whet.knobs.schedules import why_not_schedule
from whet.sections.section import Section


class Train(Section):
    """How the weights move. The `[train]` section; names as in Hugging Face's TrainingArguments."""

    optim: str = Field("adamw_torch", description="the optimizer; `whet info optimizers` lists them")
    optim_args: dict[str, float] = Field(
        default_factory=dict, description="arguments of the optimizer itself, such as momentum of sgd"
    )
    learning_rate: float = Field(5e-4, description="its peak", gt=0)
    weight_decay: float = Field(
        0.0,
        description="decay of matrices, never of norms and biases; decoupled from the gradient, but for sgd, "
        "rmsprop and adagrad",
        ge=0,
    )
    adam_beta1: float = Field(0.9, description="first-moment decay of Adam-like optimizers", ge=0, lt=1)
    adam_beta2: float = Field(0.999, description="second-moment decay of Adam-like optimizers", ge=0, lt=1)
    adam_epsilon: float = Field(1e-8, description="added to the denominator of Adam-like optimizers", gt=0)
    lr_scheduler_type: str = Field(
        "linear", description="how the learning rate goes after warm-up; `whet info schedules` lists them"
    )
    lr_scheduler_kwargs: dict[str, float | str] = Field(
        default_factory=dict, description="arguments of the schedule, such as num_cycles, min_lr_rate or num_decay_steps"
    )
    warmup_ratio: float = Field(0.0, description="share of the steps that the learning rate climbs", ge=0, lt=1)
    warmup_steps: int = Field(0, description="the same in steps; wins over the ratio", ge=0)
    num_train_epochs: float = Field(3.0, description="passes over the training split", gt=0)
    max_steps: int | None = Field(None, description="stop after so many steps, whatever the epochs say", ge=1)
    per_device_train_batch_size: int | Literal["auto"] = Field(
        16, description='examples in a micro-batch; "auto": a step has 16 x gradient_accumulation_steps examples, '
        "in micro-batches of the largest power of two that fits into memory",
    )  # fmt: skip
    gradient_accumulation_steps: int = Field(1, description="micro-batches in a step", ge=1)
    max_grad_norm: float = Field(1.0, description="gradients are clipped to this norm; 0 is off", ge=0)
    label_smoothing_factor: float = Field(0.0, description="share of the target that is spread out", ge=0, lt=1)
    label_smoothing_over: Literal["vocabulary", "labels"] = Field(
        "vocabulary",
        description="spread over all tokens (as Hugging Face does), or over the labels: 0.1 on True/False is 0.95/0.05",
    )
    neftune_noise_alpha: float = Field(
        0.0, description="uniform noise on the embeddings of an example of L tokens, scaled by alpha / sqrt(L x width)", ge=0
    )
    class_balance: Literal["none", "weights", "sampling"] = Field(
        "none",
        description="give rare labels more weight, or draw them more often; probabilities are led back to the true shares",
    )
    train_sampling_strategy: Literal["random", "sequential", "group_by_length"] = Field(
        "random", description="the order of the examples; group_by_length puts similar lengths into one step"
    )
    share_prefix: bool = Field(
        True, description="the token tree: what the examples of a micro-batch share is computed once; exact, and off where a "
        "model cannot be computed that way",
    )  # fmt: skip
    packing: bool = Field(
        False, description="lay the examples of a micro-batch end to end instead of padding them; the losses stay the same"
    )
    max_length: int | None = Field(None, description="most tokens of an example; left out: what the model can take", ge=8)
    too_long: Literal["error", "drop", "truncate"] = Field(
        "error", description="what happens to a longer example: refuse, drop it, or cut the end of its input; each is listed"
    )
    eval_steps: int | None = Field(
        None, description="score validation every so many steps too, not only after each epoch", ge=1
    )
    save_steps: int | None = Field(
        None, description="write a checkpoint every so many steps too, not only after each epoch", ge=1
    )
    logging_steps: int = Field(1, description="progress on the terminal every so many steps; metrics.jsonl has each step", ge=1)
    bf16: bool = Field(False, description="bfloat16 arithmetic in the forward pass (autocast); weights keep their precision")
    gradient_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them")

    @field_validator("per_device_train_batch_size")
    @classmethod
    def _batch_size_is_positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError('per_device_train_batch_size must be at least 1, or "auto"')
        return value

    @property
    def _warms_up(self) -> bool:
        return self.warmup_steps > 0 or self.warmup_ratio > 0

    @model_validator(mode="after")
    def _named_choices_exist(self) -> Train:
        reasons = [
            why_not_optimizer(self.optim, self.optim_args),
            why_not_schedule(self.lr_scheduler_type, self.lr_scheduler_kwargs, self._warms_up, self.learning_rate),
        ]
        if any(reasons):
            raise ValueError("; ".join(reason for reason in reasons if reason))
        return self
