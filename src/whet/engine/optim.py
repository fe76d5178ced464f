"""The optimizer of a recipe: one object for every name, weight decay by parameter group, a state that goes back exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from whet.knobs.optimizers import OPTIMIZERS, Optimizer
from whet.sections import Train

Groups = Any  # a list of parameter groups; torch and bitsandbytes type it each in their own way
Build = Callable[[Groups, Optimizer, Train, dict[str, Any]], torch.optim.Optimizer]


def build_optimizer(model: torch.nn.Module, train: Train) -> torch.optim.Optimizer:
    """The optimizer over everything that trains; matrices decay, norms, biases and other vectors never do.

    A group may carry `lr_ratio`: the loop sets its rate to the schedule's, times that.

    Args:
        model: on the device where it will train.
        train: optim and its settings.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    fact = OPTIMIZERS[train.optim]
    if fact.family == "muon":
        return _muon(trained, _embeddings(model), train)
    build = _bitsandbytes if fact.bits else _OWN[fact.family]
    return build(_groups(trained, train), fact, train, _arguments(fact, train))


def optimizer_notes(train: Train, device_type: str) -> list[str]:
    """What the log should say: settings of the optimizer that do nothing on this kind of device.

    Example:
        >>> optimizer_notes(Train(optim="paged_adamw_8bit"), "cpu")
        ['optim = "paged_adamw_8bit": there is nothing to page on a CPU, so it is the same without paging here']
        >>> optimizer_notes(Train(optim="paged_adamw_8bit"), "cuda")
        []
    """
    if OPTIMIZERS[train.optim].paged and device_type != "cuda":
        place = "a CPU" if device_type == "cpu" else f"the device {device_type}"
        return [f'optim = "{train.optim}": there is nothing to page on {place}, so it is the same without paging here']
    return []


def load_state(optimizer: torch.optim.Optimizer, state: Mapping[int, Mapping[str, Any]]) -> None:
    """Puts a saved state (values by parameter number) back, bit for bit.

    `load_state_dict` alone would not do: it casts float32 states of bfloat16 weights to bfloat16, and it brings a paged state
    back as an ordinary one.
    """
    own = getattr(optimizer, "optimizer", optimizer)  # out of Accelerate's wrapper
    own.load_state_dict({"state": {i: dict(v) for i, v in state.items()}, "param_groups": own.state_dict()["param_groups"]})
    parameters = [p for group in own.param_groups for p in group["params"]]
    for index, values in state.items():
        loaded = own.state[parameters[index]]
        for name, saved in values.items():
            if isinstance(saved, torch.Tensor) and loaded[name].dtype != saved.dtype:
                loaded[name] = saved.to(loaded[name].device)
            if getattr(own, "is_paged", False) and name in ("state1", "state2"):
                loaded[name] = _paged(own, loaded[name])


def _groups(trained: Iterable[torch.nn.Parameter], train: Train, **more: Any) -> Groups:
    """Two groups, or one where the other would be empty: what decays, and what does not."""
    matrices: list[torch.nn.Parameter] = []
    vectors: list[torch.nn.Parameter] = []
    for parameter in trained:
        (matrices if parameter.ndim >= 2 else vectors).append(parameter)
    decays = ((matrices, train.weight_decay), (vectors, 0.0))
    return [{"params": params, "weight_decay": decay, **more} for params, decay in decays if params]


def _arguments(fact: Optimizer, train: Train) -> dict[str, Any]:
    """`optim_args` as the optimizer takes them: switches and counts are no floats."""
    return {name: fact.arguments[name].range.kind(value) for name, value in train.optim_args.items()}


def _adamw(groups: Groups, fact: Optimizer, train: Train, arguments: dict[str, Any]) -> torch.optim.Optimizer:
    betas, is_fused = (train.adam_beta1, train.adam_beta2), fact.name == "adamw_torch_fused" or None
    return torch.optim.AdamW(groups, train.learning_rate, betas, train.adam_epsilon, fused=is_fused, **arguments)


def _adafactor(groups: Groups, fact: Optimizer, train: Train, arguments: dict[str, Any]) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor

    return Adafactor(groups, lr=train.learning_rate, scale_parameter=False, relative_step=False, **arguments)


