"""Small exercises made from public-domain sentences, so that the base model has met instructions before its first task.

Every exercise is a rule applied to a sentence of the pretraining corpus (tense, topic, genre, a missing word, what follows
what), written in many phrasings, with and without an options clause, one to six worked examples in a row. No labelled
data set enters here: the labels are what the rule says.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence

Exercise = tuple[str, str, list[str]]  # the text shown, the answer, the options ([] = free answer)

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])")
FUTURE = re.compile(r"\b(will|shall|'ll|going to)\b")
PAST = re.compile(r"\b(was|were|had|did|went|came|made|said|took|gave|passed|signed|began)\b")
SPEAKER_PLEDGE = re.compile(r"\b(?:I|[Ww]e) (?:will|shall|am going to|are going to|pledge to|promise to) (\w+)(.*)$")
CONCRETE = frozenset(
    "build create establish sign introduce send invest cut double expand provide appoint launch ban repeal fund reduce "
    "increase raise open close hire train pay give end abolish extend grant propose submit set require make allocate "
    "deploy award convene issue name nominate veto reform replace restore simplify protect complete construct".split()
)
VAGUE = frozenset(
    "continue strive believe hope work fight stand seek try remember never always not be have keep help see find know "
    "face prevail overcome remain go get need do move meet rise honor look come".split()
)
DEEDS = frozenset(
    "ensure strengthen improve develop promote implement introduce enact bring raise lower offer cover connect modernize "
    "upgrade guarantee support save deploy prohibit require direct order allow permit allocate amend adopt abolish levy "
    "eliminate exempt subsidize supply distribute ratify negotiate withdraw recruit double triple halve institute waive "
    "recommend transfer publish host announce encourage enforce address".split()
)
GOVERNMENT_WILL = re.compile(
    r"\b(?:[Ww]e|I|[Mm]y [Aa]dministration|[Oo]ur [Aa]dministration|[Tt]he [Aa]dministration|[Tt]he [Gg]overnment|"
    r"[Ff]ederal [Gg]overnment|[Tt]he President|President \w+|[Tt]he Department|[Tt]his (?:bill|plan|order|program|budget)|"
    r"[Tt]he (?:bill|plan|program|Secretary|Congress)) "
    r"(?:will|shall|am going to|are going to|propose to|pledge to|promise to|intend to) (?:also |now |soon |then )?"
    r"(?P<verb>\w+)(?P<rest>.*)$"
)
CONDITIONAL = re.compile(r"\b[Ii]f\b|\?|\b(?:hope|might|could|would|unless|whether)\b")
DONE = re.compile(r"\b(?:[Ww]e|I|[Mm]y [Aa]dministration) (?:have|had|built|created|signed|cut|passed|made|raised|took|gave)\b")
PLATFORM_SUBJECTS = (
    "we will ",
    "we shall ",
    "the party will ",
    "our government will ",
    "the government will ",
    "the Congress will ",
    "the new government will ",
    "it will ",
    "the ministry will ",
    "Labour will ",
    "Liberals will ",
    "we are committed to ",
    "we promise to ",
    "we pledge to ",
    "the party is committed to ",
    "in government we will ",
    "our party will ",
    "",
    "to ",
    "",
)
TOPICS = {
    "health": "hospital hospitals doctor doctors nurse nurses medicine disease patients medicare medicaid".split(),
    "education": "school schools teacher teachers students college university classroom tuition".split(),
    "economy": "jobs wages inflation unemployment business businesses factory factories trade tariff".split(),
    "taxes and budget": "tax taxes deficit budget treasury spending appropriations debt".split(),
    "war and defense": "army navy troops soldiers military weapons war enemy missiles".split(),
    "crime and justice": "crime police prison court judge criminal justice sheriff".split(),
    "energy and climate": "oil energy climate coal pollution electricity solar emissions".split(),
    "transport": "railroad railway road roads highway bridges airport train trains".split(),
    "farming": "farm farmers crops wheat cattle agriculture harvest".split(),
    "technology": "website software data digital internet computer users".split(),
}
GENRES = {"pol": "speech", "polbook": "essay", "gov": "guide", "book": "story"}
SUBJECTS = ["We will ", "I will ", "Our government will ", "The party will ", "We shall ", "We are committed to ", ""]
YES_NO = [("Yes", "No"), ("True", "False"), ("yes", "no"), ("true", "false")]


def sentences(text: str, low: int = 30, high: int = 260) -> Iterator[str]:
    """The sentences of a document that stand alone, `low` to `high` characters long."""
    for paragraph in text.split("\n\n"):
        for sentence in SENTENCE.split(paragraph.replace("\n", " ").strip()):
            if low <= len(sentence) <= high:
                yield sentence


def _bare(match: re.Match[str], rng: random.Random) -> str:
    """A pledge in one of the shapes that platforms use: with a subject, as an infinitive, as a bare line."""
    verb, rest = match.group(1), match.group(2)
    subject = rng.choice(SUBJECTS)
    if subject.endswith("to ") and rng.random() < 0.5:
        subject = "We pledge to "
    line = subject + verb + rest
    return line[0].upper() + line[1:] if rng.random() < 0.8 or subject else line


def pledge(sentence: str, genre: str, rng: random.Random) -> Exercise | None:
    """Does the sentence announce a concrete action of the speaker? The verb after 'will' decides."""
    yes, no = rng.choice(YES_NO)
    match = SPEAKER_PLEDGE.search(sentence)
    if rng.random() < 0.45:
        return (_bare(match, rng), yes, [yes, no]) if match and match.group(1) in CONCRETE else None
    if match and match.group(1) in VAGUE:
        return (_bare(match, rng) if rng.random() < 0.5 else sentence), no, [yes, no]
    if genre in ("pol", "polbook") and not FUTURE.search(sentence) and rng.random() < 0.25:
        return sentence, no, [yes, no]
    return None


def commitment(sentence: str, genre: str, rng: random.Random) -> Exercise | None:
    """Does whoever governs commit to a checkable act? Subject, verb and mood decide; a platform's shape is put over some."""
    yes, no = rng.choice(YES_NO)
    if genre not in ("pol", "polbook"):
        return (sentence, no, [yes, no]) if rng.random() < 0.004 else None
    match = GOVERNMENT_WILL.search(sentence)
    if match and not CONDITIONAL.search(sentence):
        verb = match.group("verb").lower()
        if verb in CONCRETE or verb in DEEDS:
            return _platform(verb, match.group("rest"), rng) if rng.random() < 0.7 else sentence, yes, [yes, no]
        if verb in VAGUE - {"be"}:
            return _platform(verb, match.group("rest"), rng) if rng.random() < 0.5 else sentence, no, [yes, no]
        return None
    if match or FUTURE.search(sentence):  # an if, a question, or somebody else's future
        return (sentence, no, [yes, no]) if rng.random() < 0.06 else None
    if DONE.search(sentence) and rng.random() < 0.15:  # a deed already done, in the speaker's favour
        return sentence, no, [yes, no]
    return (sentence, no, [yes, no]) if rng.random() < 0.015 else None


