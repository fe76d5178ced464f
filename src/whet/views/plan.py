"""The Plan of a run in the terminal: its examples, steps and tokens in sentences, its learning rates as a chart."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from whet.budget.plan import Plan, Tokens
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
    """How many, of them with loss, and what padding adds."""
    said = f"{'about ' if tokens.is_estimate else ''}{tokens.real:,}, {tokens.answer:,} of them learned"
    if tokens.padded == tokens.real:
        return said
    return f"{said}, {tokens.padded:,} with padding ({tokens.padded / tokens.real - 1:.0%} more)"