def _sgd(groups: Groups, fact: Optimizer, train: Train, arguments: dict[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, train.learning_rate, **arguments)


def _rmsprop(groups: Groups, fact: Optimizer, train: Train, arguments: dict[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, train.learning_rate, **arguments)


def _adagrad(groups: Groups, fact: Optimizer, train: Train, arguments: dict[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.Adagrad(groups, train.learning_rate, **arguments)


def _bitsandbytes(groups: Groups, fact: Optimizer, train: Train, arguments: dict[str, Any]) -> torch.optim.Optimizer:
    """An optimizer of bitsandbytes. Paging is asked for on CUDA alone: elsewhere it warns, or (AdEMAMix) ends with an error."""
    from bitsandbytes import optim

    settings: dict[str, Any] = {"lr": train.learning_rate, "optim_bits": fact.bits, **arguments}
    if fact.family == "rmsprop":
        return optim.RMSprop(groups, **settings)
    betas, device = (train.adam_beta1, train.adam_beta2), groups[0]["params"][0].device
    settings["is_paged"] = fact.paged and device.type == "cuda"
    if fact.family == "lion":
        return optim.Lion(groups, betas=betas, **settings)
    settings["eps"] = train.adam_epsilon
    if fact.family == "adamw":
        return optim.AdamW(groups, betas=betas, **settings)
    return optim.AdEMAMix(groups, betas=(*betas, settings.pop("beta3", 0.9999)), **settings)


_OWN: dict[str, Build] = {
    "adamw": _adamw, "adafactor": _adafactor, "sgd": _sgd, "rmsprop": _rmsprop, "adagrad": _adagrad,
}  # fmt: skip


def _paged(optimizer: Any, state: torch.Tensor) -> torch.Tensor:
    """A bitsandbytes state in memory that can leave the accelerator, if it is large enough for that."""
    place = optimizer.get_state_buffer(state, dtype=state.dtype)
    place.copy_(state)
    return place


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon on matrices and AdamW on all else, as one optimizer: one list of groups, one state, one step."""

    def __init__(self, muon: torch.optim.Muon | None, adamw: torch.optim.AdamW | None) -> None:
        self.parts = [part for part in (muon, adamw) if part is not None]
        groups = [group for part in self.parts for group in part.param_groups]
        super().__init__([dict(group) for group in groups], {})
        self._share()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of both."""
        for part in self.parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads what `state_dict` gave."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Lets both parts work on this object's groups and state, which loading replaces."""
        start = 0
        for part in self.parts:
            end = start + len(part.param_groups)
            part.param_groups, part.state, start = self.param_groups[start:end], self.state, end


def _muon(trained: list[torch.nn.Parameter], embeddings: set[int], train: Train) -> MuonWithAdamW:
    """Muon on the matrices that are no embedding and no output head, AdamW on the rest.

    The update has AdamW's root mean square ("match_rms_adamw"), so that one learning rate and one weight decay serve both.

    Source: Jordan et al. 2024; Liu et al. 2025, "Muon is Scalable for LLM Training", equation 4.
    """
    arguments = _arguments(OPTIMIZERS["muon"], train)
    ratio, rate = arguments.pop("adam_lr_ratio", 1.0), train.learning_rate
    matrices = [p for p in trained if p.ndim == 2 and id(p) not in embeddings]
    chosen = {id(p) for p in matrices}
    rest = _groups([p for p in trained if id(p) not in chosen], train, lr=rate * ratio, lr_ratio=ratio)
    betas = (train.adam_beta1, train.adam_beta2)
    return MuonWithAdamW(
        torch.optim.Muon(_groups(matrices, train), rate, adjust_lr_fn="match_rms_adamw", **arguments) if matrices else None,
        torch.optim.AdamW(rest, rate, betas, train.adam_epsilon) if rest else None,
    )


def _embeddings(model: torch.nn.Module) -> set[int]:
    """The ids of the parameters of embeddings and of the output head."""
    find_head = getattr(model, "get_output_embeddings", lambda: None)
    modules = [*(m for m in model.modules() if isinstance(m, torch.nn.Embedding)), find_head()]
    return {id(p) for module in modules if module is not None for p in module.parameters()}