def _platform(verb: str, rest: str, rng: random.Random) -> str:
    """The same act in the words of a party's platform: a subject of its own, an infinitive, a bare line, a passive."""
    rest = rest.strip()
    subject = rng.choice(PLATFORM_SUBJECTS)
    line = subject + " ".join([verb, rest])
    return line[0].upper() + line[1:]


def tense(sentence: str, genre: str, rng: random.Random) -> Exercise | None:
    """Past, present or future, where exactly one kind of marker stands."""
    marks = [bool(PAST.search(sentence)), bool(FUTURE.search(sentence)), bool(re.search(r"\b(is|are|has|have|am)\b", sentence))]
    if sum(marks) != 1:
        return None
    names = ["past", "future", "present"]
    return sentence, names[marks.index(True)], names


def topic(sentence: str, genre: str, rng: random.Random) -> Exercise | None:
    """The one topic of which a keyword stands in the sentence, among four options."""
    words = set(re.findall(r"[a-z]+", sentence.lower()))
    hits = [name for name, keys in TOPICS.items() if words & set(keys)]
    if len(hits) != 1:
        return None
    options = hits + rng.sample([t for t in TOPICS if t != hits[0]], 3)
    rng.shuffle(options)
    return sentence, hits[0], options


def genre_of(sentence: str, genre: str, rng: random.Random) -> Exercise | None:
    """Speech, essay, guide or story."""
    return sentence, GENRES[genre], list(GENRES.values())


def number(sentence: str, genre: str, rng: random.Random) -> Exercise | None:
    """Is there an amount or a year in it?"""
    has = bool(re.search(r"\d", sentence))
    if not has and rng.random() < 0.6:
        return None
    yes, no = rng.choice(YES_NO)
    return sentence, yes if has else no, [yes, no]


def missing_word(sentence: str, genre: str, rng: random.Random) -> Exercise | None:
    """One long word is blanked; the options are it and words of the same sentence's neighbours."""
    words = re.findall(r"\b[a-z]{5,}\b", sentence)
    if len(words) < 5:
        return None
    picked = rng.sample(sorted(set(words)), min(4, len(set(words))))
    blanked = re.sub(rf"\b{picked[0]}\b", "____", sentence, count=1)
    options = [picked[0], *[w for w in picked[1:] if w not in blanked.split("____")[0][-12:]]]
    answer = options[0]
    rng.shuffle(options)
    return blanked, answer, options


