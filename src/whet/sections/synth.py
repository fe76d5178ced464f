"""The `[synth]` section: an LLM makes examples."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from whet.sections.section import Section

Operation = Literal["constraints", "deepen", "concretise", "reasoning", "input", "breadth"]
KEYS_OF_METHODS = {
    "classification_fraction": "self_instruct", "rewordings": "unnatural", "rounds": "evol", "operations": "evol",
    "from_run": "weak",
}  # fmt: skip


class Synth(Section):
    """An LLM makes the examples: which one, by which method, how many, for how much. The `[synth]` section."""

    method: Literal[
        "description", "contrast", "self_instruct", "unnatural", "evol", "back_instruction", "paraphrase", "weak"
    ] = Field(
        "description", description="description: rows of each label, from the task's words; contrast: each seed edited into "
        "every other label; self_instruct, unnatural: new tasks from a few; evol: each seed made harder, round by round; "
        "back_instruction: the instruction to each text; paraphrase: a template set; weak: rows where `from_run` is weak",
    )  # fmt: skip
    model: str = Field(description="the maker: what the server calls it; without `base_url` a local directory or Hub id")
    base_url: tuple[str, ...] = Field(
        (), description="an OpenAI-compatible server, up to /v1, or a list of them that serve the same model; left out: it "
        "runs here, through Transformers",
    )  # fmt: skip
    weights: tuple[float, ...] = Field((), description="how much of the work each of several servers gets; left out: equal")
    api_key_env: str | None = Field(None, description="the environment variable that holds the key; the key is written nowhere")
    licence: str | None = Field(None, description="the terms of what the maker writes, for every row")
    rows: int = Field(100, description="accepted rows wanted", ge=1)
    shares: dict[str, float] = Field(default_factory=dict, description="share of each label in them; left out: equal")
    slices: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description='what else is kept balanced within each label, as in length = ["one sentence", ...]'
    )
    output_first_fraction: float = Field(
        1.0, description="`classify`: share of the requests that name the label first; the others write inputs and label them",
        ge=0, le=1,
    )  # fmt: skip
    classification_fraction: float = Field(
        0.2, description="`self_instruct`: share of the requests for new tasks that ask for classifications", ge=0, le=1
    )
    rewordings: int = Field(2, description="`unnatural`: other wordings of each row's instruction", ge=0, le=10)
    rounds: int = Field(4, description="`evol`: how often a seed is made harder; what fails stays as it was", ge=1)
    operations: tuple[Operation, ...] = Field(
        get_args(Operation), description="`evol`: the operations, with equal chance", min_length=1
    )
    from_run: str | None = Field(
        None, description="`weak`: the folder of an evaluated run, whose weak spots get more rows; `whet synth --from` names it"
    )
    rows_per_request: int = Field(5, description="rows that one request asks for", ge=1, le=50)
    seeds: str | None = Field(None, description="a table with the columns of [data]: examples to show the maker, never copied")
    prompts: str | None = Field(None, description="a folder of prompts that stand in for whet's own, by name")
    temperature: float | None = Field(None, description="of every prompt that makes rows; left out: what the prompt says", ge=0)
    max_tokens: int | None = Field(None, description="longest answer to such a prompt; left out: what the prompt says", ge=1)
    structured: Literal["auto", "schema", "parse"] = Field(
        "auto", description="JSON by the server's own schema, or read out of the text; auto asks the server once"
    )
    concurrency: int = Field(64, description="requests under way at a time", ge=1)
    timeout_seconds: float = Field(120.0, description="for one attempt at one request", gt=0)
    max_tries: int = Field(5, description="attempts after faults, before a request is parked", ge=1)
    price_in: float | None = Field(None, description="price of a million tokens of prompts, in any currency", ge=0)
    price_out: float | None = Field(None, description="price of a million tokens of answers", ge=0)
    budget_tokens: int | None = Field(None, description="most tokens, of prompts and answers, over all calls", ge=1)
    budget_cost: float | None = Field(None, description="most money, over all calls; needs the prices", gt=0)
    budget_minutes: float | None = Field(None, description="most minutes of one call", gt=0)
    patience: int = Field(50, description="stop after so many answers in a row that gave only rejected rows", ge=1)
    pilot_rows: int = Field(20, description="rows of the pilot, from which the rest is forecast", ge=1)
    novelty_threshold: float = Field(
        0.7, description="ROUGE-L F1 with an earlier row above which a row is not new; 1 is off", gt=0, le=1
    )
    near_duplicate_threshold: float = Field(
        0.8, description="Jaccard similarity with an earlier row from which a row is its near duplicate", gt=0, le=1
    )
    embedding_model: str | None = Field(
        None, description="a model whose embeddings say whether a row means the same as an earlier one: what the server at "
        "`embedding_url` calls it; without one a local directory or Hub id, whose last hidden states are averaged",
    )  # fmt: skip
    embedding_url: str | None = Field(None, description="an OpenAI-compatible server with /embeddings, up to /v1")
    embedding_key_env: str | None = Field(None, description="the environment variable that holds the key of that server")
    embedding_threshold: float = Field(
        0.9, description="cosine with an earlier row's embedding from which a row means the same; what is right depends on the "
        "model", gt=0, le=1,
    )  # fmt: skip
    heuristics: Literal["plain", "self_instruct", "alpaca"] = Field(
        "plain", description="also reject what the authors of that data set rejected: lengths, words, first characters"
    )
    min_words: int = Field(1, description="fewest words of a row's text", ge=1)
    max_words: int | None = Field(None, description="most words of a row's text", ge=1)
    banned_words: tuple[str, ...] = Field((), description="words that no row may hold")
    language: str | None = Field(
        None, description="the language of the rows, such as en; rows that are clearly in another are rejected"
    )
    check_labels: bool = Field(False, description="`classify`: ask the maker what each row is; reject it if the label differs")
    judge_rubric: str | None = Field(
        None, description="what makes a row good, in words: the maker scores each row from 1 to 10 by it"
    )
    judge_threshold: float = Field(7.0, description="the least score of a row", ge=1, le=10)
    judge_human: str | None = Field(
        None, description="a table with the columns of [data] and a column `good` (yes or no): rows that people judged, which "
        "the judge is measured against before it may reject any",
    )  # fmt: skip
    judge_kappa: float = Field(
        0.4, description="the least Cohen's kappa of judge and people; below it the judge rejects nothing", ge=-1, le=1
    )
    judge_unmeasured: bool = Field(False, description="let the judge reject rows whatever its kappa, or without `judge_human`")
    taken_out: tuple[str, ...] = Field(
        (), description="requests (column `request`, or how it begins) whose rows are taken out, with all that was made of them"
    )

    @field_validator("base_url", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _servers_fit(self) -> Synth:
        for url in (*self.base_url, *([self.embedding_url] if self.embedding_url else [])):
            if not url.startswith(("http://", "https://")) or "@" in url.partition("//")[2].partition("/")[0]:
                raise ValueError("an address begins with http:// or https://, and holds no name or password; see api_key_env")
        if self.weights and (len(self.weights) != len(self.base_url) or min(self.weights) <= 0):
            raise ValueError("weights holds one positive number for each base_url")
        if not self.base_url and self.api_key_env:
            raise ValueError("api_key_env belongs to a base_url; without one the model runs here")
        if self.embedding_key_env and not self.embedding_url:
            raise ValueError("embedding_key_env belongs to an embedding_url; without one the model runs here")
        keys = ("embedding_url", "embedding_threshold")
        given = [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]
        if given and self.embedding_model is None:
            raise ValueError(f"{', '.join(given)}: these belong to an embedding_model; name it")
        return self

    @model_validator(mode="after")
    def _keys_of_a_method_fit(self) -> Synth:
        for key, method in KEYS_OF_METHODS.items():
            if self.method != method and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f'{key} belongs to method = "{method}"; leave it out')
        judging = ("judge_threshold", "judge_human", "judge_kappa", "judge_unmeasured")
        given = [key for key in judging if getattr(self, key) != type(self).model_fields[key].default]
        if given and not self.judge_rubric:
            raise ValueError(f"{', '.join(given)}: a judge needs judge_rubric, which says what makes a row good")
        if "" in self.taken_out:
            raise ValueError("taken_out: an empty text is how every request begins; name one")
        return self

    @model_validator(mode="after")
    def _sums_fit(self) -> Synth:
        if self.budget_cost is not None and (self.price_in is None or self.price_out is None):
            raise ValueError("budget_cost needs price_in and price_out")
        if any(share < 0 for share in self.shares.values()) or (self.shares and not sum(self.shares.values())):
            raise ValueError("shares holds numbers from 0 up, not all of them 0")
        if any(not choices for choices in self.slices.values()):
            raise ValueError("slices: each one needs at least one choice")
        if self.max_words is not None and self.max_words < self.min_words:
            raise ValueError("max_words is less than min_words")
        return self
