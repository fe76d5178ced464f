"""The `[data]` section: where the examples are, and what becomes of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from whet.sections.section import Section


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
