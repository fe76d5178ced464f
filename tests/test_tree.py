"""The token tree: every shared prefix once, and loss and every gradient those of the plain padded computation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from engine_parts import random_rows
from transformers import AutoModelForCausalLM

from whet.data.tokens import Encoded
from whet.engine.attention import attending
from whet.engine.batches import Batch, collate, hang
from whet.engine.loss import Objective, summed_loss
from whet.engine.tree import grow

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "vocab_size": 6144, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 128, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.2,
}  # fmt: skip
GROUPED = {"num_key_value_heads": 2}
HEADED = {**GROUPED, "head_dim": 8}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", GROUPED), "mistral": ("Mistral", {**GROUPED, "sliding_window": None}), "qwen2": ("Qwen2", GROUPED),
    "qwen3": ("Qwen3", HEADED), "gemma2": ("Gemma2", HEADED), "gemma3": ("Gemma3", HEADED), "phi3": ("Phi3", GROUPED),
    "olmo2": ("Olmo2", GROUPED), "gpt_neox": ("GPTNeoX", {}), "gpt2": ("GPT2", {"n_positions": 128}),
    "a window shorter than the path": ("Mistral", {**GROUPED, "sliding_window": 9}),
}  # fmt: skip


def build(name: str) -> torch.nn.Module:
    """A tiny model of an architecture with random weights, in float64."""
    kind, extra = MODELS[name]
    torch.manual_seed(5)
    config = getattr(transformers, f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config")(**SMALL, **extra)
    model: torch.nn.Module = getattr(transformers, f"{kind}LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM")(config)
    return model.double().eval()


@pytest.fixture(autouse=True)
def norms_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers computes RMS norms in float32 whatever the model's precision; here the float64 of the test would be lost."""
    from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
    from transformers.models.llama.modeling_llama import LlamaRMSNorm
    from transformers.models.mistral.modeling_mistral import MistralRMSNorm
    from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm
    from transformers.models.phi3.modeling_phi3 import Phi3RMSNorm
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

    def plain(self: Any, x: torch.Tensor) -> Any:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)

    def from_one(self: Any, x: torch.Tensor) -> Any:
        return (1.0 + self.weight) * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)

    plainly: list[type] = [LlamaRMSNorm, MistralRMSNorm, Olmo2RMSNorm, Phi3RMSNorm, Qwen2RMSNorm, Qwen3RMSNorm]
    for norm in plainly:
        monkeypatch.setattr(norm, "forward", plain)
    for norm in (Gemma2RMSNorm, Gemma3RMSNorm):
        monkeypatch.setattr(norm, "forward", from_one)


def shared_rows(seed: int = 4) -> list[Encoded]:
    """Two instructions (a forest), texts that begin alike, the same text with two answers, and one prompt inside another."""
    first, second = tuple(range(100, 121)), tuple(range(200, 214))
    rows = [Encoded(r.id, (0, *first, *r.prompt[1:]), r.completion) for r in random_rows(6, seed)]
    rows += [Encoded(f"b{r.id}", (0, *second, *r.prompt[1:]), r.completion) for r in random_rows(4, seed + 1)]
    rows += [Encoded("twin", rows[0].prompt, (7, 0)), Encoded("inside", rows[1].prompt[:-3], (9, 8, 0)), rows[2]]
    return [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]


