"""An LLM makes the examples, and the money is safe.

`making.Making` is the core. It sends requests to the model (`pool` over `client` or `local`), behind a journal that is written
before anything happens and a budget that no request can pass; it takes the answers in order, filters what is read from them and
keeps a stock of accepted rows. Everything that it needs to go on after a kill is in the journal.

A **method** says what to ask and what the answers mean, and nothing else. It is a class in a module of its own under
`synth/methods/`, registered by name in `methods.METHODS` and in `[synth] method`; `description` is the one to read first:

    class MyMethod:
        prompts = ("mine",)                          # the templates that it asks with: synth/prompts/mine.toml

        def __init__(self, desk: Desk) -> None: ...

        def ask(self, stock: Stock, room: int) -> Sequence[Request]:
            # What to send next, `room` requests at most. CHANGES NOTHING: a look ahead calls it too. The core calls it
            # again when all of them are answered or parked.
            return [self.desk.request("rows", {"topic": t}, prompt="mine", number=stock.asked + n, context={"topic": t})
                    for n, t in enumerate(self.topics[:room])]

        def take(self, answer: Answer) -> Iterator[Candidate | Rejection]:
            # Once for each request, in order, whatever became of it. All that it needs to know stands in
            # answer.request.context (plain JSON values). Here the state may change.
            if answer.is_usable:
                for fields in read_rows(answer, self.desk.columns, target):
                    yield fields if isinstance(fields, Rejection) else Candidate(fields, ..., cell=..., marks={...})

        def learn(self, row: Row) -> None: ...       # one of its candidates was accepted

Rules that make a journal replay to the same rows: `ask` is a function of the state and the stock; the state changes in `take`
and `learn` only; random choices come from `desk.random(use, number)`; what `take` needs stands in the request's context. A
request without an answer is parked: `take` is called with it (`answer.is_usable` is False), and again once it is answered.

`Candidate.cell` says which share of the target a row counts for: `(label, slice, ...)` for `classify`, `(slice, ...)` for
others, `()` where nothing is balanced. A request whose context has a `cell` counts towards the yield of that cell
(`stock.requests_for`). `Candidate.parents` and `.group` name rows that it may be like. `Candidate.marks` become columns.

A **check** (`checks.Check`) asks the model about a candidate that passed the filters: a request, and a verdict on the answer.
A **filter** is a function from a Candidate to a Rejection or None (`filters`). What is counted is counted by its reason.
"""
