"""The sources of `whet corpus`: files, folders, corpora of the catalogue; their licence and maker, and splits of tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from whet.data.corpora.catalogue import Corpus, corpora
from whet.data.licences import read_licence
from whet.data.provenance import Stated
from whet.errors import DataError, Problem

CARD = "README.md"
CARD_BYTES = 2**16
SPLITS = "splits"  # of Super-NaturalInstructions: splits/default/train_tasks.txt names files of tasks/
_NAME = re.compile(r"[\w.-]+")
_OTHER = "other"  # the Hub's word for a licence that it has no name for


class Named(NamedTuple):
    """A source: what it is called, where it is, and the corpus of the catalogue that it is (a copy of), where that is said."""

    name: str
    place: str
    corpus: Corpus | None


def parse_source(source: str | Path) -> Named:
    """The source in `FILE` or `NAME=FILE`. A name out of the catalogue says that the file is a copy of that corpus.

    Example:
        >>> parse_source("lima=train.jsonl").corpus.title, parse_source("mine=chats.jsonl.gz").name
        ('LIMA', 'mine')
        >>> parse_source("data/chats.jsonl.gz").name, parse_source("somebody/talks").name
        ('chats', 'talks')
    """
    text = str(source)
    name, sign, place = text.partition("=")
    by_name = {corpus.name: corpus for corpus in corpora()}
    if sign and place and _NAME.fullmatch(name) and not Path(text).exists():
        return Named(name, place, by_name.get(name))
    return Named(Path(text).resolve().name.partition(".")[0] or text, text, None if Path(text).exists() else by_name.get(text))


def parse_sources(sources: Sequence[str | Path]) -> list[Named]:
    """The same of several, each by a name of its own: of two that are called alike, the second gets a number."""
    found: list[Named] = []
    for named in map(parse_source, sources):
        alike = sum(re.fullmatch(rf"{re.escape(named.name)}(-\d+)?", other.name) is not None for other in found)
        found.append(named._replace(name=f"{named.name}-{alike + 1}") if alike else named)
    return found


def state(named: Named, given: Stated) -> Stated:
    """What is stated of the rows of a source: as given, else as the catalogue knows it, else as a card beside it says."""
    known = _of_corpus(named.corpus) if named.corpus else Stated()
    path = Path(named.place)
    licence = given.licence or known.licence or (_licence_on_card(path) if path.exists() else None)
    return Stated(licence, given.maker or known.maker)


def _of_corpus(corpus: Corpus) -> Stated:
    """Licence and maker of all rows of a corpus; None where its parts have their own."""
    licence = None if corpus.commercial == "mixed" else corpus.licence
    if corpus.forbids_competing == "in part":
        return Stated(licence)
    return Stated(licence, ", ".join(corpus.models or corpus.made_by) if corpus.models or "LLM" not in corpus.made_by else None)


def _licence_on_card(path: Path) -> str | None:
    """The licence on the card of a data set: README.md in its folder, with a YAML header as the Hub has it."""
    import yaml

    card = (path if path.is_dir() else path.parent) / CARD
    if not card.is_file():
        return None
    with card.open("rb") as file:
        head = file.read(CARD_BYTES).decode("utf-8", "replace")
    if not head.startswith("---"):
        return None
    try:
        header: Any = yaml.safe_load(head[3:].partition("\n---")[0])
    except yaml.YAMLError:
        return None
    if not isinstance(header, dict) or "license" not in header:
        return None
    stated = header["license"] if isinstance(header["license"], list) else [header["license"]]
    names = [header.get("license_name", name) if name == _OTHER else name for name in stated]
    found = " AND ".join(name for name in names if isinstance(name, str))
    return found if found and read_licence(found).id != "unstated" else None


def has_splits(path: Path) -> bool:
    """Whether a folder holds tasks and lists that divide them, as Super-NaturalInstructions does."""
    return (path / SPLITS).is_dir() and (path / "tasks").is_dir()


def split_files(folder: Path, split: str) -> Iterator[Path | Problem]:
    """The task files of one split of Super-NaturalInstructions; a Problem stands for each that is named and not there.

    Args:
        folder: holds `tasks/` and `splits/`.
        split: as in `train` (of `splits/default`) or `xlingual/test`. Names are matched whatever their case: early copies wrote
            some of them in capitals.

    Raises:
        DataError: there is no such split.
    """
    where, _, name = split.rpartition("/")
    lists = folder / SPLITS / (where or "default")
    listed = lists / f"{name}_tasks.txt"
    if not has_splits(folder) or not listed.is_file():
        known = sorted(file.name.removesuffix("_tasks.txt") for file in lists.glob("*_tasks.txt"))
        do = f"Its splits are {', '.join(known)}" if known else "Leave --split out: all of the folder is read"
        raise DataError(Problem(str(folder), f"there is no list {listed.relative_to(folder).as_posix()}", do))
    files = {file.stem.lower(): file for file in sorted((folder / "tasks").glob("*.json"))}
    for task in dict.fromkeys(line.strip() for line in listed.read_text("utf-8").splitlines() if line.strip()):
        name = f"tasks/{task}.json"
        yield files.get(task.lower()) or Problem(
            name, f"{listed.name} names it, and it is not there", "Fetch it, if it should be read"
        )
