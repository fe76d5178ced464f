"""How a run's micro-batches become tensors: the fastest layout that this model computes exactly, tried before it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal
from weakref import WeakKeyDictionary

import torch

from whet.data.tokens import Encoded
from whet.engine.attention import Kernel, attending
from whet.engine.batch_size import is_out_of_memory, release
from whet.engine.batches import Batch, collate, hang, pack
from whet.engine.course import Course
from whet.engine.fused.fusing import fusing
from whet.engine.loss import summed_loss
from whet.progress import Progress

# What rounding may change between two layouts, relative to the loss and to the gradient's norm: of a model in float32, and of
# one in lower precision. A model that lets examples see each other is off by far more.
TOLERANCE = {"float32": 1e-3, "lower": 5e-2}
TRIED_EXAMPLES, TRIED_TOKENS = 4, 2048  # padded, they keep everything: two examples say as much, if they are long
# What a model raises that is not made for such a layout; running out of memory, a RuntimeError too, is told apart.
REFUSALS = (TypeError, ValueError, AttributeError, AssertionError, RuntimeError, IndexError)


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to lay examples out. `lay` makes the batches of a micro-batch, `kernel` computes the attention of a tree."""

    name: Literal["padded", "packed", "tree"]
    lay: Callable[[Sequence[Encoded]], list[Batch]]
    kernel: Kernel = "plain"

    @contextmanager
    def attending(self, model: torch.nn.Module) -> Iterator[None]:
        """What forward and backward passes of such batches run in."""
        if self.name == "tree":
            with attending(model, self.kernel), fusing(model):
                yield
        else:
            yield


# The layout of a model that has been tried; short documents one by one would pay for the trial each time.
_tried: WeakKeyDictionary[torch.nn.Module, Layout] = WeakKeyDictionary()


def scoring_layout(model: torch.nn.Module, rows: Sequence[Encoded], padding: int, device: torch.device) -> Layout:
    """The token tree if it gives the nats of the padded computation on the first rows that a model scores, else padded."""
    if model not in _tried:
        _tried[model] = _first_with_the_nats(model, rows[:TRIED_EXAMPLES], _padded(padding, device), _hung(device))
    return _tried[model]


def _first_with_the_nats(model: torch.nn.Module, rows: Sequence[Encoded], plain: Layout, wanted: Sequence[Layout]) -> Layout:
    """The first of the wanted layouts that gives the plain one's nats on these rows, or the plain one."""

    def nats(layout: Layout) -> float:
        with layout.attending(model):
            return sum(float(batch.nats(model).sum()) for batch in layout.lay(rows))

    right = nats(plain)
    for layout in wanted:
        try:
            if abs(nats(layout) - right) <= _tolerance(model) * max(1.0, abs(right)):
                return layout
        except REFUSALS as error:
            if is_out_of_memory(error):
                raise
    return plain


def _padded(padding: int, device: torch.device) -> Layout:
    """Side by side: every model computes it."""
    return Layout("padded", lambda rows: [collate(rows, padding, device)])


def _hung(device: torch.device) -> list[Layout]:
    """On a token tree, by each way to compute its attention there, the fastest first."""
    kernels: list[Kernel] = ["flex", "plain"] if device.type == "cuda" else ["plain"]
    return [Layout("tree", lambda rows: [hang(rows, device)], kernel) for kernel in kernels]


def _called(layout: Layout) -> str:
    if layout.name == "packed":
        return "packing"
    return "flex_attention" if layout.kernel == "flex" else "the token tree"


def _tolerance(model: torch.nn.Module) -> float:
    return TOLERANCE["float32" if all(p.dtype in (torch.float32, torch.float64) for p in model.parameters()) else "lower"]


def choose_layout(model: torch.nn.Module, course: Course, device: torch.device, progress: Progress) -> Layout:
    """The token tree where the recipe shares prefixes, packed rows where it packs or the tree does not serve, else padded.

    Each is tried on a few examples of the first step: loss and gradient must be those of the plain padded computation. One that
    is not exact for this model is said and left.
    """
    train, plain = course.timetable.train, _padded(course.padding, device)
    wanted = _hung(device) if train.share_prefix else []
    if train.packing or train.share_prefix:
        wanted.append(Layout("packed", partial(pack, device=device)))
    if not wanted:
        return plain
    rows = [course.rows[i] for i in course.timetable.rows(0)[:TRIED_EXAMPLES]]
    while len(rows) > 2 and len(rows) * max(map(len, rows)) > TRIED_TOKENS:
        rows.pop()
    while rows:
        try:
            return _first_exact(model, rows, wanted, plain, progress)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            model.zero_grad(set_to_none=True)
        release()
        rows = rows[: len(rows) // 2]
    return plain  # not even one example fits: the first step says so, and what helps


def _first_exact(
    model: torch.nn.Module, rows: Sequence[Encoded], wanted: Sequence[Layout], plain: Layout, progress: Progress
) -> Layout:
    """The first of the wanted layouts that gives the plain one's loss and gradient on these rows, or the plain one."""
    wanted_nats, wanted_gradient = _measured(model, rows, plain)
    for layout in wanted:
        what = _difference(model, rows, layout, wanted_nats, wanted_gradient)
        if what is None:
            return layout
        progress.say(f"{_called(layout)} is off: {what}")
    return plain


def _difference(
    model: torch.nn.Module, rows: Sequence[Encoded], layout: Layout, nats: float, gradient: list[torch.Tensor]
) -> str | None:
    """In what way a layout is not the plain computation for this model; None if it is."""
    try:
        found, moved = _measured(model, rows, layout)
    except REFUSALS as error:
        if is_out_of_memory(error):
            raise
        return f"this model cannot be computed that way ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    limit = _tolerance(model)
    if abs(found - nats) > limit * max(1.0, abs(nats)):
        return f"this model does not keep examples apart ({nats:.4f} nats padded, {found:.4f} so)"
    norm = sum(float(g.double().square().sum()) for g in gradient) ** 0.5
    gap = sum(float((a - b).double().square().sum()) for a, b in zip(gradient, moved, strict=True)) ** 0.5
    if gap > limit * norm:
        return f"its gradient differs from the padded one by {gap / norm:.1e}" if norm else "its gradient is not zero"
    return None


def _measured(model: torch.nn.Module, rows: Sequence[Encoded], layout: Layout) -> tuple[float, list[torch.Tensor]]:
    """(nats, gradient of each trained parameter) of these rows, without dropout; no gradient stays behind."""
    model.eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    nats = 0.0
    with layout.attending(model):
        for batch in layout.lay(rows):
            loss = summed_loss(model, batch)
            loss.backward()
            nats += float(loss.detach())
    gradient = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    for p in trained:
        p.grad = None
    return nats, gradient