def gradients(model: torch.nn.Module, batch: Batch, objective: Objective) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    with attending(model) if batch.tree else nullcontext():
        loss = summed_loss(model, batch, objective, seed=2)
        torch.autograd.backward(loss)
    return loss.item(), [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", [Objective(), Objective(smoothing=0.1)], ids=["plain", "smoothed"])
def test_loss_and_every_gradient_equal_the_padded_ones(name: str, kind: Objective) -> None:
    model, rows = build(name), shared_rows()
    # Gemma's eager softmax is float32; left padding breaks on float64's smallest number there, so its rows stand alone.
    alone = [gradients(model, collate([row], 1, CPU), kind) for row in rows]
    wanted = sum(loss for loss, _ in alone), [torch.stack(parts).sum(0) for parts in zip(*(g for _, g in alone), strict=True)]
    batch = hang(rows, CPU)
    assert batch.ids.numel() < 0.6 * sum(map(len, rows))
    found = gradients(model, batch, kind)
    tolerance = 1e-6 if name == "gemma2" else 1e-9
    assert found[0] == pytest.approx(wanted[0], rel=tolerance)
    for one, other in zip(wanted[1], found[1], strict=True):
        assert torch.linalg.norm(one - other) <= tolerance * max(float(torch.linalg.norm(one)), 1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_the_last_layer_computes_only_what_is_read(name: str) -> None:
    """With short answers behind long texts the last layer leaves most columns out, and nothing that is read changes."""
    model = build(name)
    rows = [Encoded(r.id, (0, *range(100, 130), *r.prompt), r.completion[:1]) for r in random_rows(9, 3)]
    batch = hang(rows, CPU)
    assert batch.tree and batch.tree.tail is not None and len(batch.tree.tail) == len(batch.kept)  # type: ignore[arg-type]
    found = gradients(model, batch, Objective())
    batch.tree.read = None
    wanted = gradients(model, batch, Objective())
    assert found[0] == pytest.approx(wanted[0], rel=1e-9 if name != "gemma2" else 1e-6)
    for one, other in zip(wanted[1], found[1], strict=True):
        assert torch.linalg.norm(one - other) <= (1e-6 if name == "gemma2" else 1e-9) * max(float(torch.linalg.norm(one)), 1e-3)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()), "no hook stays on the model"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_gives_the_same_nats(name: str) -> None:
    """What runs on CUDA, forward: on a CPU flex_attention has no backward pass."""
    model, batch = build(name), hang(shared_rows(), CPU)
    with torch.no_grad(), attending(model):
        wanted = batch.nats(model)
    with torch.no_grad(), attending(model, "flex"):
        found = batch.nats(model)
    assert batch.tree and batch.tree._blocks, "flex_attention was asked"
    assert torch.allclose(found, wanted, rtol=1e-6 if name == "gemma2" else 1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: flex_attention's kernels are for it")
@pytest.mark.parametrize("name", ["llama", "gemma2", "a window shorter than the path"])
def test_flex_attention_on_cuda(name: str) -> None:
    model, rows = build(name).float().to("cuda"), shared_rows()
    device, found = torch.device("cuda"), []
    for kernel in ("flex", "plain"):
        model.zero_grad()
        with attending(model, kernel):
            torch.autograd.backward(summed_loss(model, hang(rows, device)))
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.linalg.norm(found[0] - found[1]) <= 1e-3 * torch.linalg.norm(found[1])


def paths(sequences: list[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], list[int], list[int]]]:
    tree = grow(sequences)
    for sequence, pieces in zip(sequences, tree.paths, strict=True):
        columns = [piece.start + k for piece in pieces for k in range(piece.length)]
        yield sequence, columns, [piece.offset + k for piece in pieces for k in range(piece.length)]


@pytest.mark.parametrize("seed", range(20))
def test_every_sequence_is_a_path_and_sees_itself_alone(seed: int) -> None:
    """Random sequences over two symbols share a great deal: each is read off its columns, and its mask is its own past."""
    rng = np.random.default_rng(seed)
    sequences = [tuple(int(t) for t in rng.integers(0, 2, rng.integers(1, 14))) for _ in range(12)]
    tree = grow(sequences)
    mask = tree.mask(CPU).numpy()
    for sequence, columns, offsets in paths(sequences):
        assert tuple(tree.ids[columns]) == sequence and offsets == list(range(len(sequence)))
        assert (tree.positions[columns] == offsets).all()
        for k, column in enumerate(columns):
            assert set(np.flatnonzero(mask[column])) == set(columns[: k + 1])
    assert len(tree.ids) == sum(n.length for n in tree.nodes) <= sum(map(len, sequences))


def test_what_is_shared_stands_once() -> None:
    instruction = tuple(range(50))
    tree = grow([(*instruction, 100 + i, 200, 201) for i in range(8)])
    assert len(tree.ids) == 50 + 8 * 3 and [n.length for n in tree.shared] == [50]
    assert len(grow([instruction] * 5).ids) == 50, "equal sequences share everything"


def test_neftune_noise_on_a_shared_prefix_is_drawn_once(tiny_base: Path) -> None:
    """Each token of the tree has the noise of one example that it belongs to; rows alone have their own as ever."""
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float64)
    rows = shared_rows()
    noisy = Objective(noise=5.0)
    one, again = (gradients(model, hang(rows, CPU), noisy) for _ in range(2))
    assert one[0] == again[0] and all(torch.equal(a, b) for a, b in zip(one[1], again[1], strict=True))
    assert one[0] != gradients(model, hang(rows, CPU), Objective())[0]
    hung, padded = (gradients(model, batch, noisy)[0] for batch in (hang([rows[0]], CPU), collate([rows[0]], 1, CPU)))
    assert hung == pytest.approx(padded, rel=1e-6)


def test_the_models_own_attention_is_back_afterwards(tiny_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    before = model.config._attn_implementation
    with pytest.raises(RuntimeError), attending(model):
        assert model.config._attn_implementation == "whet_tree"
        raise RuntimeError
    assert model.config._attn_implementation == before


def test_bfloat16_is_near(tiny_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    rows = shared_rows()
    exact = gradients(model, hang(rows, CPU), Objective())[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert gradients(model, hang(rows, CPU), Objective())[0] == pytest.approx(exact, rel=2e-2)
