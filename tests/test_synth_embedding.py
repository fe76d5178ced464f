"""Rows that mean the same: found by their embeddings, which are bought once, counted against the caps and journaled."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_server import RealServer
from scripted_server import Play, ScriptedServer
from synth_parts import LABELS, is_probe, lines, made, maker, recipe, sentence

from whet import stages
from whet.errors import ModelError, RecipeError
from whet.synth.embedding import Directions
from whet.synth.journal import Journal

MEANINGS = [f"thing{n}" for n in range(40)]


def meaning_of(text: str) -> str:
    """The last word: what these rows are about, however they put it."""
    return text.split()[-1]


def talk(body: dict[str, Any], n: int) -> Play:
    """A maker whose rows differ in every word, and often say the same."""
    if is_probe(body):
        return maker(body, n)
    draw = random.Random(body["seed"])
    rows = [{"text": f"{sentence(draw, 10)} {draw.choice(MEANINGS)}"} for _ in range(5)]
    return Play(json.dumps({"rows": rows}))


def embed(body: dict[str, Any]) -> Play:
    """A vector a text, which points where its meaning does; the order of the list is no promise, `index` is."""
    vectors = np.eye(len(MEANINGS) + 1)
    places = [MEANINGS.index(word) if (word := meaning_of(text)) in MEANINGS else len(MEANINGS) for text in body["input"]]
    data = [{"index": n, "embedding": list(3.0 * vectors[place])} for n, place in enumerate(places)]
    return Play(body=json.dumps({"data": data[::-1], "usage": {"prompt_tokens": 7 * len(places)}}).encode())


def server(other: Callable[[dict[str, Any], int], Play | None] = lambda body, n: None) -> ScriptedServer:
    """One that talks and embeds; `other` may say something else to a request for embeddings."""
    return ScriptedServer(lambda body, n: (other(body, n) or embed(body)) if "input" in body else talk(body, n))


def wanted(url: str, **synth: Any) -> Any:
    return recipe(url, **{"embedding_model": "meaning", "embedding_url": url, "rows": 24, **synth})


def asked(server: ScriptedServer) -> Counter[str]:
    """How often each text was embedded, and under "" how many other requests there were."""
    found: Counter[str] = Counter()
    for body in server.bodies:
        found.update(body.get("input", [""]))
    return found


def test_rows_that_mean_the_same_are_rejected_and_name_the_row(tmp_path: Path) -> None:
    with server() as there:
        found = made(wanted(there.base_url), tmp_path)
    rows = lines(tmp_path / "accepted.jsonl")
    assert found["rows"] == len(rows) == 24 == len({meaning_of(row["text"]) for row in rows})
    rejected = [row for row in lines(tmp_path / "rejected.jsonl") if row["reason"] == "same_meaning"]
    assert len(rejected) == found["rejected"]["same_meaning"] >= 5
    by_id = {row["id"]: row["text"] for row in rows}
    for row in rejected:
        cosine, name = row["detail"].removeprefix("cosine ").split(" with ")
        assert cosine == "1.000" and meaning_of(by_id[name]) == meaning_of(row["text"])
    texts = asked(there)
    assert max(count for text, count in texts.items() if text) == 1, "no text is embedded twice"
    count = len(texts) - 1
    assert found["embeddings"] == {"model": "meaning", "threshold": 0.9, "texts": count, "tokens": 7 * count}
    assert found["tokens"]["in"] == 100 * texts[""] + found["embeddings"]["tokens"], "they count as tokens of prompts"
    assert found["requests"]["attempts"] == found["requests"]["answered"] == texts[""], "they are no requests to the maker"


def test_the_threshold_decides(tmp_path: Path) -> None:
    with server() as there:
        found = made(wanted(there.base_url, embedding_threshold=1.0), tmp_path / "one")
        assert found["rejected"]["same_meaning"], "1 is what means exactly the same"
        half = made(wanted(there.base_url, rows=3, embedding_threshold=1e-9), tmp_path / "all")
    assert half["rows"] == 3 and "same_meaning" not in half["rejected"], "cosine 0 is like nothing"


def test_examples_that_were_shown_are_known(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.csv"
    draw = random.Random(3)
    texts = [f"{sentence(draw, 6)} {word}" for word in MEANINGS[:30]]
    rows = [f"{text},{LABELS[n % 3]}" for n, text in enumerate(texts)]
    seeds.write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    with server() as there:
        made(wanted(there.base_url, rows=6, seeds=str(seeds)), tmp_path / "run")
        assert asked(there)[texts[0]] == 1
    assert {meaning_of(row["text"]) for row in lines(tmp_path / "run/accepted.jsonl")} <= set(MEANINGS[30:])
    assert any("with seeds.csv, row" in row["detail"] for row in lines(tmp_path / "run/rejected.jsonl"))


def test_embeddings_are_bought_once_and_the_rows_come_out_the_same(tmp_path: Path) -> None:
    with server() as there:
        made(wanted(there.base_url, rows=12), tmp_path / "run")
        made(wanted(there.base_url), tmp_path / "run")
        assert max(count for text, count in asked(there).items() if text) == 1
        there.bodies.clear()
        again = made(wanted(there.base_url), tmp_path / "run")
        assert again["rows"] == 24 and not [body for body in there.bodies if not is_probe(body)]
        ahead = stages.synth_ahead(wanted(there.base_url, rows=30), tmp_path / "run")
        assert ahead["rows"] >= 24 and not there.bodies, "a look ahead sends nothing; what it does not know counts as new"
        fresh = made(wanted(there.base_url), tmp_path / "fresh")
    assert {row["text"] for row in lines(tmp_path / "fresh/accepted.jsonl")} and fresh["rows"] == 24


def test_a_model_that_is_named_later_looks_at_the_rows_that_there_are(tmp_path: Path) -> None:
    with server() as there:
        before = made(wanted(there.base_url, embedding_model=None, embedding_url=None), tmp_path)
        assert before["rows"] == 24 > len({meaning_of(row["text"]) for row in lines(tmp_path / "accepted.jsonl")})
        after = made(wanted(there.base_url), tmp_path)
    assert after["rows"] == 24 == len({meaning_of(row["text"]) for row in lines(tmp_path / "accepted.jsonl")})
    assert after["rejected"]["same_meaning"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Play("no such model", status=404), "no such model"), (Play("ill", status=500), "ill"),
        (Play("Hello."), "no embeddings"),
        (Play(body=b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1]}]}'), "no embeddings"),
        (Play(body=b'{"data": [{"index": 7, "embedding": [1.0]}]}'), "no embeddings"),
        (Play(way="reset"), "RemoteProtocolError|ReadError"),
    ],
    ids=["unknown", "ill", "a chat", "ragged", "another index", "reset"],
)  # fmt: skip
def test_a_fault_that_stays_ends_the_call_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Play, said: str
) -> None:
    monkeypatch.setattr("whet.synth.pool.BACKOFF_SECONDS", 0.001)
    with server(lambda body, n: fault) as there:
        with pytest.raises(ModelError, match=rf"\[synth\] embedding_model meaning: .*({said})"):
            made(wanted(there.base_url, max_tries=2), tmp_path)
        tries = [body for body in there.bodies if "input" in body]
        assert len(tries) == (1 if fault.status == 404 else 2)
        talked = [json.dumps(body) for body in there.bodies if "input" not in body]
    assert json.loads((tmp_path / "synth.json").read_text("utf-8"))["stopped"] == "no answers"
    with server() as there:
        found = made(wanted(there.base_url), tmp_path)
        again = [json.dumps(body) for body in there.bodies if "input" not in body and not is_probe(body)]
    assert found["rows"] == 24 and not set(talked) & set(again), "what the maker answered is not asked again"
    assert found["requests"]["without_answer_perhaps_paid"] == (0 if fault.status != 200 else 2)


def test_a_fault_that_passes_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.synth.pool.BACKOFF_SECONDS", 0.001)
    faults = iter([Play("later", status=429, headers={"retry-after": "0"}), Play("ill", status=503)])
    with server(lambda body, n: next(faults, None)) as there:
        found = made(wanted(there.base_url), tmp_path)
    assert found["rows"] == 24 and found["requests"]["faults_of_this_call"] == {"busy": 1, "unwell": 1}


def test_a_cap_is_not_passed_by_embeddings(tmp_path: Path) -> None:
    with server(lambda body, n: _dearer(body)) as there:
        found = made(wanted(there.base_url, budget_tokens=4000), tmp_path)
        assert found["stopped"] == "tokens" and 0 < found["rows"] < 24
        assert found["tokens"]["in"] + found["tokens"]["out"] <= 4000
        more = made(wanted(there.base_url), tmp_path)
    assert more["rows"] == 24
    assert max(count for text, count in asked(there).items() if text) == 1


def test_a_cap_that_embeddings_alone_would_pass_stops_before_them(tmp_path: Path) -> None:
    draw = random.Random(5)
    rows = [f"{sentence(draw, 20)},{LABELS[n % 3]}" for n in range(60)]
    (tmp_path / "seeds.csv").write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    settings = {"seeds": str(tmp_path / "seeds.csv"), "max_tokens": 300, "rows": 6}
    with server() as there:
        found = made(wanted(there.base_url, budget_tokens=5000, **settings), tmp_path / "run")
        assert found["stopped"] == "tokens" and found["rows"] == 0 and not [b for b in there.bodies if "input" in b]
        answered = found["requests"]["answered"]
        assert answered > 1, "the maker was asked, and what it said is kept"
        more = made(wanted(there.base_url, **settings), tmp_path / "run")
    assert more["rows"] == 6 and max(asked(there).values()) == asked(there)[""] == more["requests"]["answered"]


def _dearer(body: dict[str, Any]) -> Play:
    """The same vectors from a server that counts as many tokens as there can be."""
    found = json.loads(embed(body).body or b"")
    found["usage"]["prompt_tokens"] = sum(len(text) for text in body["input"])
    return Play(body=json.dumps(found).encode())


def test_each_key_goes_to_its_own_server_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKER_KEY", "sk-maker-canary")
    monkeypatch.setenv("MEANING_KEY", "sk-meaning-canary")
    with server() as talks, server() as embeds:
        keys = {"api_key_env": "MAKER_KEY", "embedding_key_env": "MEANING_KEY"}
        made(recipe(talks.base_url, embedding_model="m", embedding_url=embeds.base_url, **keys), tmp_path / "run")
        assert {h["authorization"] for h in talks.headers} == {"Bearer sk-maker-canary"}
        assert {h["authorization"] for h in embeds.headers} == {"Bearer sk-meaning-canary"}
    for file in (tmp_path / "run").rglob("*"):
        assert b"canary" not in file.read_bytes(), file
    monkeypatch.delenv("MEANING_KEY")
    without = recipe(talks.base_url, embedding_model="m", embedding_url=embeds.base_url, embedding_key_env="MEANING_KEY")
    with pytest.raises(ModelError, match=r"\[synth\] embedding_key_env: the environment variable MEANING_KEY is not set"):
        made(without, tmp_path)


def test_keys_without_a_model_are_refused() -> None:
    for given in ({"embedding_url": "http://127.0.0.1:9/v1"}, {"embedding_threshold": 0.5}):
        with pytest.raises(RecipeError, match="belong to an embedding_model"):
            recipe(**given)
    with pytest.raises(RecipeError, match="belongs to an embedding_url"):
        recipe(embedding_model="whetstone", embedding_key_env="KEY")


def test_the_nearest_is_that_of_brute_force() -> None:
    draw = np.random.default_rng(4)
    vectors = draw.normal(size=(300, 8)).astype(np.float32)
    vectors[200:] = vectors[:100] * 2 + 0.05 * draw.normal(size=(100, 8)).astype(np.float32)
    kept = Directions()
    for place, vector in enumerate(vectors):
        apart = set(draw.integers(0, 300, 5).tolist())
        cosines = [float(v @ vector / np.linalg.norm(v) / np.linalg.norm(vector)) for v in vectors[:place].astype(np.float64)]
        allowed = {n: c for n, c in enumerate(cosines) if n not in apart and c >= 0.95}
        found, best = kept.nearest(vector, 0.95, apart), max(allowed, key=lambda n: allowed[n], default=None)
        assert (found.place if found else None) == best
        if best is not None and found:
            assert found.score == pytest.approx(allowed[best], abs=1e-5)
        kept.add(place, vector)
    assert kept.nearest(np.zeros(8, np.float32), 0.1) is None, "a text without a vector is like no other"


# -- a model in this process -------------------------------------------------------------------------------------------


def test_a_text_is_the_mean_of_its_tokens_whatever_stands_beside_it() -> None:
    from whet.engine.embed import TextEmbedder

    model = TextEmbedder("whetstone")
    one, two = model.embed_all(["We will build 40,000 homes.", "My parcel came late."])
    assert (model.embed_all(["My parcel came late."])[0] == two).all() and one.shape == two.shape
    long = model.embed_all(["My parcel came late, and nobody knew why. " * 300])[0]
    assert np.isfinite(long).all(), "a text that is longer than the model reads"
    assert not model.embed_all([""])[0].any()


def test_llama_cpp_says_the_same_of_whetstone(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="needs the llama.cpp server of xllamacpp (`pip install xllamacpp`)")
    from whet.engine.embed import TextEmbedder

    texts = ["We will build 40,000 homes.", "My parcel came late and the box was open.", "Well, hello there."]
    here = TextEmbedder("whetstone").embed_all(texts)
    # One slot: with several, texts that come together are averaged wrongly (xllamacpp 2026.10: cosines of 0.55 and 0.82).
    there = RealServer(tmp_path / "llama", slots=1, embeds=True)
    settings = {"embedding_model": "whetstone", "embedding_url": there.base_url, "rows": 3, "patience": 2}
    with ScriptedServer(lambda body, n: maker(body, n) if is_probe(body) else Play(_rows(texts))) as talks:
        found = made(recipe(talks.base_url, **settings), tmp_path / "run")
    assert found["embeddings"]["texts"] == 3 and found["embeddings"]["tokens"] >= 20
    journal = Journal(tmp_path / "run/journal.sqlite")
    for text, vector in zip(texts, here, strict=True):
        key = sha256(json.dumps(["whetstone", text]).encode()).hexdigest()
        other = np.frombuffer(journal.vector(key) or b"", np.float32)
        assert float(other @ vector / np.linalg.norm(other) / np.linalg.norm(vector)) > 0.9999
    journal.close()


def test_a_model_in_this_process_tells_rows_apart(tmp_path: Path) -> None:
    texts = ["Praise for the new bakery.", "Where is my parcel?", "My kettle leaks."]
    with ScriptedServer(lambda body, n: maker(body, n) if is_probe(body) else Play(_rows(texts))) as talks:
        found = made(recipe(talks.base_url, embedding_model="whetstone", embedding_threshold=1.0, patience=2, rows=3), tmp_path)
    assert found["embeddings"] == {"model": "whetstone", "threshold": 1.0, "texts": 3, "tokens": 0}


def _rows(texts: list[str]) -> str:
    return json.dumps({"rows": [{"text": text} for text in texts]})


def test_what_cannot_embed_is_said(tmp_path: Path) -> None:
    from whet.engine.embed import TextEmbedder

    with pytest.raises(ModelError, match=r"nowhere"):
        TextEmbedder(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', "utf-8")
    with pytest.raises(ModelError, match=r"\[synth\] embedding_model .* cannot be loaded"):
        TextEmbedder(str(tmp_path))