INSTRUCTIONS: dict[Callable[[str, str, random.Random], Exercise | None], list[str]] = {
    pledge: [
        "Decide if the sentence is a promise to act.",
        "Does the speaker commit to a concrete action?",
        "Is this a political pledge: something specific that the government will do?",
        "Say whether the sentence announces a specific measure.",
        "Classify the sentence: is it a promise of a tangible action?",
        "Decide if the text is a commitment that could later be checked.",
    ],
    commitment: [
        "Decide if the sentence is a political promise: tangible, specific, and something the government can do.",
        "Is this a pledge? A pledge is a commitment to an action or an outcome that can be checked later.",
        "Does the party commit itself to a specific action here?",
        "Classify the sentence of a manifesto: pledge or not.",
        "Say whether the text promises a concrete measure of the government.",
        "Decide if the sentence is a promise to act.",
        "Would a fact checker be able to say later whether this promise was kept?",
    ],
    tense: [
        "What is the tense of the sentence?",
        "Does the text speak of the past, the present or the future?",
        "Name the time of the sentence.",
    ],
    topic: [
        "What is the sentence about?",
        "Choose the topic of the text.",
        "Which policy area does the sentence belong to?",
        "Classify the text by subject.",
    ],
    genre_of: ["What kind of text is this from?", "Guess the source of the sentence.", "Classify the text by its genre."],
    number: [
        "Does the sentence contain a number?",
        "Is there an amount or a year in the text?",
        "Decide if the sentence states a figure.",
    ],
    missing_word: ["Which word is missing?", "Fill the gap in the sentence.", "Choose the word that fits the blank."],
}
# How often each kind is drawn, per cycle of build_base.py: pledge, commitment, tense, topic, genre, number, missing word.
WEIGHTS = {1: [8, 0, 2, 3, 2, 1, 2], 2: [1, 7, 1, 3, 1, 1, 3]}
FIELDS = [
    ("Text", "Answer"),
    ("Input", "Answer"),
    ("Sentence", "Answer"),
    ("Sentence", "Label"),
    ("Text", "Label"),
    ("Input", "Output"),
]


def exercises(documents: Sequence[tuple[str, str]], count: int, seed: int, cycle: int = 1) -> Iterator[str]:
    """`count` exercise texts from (genre, text) documents; each holds one to six worked examples of one instruction."""
    rng = random.Random(seed)
    pool = [(genre, s) for genre, text in documents for s in sentences(text)]
    rng.shuffle(pool)
    kinds, at = list(INSTRUCTIONS), 0
    for _ in range(count):
        kind = rng.choices(kinds, WEIGHTS[cycle])[0]
        wanted = rng.choice([1, 2, 3, 4, 6])
        made: list[Exercise] = []
        balance: dict[str, int] = {}
        while len(made) < wanted:
            genre, sentence = pool[at % len(pool)]
            at += 1
            made_one = kind(sentence, genre, rng)
            if made_one is None:
                continue
            key = made_one[1].lower() if kind is not missing_word else str(len(made))
            if kind in (pledge, commitment, number):  # four spellings of yes and no, counted as two
                key = "yes" if key in ("yes", "true") else "no"
            if balance.get(key, 0) > (wanted + 1) // 2:
                continue
            balance[key] = balance.get(key, 0) + 1
            made.append(made_one)
        yield _written(rng.choice(INSTRUCTIONS[kind]), made, rng)


def _written(instruction: str, made: list[Exercise], rng: random.Random) -> str:
    """The exercise as text: instruction, maybe options, then the worked examples."""
    field, answer_field = rng.choice(FIELDS)
    options = made[0][2]
    shared = len(options) == 2 or all(sorted(m[2]) == sorted(options) for m in made)
    if len(options) == 2:  # yes/no words are drawn per example: settle on the first one's
        yes, no = options
        made = [(text, yes if answer.lower() in ("yes", "true") else no, options) for text, answer, _ in made]
    says_options = rng.random() < 0.6
    head = instruction
    if shared and says_options:
        listed = f" Options: {', '.join(options)}."
        head += rng.choice([f" Reply '{options[0]}' or '{options[1]}'." if len(options) == 2 else listed, listed])
    blocks = []
    for text, answer, own in made:
        choice = "" if shared else f"\nOptions: {', '.join(own)}"
        blocks.append(f"{field}: {text}{choice}\n{answer_field}: {answer}")
    return head + "\n\n" + "\n\n".join(blocks)
