"""The sections of a recipe: each setting exists once, here, with its default, range and help."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from whet.knobs.optimizers import why_not_optimizer
from whet.knobs.schedules import why_not_schedule

EMBEDDED_BASE = "whetstone"
# Which kinds of quantization read a key of [model].
QUANTIZED_BY = {
    "bnb_4bit_use_double_quant": ("nf4", "fp4"), "bnb_4bit_compute_dtype": ("nf4", "fp4"), "llm_int8_threshold": ("int8",),
    "llm_int8_skip_modules": ("int8", "nf4", "fp4"), "llm_int8_enable_fp32_cpu_offload": ("int8", "nf4", "fp4"),
}  # fmt: skip


class Section(BaseModel):
    """A section of the recipe: frozen, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(Section):
    """Where the examples are and which columns they stand in. The `[data]` section."""

    path: str = Field(
        description="a CSV, TSV, JSONL, JSON, Parquet or Arrow file, or a Hub id; relative to the recipe. "
        "`text` also takes a .txt or .md file, or a folder of them; with `format`, a public corpus"
    )  # fmt: skip
    format: str | None = Field(
        None, description="`path` is a corpus in this format (a file, a zip, a folder, or a name in `whet corpus list`), whose "
        "rows bring instruction, input and answer; no columns are named. auto: recognised by the first records",
    )  # fmt: skip
    input: tuple[str, ...] = Field((), description="the column (or list of columns) that the model reads; text files have none")
    target: str | None = Field(None, description="the column that it must answer; `text` has none")
    instruction: str | None = Field(
        None,
        description="a column of instructions, where each row brings its own; [task] instruction stands in for empty cells",
    )
    group: str | None = Field(None, description="a column whose rows never straddle two splits (a speech, an author)")
    label_names: dict[str, str] = Field(
        default_factory=dict, description="what a cell of the target column is called as a label"
    )
    validation_path: str | None = Field(None, description="a file of its own for validation, instead of a share of `path`")
    test_path: str | None = Field(None, description="a file of its own for the test split, instead of a share of `path`")
    extra_path: tuple[str, ...] = Field(
        (), description="tables with the same columns whose rows are only trained on, such as those of `whet synth`; "
        "what repeats a row, or leaks, is left out",
    )  # fmt: skip
    validation_fraction: float = Field(0.1, description="share of the examples for validation", gt=0, lt=0.5)
    test_fraction: float = Field(0.2, description="share of the examples for the test split", gt=0, lt=0.9)
    encoding: str | None = Field(None, description="the text encoding, where it is not UTF-8 and no byte-order mark says it")
    delimiter: str | None = Field(
        None, description="the column separator, where it should not be found by itself", max_length=1
    )
    header: bool = Field(
        True, description="does the first row of a CSV or TSV file name the columns? If not: column_1, column_2, ..."
    )
    split: str = Field("train", description="the split of a Hub data set (or of Super-NaturalInstructions) that `path` names")
    licence: str | None = Field(
        None, description="the licence of rows that state none: a name such as CC-BY-4.0, `own` for rows of your own; "
        "of a table also the column that holds it",
    )  # fmt: skip
    maker: str | None = Field(
        None, description="who wrote rows that do not say it: people, rules, or the language model; of a table also a column"
    )
    use: Literal["research", "commercial"] = Field(
        "research", description="commercial: refuses rows whose licence forbids that or is not stated, and rows by a model "
        "whose terms forbid training others",
    )  # fmt: skip
    near_duplicate_threshold: float = Field(
        0.8, description="Jaccard similarity from which two texts are the same for a leak", gt=0, le=1
    )
    templates: str | None = Field(
        None, description="a template set: a name in `whet template list`, or a file of templates. Each training example is "
        "asked with one of them; validation, test and predictions with the first",
    )  # fmt: skip
    template: str | None = Field(None, description="the only template of the set that is used; left out: all of them")
    template_fields: dict[str, str] = Field(
        default_factory=dict, description="field of the templates = column of `input`, where they are called differently; "
        "\"=text\" is a text that is the same for every row",
    )  # fmt: skip
    options_fraction: float = Field(
        0.5, description="share of the training examples with the Options clause, of those whose template takes one; "
        "from a half on, validation, test and predictions have it too", ge=0, le=1,
    )  # fmt: skip
    inverted_fraction: float = Field(
        0.0, description="`generate`: share of the training examples whose template turns the task around", ge=0, lt=1
    )
    few_shot_fraction: float = Field(
        0.0, description="share of the training examples behind worked ones, always the same of the training split", ge=0, le=1
    )
    shots: int = Field(2, description="worked examples that these are asked behind", ge=1)
    document_characters: int | None = Field(
        None, description="`text`: files are cut between paragraphs into documents of about so many characters; "
        "left out: a file is a document, but one file alone is cut at 5,000", ge=100,
    )  # fmt: skip
    mix_path: str | None = Field(
        None,
        description="`text`: a table of instructions and answers that is mixed into training, so that answering is not lost",
    )
    mix_fraction: float = Field(0.1, description="share of the training examples that come from `mix_path`", gt=0, lt=1)
    mix_instruction: str = Field("instruction", description="the column of `mix_path` that says what to do")
    mix_input: str = Field("input", description="the column of `mix_path` that is read with it; a cell may be empty")
    mix_target: str = Field("output", description="the column of `mix_path` that is the answer")

    @field_validator("input", "extra_path", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _template_keys_fit(self) -> Data:
        of_templates = ("template", "template_fields", "options_fraction", "inverted_fraction", "few_shot_fraction", "shots")
        if self.templates is None:
            usual = {key: type(self).model_fields[key].get_default(call_default_factory=True) for key in of_templates}
            if given := [key for key, value in usual.items() if getattr(self, key) != value]:
                raise ValueError(f"{', '.join(given)}: these belong to `templates`; add it, or leave them out")
        elif self.format or self.instruction:
            raise ValueError("templates say what to do, and so do the rows of a corpus or an instruction column; leave one out")
        if self.shots != 2 and not self.few_shot_fraction:
            raise ValueError("shots belongs to few_shot_fraction; add it, or leave shots out")
        return self


class Model(Section):
    """The model to sharpen, and the precision of its weights. The `[model]` section."""

    base: str = Field(EMBEDDED_BASE, description="`whetstone` (embedded), a local directory, a finished run folder or a Hub id")
    random_weights: bool = Field(False, description="start from random weights of the same shape: what is pretraining worth?")
    adapters: tuple[str, ...] = Field(
        (), description="PEFT adapter folders that are put on the base first, in this order, and stay as they are"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="precision of the weights that are not quantized; bfloat16 halves them, and full training in it "
        "loses small updates",
    )
    quantize: Literal["int8", "nf4", "fp4"] | None = Field(
        None,
        description="keep the base's linear layers in 8 or 4 bits (bitsandbytes) and train an adapter on top; needs [lora]",
    )
    bnb_4bit_use_double_quant: bool = Field(
        False, description="4-bit: quantize the quantization constants too (0.37 bits less a weight)"
    )
    bnb_4bit_compute_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="4-bit: what the weights are computed with"
    )
    llm_int8_threshold: float = Field(6.0, description="int8: columns with a larger activation stay 16-bit; 0 is off", ge=0)
    llm_int8_skip_modules: tuple[str, ...] = Field((), description="modules that stay unquantized, besides the output head")
    llm_int8_enable_fp32_cpu_offload: bool = Field(
        False, description="layers that do not fit on the accelerator stay on the CPU in float32"
    )

    @model_validator(mode="after")
    def _quantization_fits(self) -> Model:
        if self.quantize and self.random_weights:
            raise ValueError("random_weights has no weights on disk that quantize could read; leave one of them out")
        idle = [
            f"{key} (which goes with {' or '.join(kinds)})"
            for key, kinds in QUANTIZED_BY.items()
            if self.quantize not in kinds and getattr(self, key) != type(self).model_fields[key].default
        ]
        if idle:
            raise ValueError(f"without that quantize, {', '.join(idle)} would do nothing; leave it out, or set quantize")
        return self


