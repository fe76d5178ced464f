"""The Plan of a run in the terminal: whether it fits, where its memory goes, its time, steps and tokens, its learning rates."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from whet.budget.lengths import Cut, Lengths
from whet.budget.plan import Cost, Plan
from whet.budget.time import Time
from whet.budget.tokens import Tokens
from whet.budget.verdict import Suggestion
from whet.views.curve import chart
from whet.views.histogram import histogram
from whet.views.memory import stacked
from whet.views.wording import count, duration, size

VERDICTS = {"fits": "bold green", "tight": "bold yellow", "does not fit": "bold red"}
BASES = {
    "table": "from a table of devices, good to a factor of three; --measure takes a few real steps",
    "runs": "from the speed of earlier runs here",
    "measured": "from steps that were really taken here",
}
CHANGED = {
    "nothing": "the same run", "rounding": "other rounding", "precision": "less precision", "capacity": "learns less",
    "method": "another method",
}
MOST_SUGGESTIONS = 6


def plan_summary(plan: Plan) -> Group:
    """What the run will do and take, within 80 columns; what will surprise comes last."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    if plan.assumed:
        facts.add_row("assumed", plan.assumed)
    facts.add_row("examples", ", ".join(f"{name} {number:,}" for name, number in plan.examples.items()))
    unit = "example" if plan.rows == plan.examples["train"] else "row"
    if unit == "row":
        facts.add_row("rows", f"{plan.rows:,}, cut out of the training texts")
    passes = f"{count(plan.steps_per_epoch, 'step')} an epoch, {plan.epochs:.3g} epoch{'' if plan.epochs == 1 else 's'}"
    facts.add_row("steps", f"{plan.steps:,} of {count(plan.step_size, unit)}: {passes}")
    facts.add_row("warm-up", count(plan.warmup_steps, "step") if plan.warmup_steps else "none")
    facts.add_row("tokens", _tokens(plan.tokens))
    if plan.cost:
        if plan.cost.time:
            facts.add_row("time", _time(plan.cost.time, plan.steps))
        facts.add_row("device", f"{plan.cost.device.name}, {size(plan.cost.device.memory_bytes)}")
    above = [_verdict(plan.cost), Text()] if plan.cost else []
    memory = _memory(plan.cost) if plan.cost else []
    if plan.unknown:
        facts.add_row("memory", f"not predicted: {plan.unknown}")
    fitting = _fit(plan)
    lengths = [Text(), Text("tokens of a training row", "bold"), *_lengths(plan.lengths)] if plan.lengths else []
    below: list[RenderableType] = [Text(f"• {warning}", "bold") for warning in plan.warnings]
    rates = [Text(), Text("learning rate", "bold"), chart(plan.rates, "steps")]
    return Group(*above, facts, *memory, *fitting, *lengths, *rates, *below)


def _verdict(cost: Cost) -> Text:
    what = f": {size(cost.needed_bytes)} of {size(cost.device.memory_bytes)}"
    return Text(cost.verdict, VERDICTS[cost.verdict]).append(what, "bold")


def _memory(cost: Cost) -> list[RenderableType]:
    """Where it goes, by phase; what would help."""
    how = {"formula": "by formula", "replay": "by replay of the step"}[cost.memory.source]
    rows = cost.heavy.load
    heaviest = f"heaviest micro-batch: {count(rows.rows, 'row')}, {count(rows.columns, 'column')}"
    head = Text("memory", "bold").append(f"  {how}; {heaviest}", "not bold dim")
    bars = stacked(cost.memory.by_phase, cost.device.outside_bytes, cost.device.memory_bytes)
    drawn: list[RenderableType] = [Text(), head, bars]
    if cost.scale.memory_runs:
        runs = count(cost.scale.memory_runs, "earlier run")
        said = f"{runs} on this device took {cost.scale.memory:.2f} of what was predicted; that is counted in."
        drawn.append(Text(said, "dim"))
    if cost.suggestions:
        drawn += [Text(), Text("what would help, most memory for the time first", "bold"), _suggestions(cost.suggestions)]
    return drawn


def _suggestions(found: tuple[Suggestion, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("needs", justify="right", no_wrap=True)
    table.add_column("takes", justify="right", no_wrap=True)
    table.add_column("set")
    for each in found[:MOST_SUGGESTIONS]:
        longer = f"+{duration(each.lost_seconds)}" if each.lost_seconds else "no longer"
        text = Text("\n".join(f"{key} = {_value(value)}" for key, value in each.knob.sets.items()), "bold")
        text.append(f"\n{CHANGED[each.knob.changes]}: {each.knob.meaning}", "not bold dim")
        table.add_row(Text(size(each.needed_bytes), VERDICTS[each.verdict]), longer, text)
    return table


def _fit(plan: Plan) -> list[RenderableType]:
    """The settings that make it fit, with what they change."""
    if plan.fit is None:
        return []
    lines = [f"{key} = {_value(value)}" for key, value in plan.fit.sets.items()]
    meaning = [f"{CHANGED[knob.changes]}: {knob.meaning}" for knob in plan.fit.knobs]
    head = Text("what makes it fit", "bold").append(f"  then it needs {size(plan.fit.needed_bytes)}", "not bold")
    return [Text(), head, Text("\n".join(lines)), *(Text(f"• {said}", "dim") for said in meaning)]


def _lengths(found: Lengths) -> list[RenderableType]:
    """The histogram, and what the cut did to each label."""
    most = "" if found.limit is None else f"; at most {found.limit:,} are allowed"
    said = Text(f"median {found.median:,}, longest {found.longest:,}{most}", "dim")
    return [histogram(found), said, *(Text(_cut(cut)) for cut in found.cuts)]


def _cut(cut: Cut) -> str:
    lost = [f"{n:,} {what}" for n, what in ((cut.cut, "cut"), (cut.dropped, "dropped")) if n] or ["none cut"]
    return f"• {cut.label}: {', '.join(lost)} of {count(cut.rows, 'row')} ({(cut.cut + cut.dropped) / cut.rows:.0%})"


def _time(found: Time, steps: int) -> str:
    """The whole run, its parts, how it is known, and what it costs."""
    parts = {"training": found.training, "validation": found.validation, "evaluation": found.evaluation}
    whole = f"{duration(found.seconds)} ({duration(found.low)} to {duration(found.high)}), {BASES[found.basis]}"
    said = [whole, ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items())]
    said[1] += f"; {duration(found.training / steps)} a step"
    if found.kilowatt_hours is not None:
        said.append(f"{found.kilowatt_hours:.3g} kWh at {found.watts:g} W")
    if found.price is not None:
        said.append(f"price {found.price:.2f} at {found.price_per_hour:g} an hour")
    return "\n".join(said)


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


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
