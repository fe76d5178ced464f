"""The Plan of a run in the terminal: its examples, steps and tokens in sentences, its learning rates as a chart."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from whet.budget.plan import Plan
from whet.budget.tokens import Tokens
from whet.views.curve import chart
from whet.views.wording import count


def plan_summary(plan: Plan) -> Group:
    """What the run will do, within 80 columns; what will surprise comes last."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_row("examples", ", ".join(f"{name} {number:,}" for name, number in plan.examples.items()))
    unit = "example" if plan.rows == plan.examples["train"] else "row"
    if unit == "row":
        facts.add_row("rows", f"{plan.rows:,}, cut out of the training texts")
    passes = f"{count(plan.steps_per_epoch, 'step')} an epoch, {plan.epochs:.3g} epoch{'' if plan.epochs == 1 else 's'}"
    facts.add_row("steps", f"{plan.steps:,} of {count(plan.step_size, unit)}: {passes}")
    facts.add_row("warm-up", count(plan.warmup_steps, "step") if plan.warmup_steps else "none")
    facts.add_row("tokens", _tokens(plan.tokens))
    below: list[RenderableType] = [Text(f"• {warning}", "bold") for warning in plan.warnings]
    return Group(facts, Text(), Text("learning rate", "bold"), chart(plan.rates, "steps"), *below)


def _tokens(tokens: Tokens) -> str:
    """How many, of them with loss, and what the layout makes of them."""
    about = "about " if tokens.is_estimate else ""
    said = [f"{about}{tokens.real:,}, {tokens.answer:,} of them learned"]
    if tokens.layout == "padded" and tokens.padded > tokens.real:
        said.append(f"{tokens.padded:,} with padding ({tokens.padded / tokens.real - 1:.0%} more)")
    if tokens.layout == "tree":
        said.append(f"{tokens.tree:,} computed: the token tree leaves out {tokens.shared_fraction:.0%}, which rows share")
    elif tokens.tree < tokens.real:
        said.append(f"share_prefix = true would leave out {tokens.shared_fraction:.0%}, which rows share")
    if tokens.instruction_first is not None and tokens.instruction_first < tokens.tree:
        gain = 1 - tokens.instruction_first / tokens.tree
        said.append(f"all prompts end alike: with that end first, the tree would compute {gain:.0%} less")
    return "\n".join(said)