class Lora(Section):
    """A low-rank adapter in PEFT's own format. Without the `[lora]` section all weights are trained. The `[lora]` section."""

    r: int = Field(16, description="rank of the update", ge=1)
    lora_alpha: float = Field(32.0, description="the update is scaled by lora_alpha / r", gt=0)
    lora_dropout: float = Field(0.0, description="dropout before the adapter", ge=0, lt=1)
    target_modules: str | tuple[str, ...] = Field(
        "all-linear",
        description="which linear layers get one: all, a list of names or parts of names (q_proj, layers.3), or a regular "
        "expression of whole names; the head never does",
    )
    exclude_modules: tuple[str, ...] = Field((), description="names (or parts of names, as layers.0) of layers that get none")
    layers_to_transform: tuple[int, ...] = Field(
        (), description="numbers of the transformer layers that get one; left out: all"
    )
    use_rslora: bool = Field(False, description="scale by lora_alpha / sqrt(r), which keeps large ranks learning")
    use_dora: bool = Field(False, description="learn magnitude and direction apart (DoRA); slower")
    init_lora_weights: Literal["default", "gaussian", "pissa", "olora", "orthogonal"] = Field(
        "default", description="how A and B begin: B at zero (default, gaussian), or from the base's own weights (pissa, olora)"
    )
    bias: Literal["none", "all", "lora_only"] = Field("none", description="which biases train beside the adapter")
    modules_to_save: tuple[str, ...] = Field(
        (), description="modules trained whole and saved with the adapter, such as lm_head"
    )


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


class Evaluate(Section):
    """What the result is compared with. The `[evaluate]` section."""

    baselines: tuple[Literal["majority", "tfidf", "zero_shot", "few_shot"], ...] = Field(
        ("majority", "tfidf", "zero_shot", "few_shot"), description="what the fine-tune must beat"
    )
    few_shot_examples: int = Field(4, description="worked examples in the few-shot prompt, from the training split", ge=1)
    batch_size: int = Field(32, description="examples scored at a time", ge=1)
    bootstrap_samples: int = Field(1000, description="resamples behind each 95 % interval", ge=100)
    max_new_tokens: int = Field(128, description="longest answer of a `generate` task", ge=1)


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
        default_factory=dict, description="what else is kept balanced within each label, as in length = [\"one sentence\", ...]"
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
        for url in self.base_url:
            if not url.startswith(("http://", "https://")) or "@" in url.partition("//")[2].partition("/")[0]:
                raise ValueError("base_url begins with http:// or https://, and holds no name or password; see api_key_env")
        if self.weights and (len(self.weights) != len(self.base_url) or min(self.weights) <= 0):
            raise ValueError("weights holds one positive number for each base_url")
        if not self.base_url and self.api_key_env:
            raise ValueError("api_key_env belongs to a base_url; without one the model runs here")
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
