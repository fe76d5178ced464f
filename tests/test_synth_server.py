"""Real models: behind llama.cpp with whetstone's weights, behind `transformers serve` where it is there, and in this process.

What whetstone writes is no good data; that it arrives, is read, counted and journaled as it should be is what is tested.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_server import CHAT_TEMPLATE, WHETSTONE, RealServer
from synth_parts import LABELS, lines, made, recipe

from whet.data.tokens import load as load_tokens
from whet.engine.generate import Generator
from whet.synth.journal import Journal
from whet.synth.request import Message, Parameters, Reply, Request

PROMPTS = ("The government will", "We promise that every child", "My parcel came late and", "Once upon a time there was")


def asked(prompt: str, seed: int = 1, **parameters: Any) -> Request:
    return Request("rows", (Message("user", prompt),), Parameters(**{"max_tokens": 24, "temperature": 0.0, **parameters}), seed)


def replies(folder: Path) -> list[tuple[str, Reply]]:
    """The prompt and the reply of everything that the journal holds."""
    journal = Journal(folder / "journal.sqlite")
    found = [
        (request.messages[-1].content, reply)
        for _, wave in journal.waves()
        for request, _ in wave
        if (reply := journal.answer(request.key("whetstone"))) is not None
    ]
    journal.close()
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> RealServer:
    pytest.importorskip("xllamacpp", reason="needs the llama.cpp server of xllamacpp (`pip install xllamacpp`)")
    return RealServer(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def local() -> Generator:
    return Generator(recipe((), model="whetstone"))


def small(base_url: str | tuple[str, ...], **synth: Any) -> Any:
    settings = {
        "model": "whetstone",
        "rows": 6,
        "rows_per_request": 2,
        "concurrency": 4,
        "max_tokens": 160,
        "timeout_seconds": 60,
    }
    return recipe(base_url, **{**settings, "patience": 40, **synth})


def test_llama_cpp_makes_rows_by_schema(server: RealServer, tmp_path: Path) -> None:
    found = made(small(server.base_url), tmp_path)
    assert found["rows"] == 6 and found["stopped"] == "all rows made"
    answered, tokens = replies(tmp_path), load_tokens("whetstone")
    assert len(answered) >= 4
    for prompt, reply in answered:
        assert reply.outcome in ("ok", "cut") and reply.tokens_out > 0
        if reply.outcome == "ok":
            assert '"rows"' in reply.text, "a model that knows no JSON wrote some: the server keeps to the schema"
        assert abs(reply.tokens_in - len(tokens.prompt(prompt))) < 0.3 * reply.tokens_in, "the server's own count"


def test_llama_cpp_checks_labels_and_edits_seeds(server: RealServer, tmp_path: Path) -> None:
    checked = made(small(server.base_url, check_labels=True, rows=2, patience=8, max_tokens=80), tmp_path / "checked")
    labelled = [reply for prompt, reply in replies(tmp_path / "checked") if "Which of these is it" in prompt]
    assert labelled and all(any(label in reply.text for label in LABELS) for reply in labelled if reply.outcome == "ok")
    assert checked["rows"] + checked["rejected"].get("label_disagrees", 0) > 0
    (tmp_path / "seeds.csv").write_text(
        "text,label\nMy parcel came two days late.,complaint\nYour staff are kind.,praise\n", "utf-8"
    )
    pairs = made(
        small(server.base_url, method="contrast", seeds=str(tmp_path / "seeds.csv"), max_tokens=80), tmp_path / "pairs"
    )
    assert pairs["requests"]["answered"] >= 5, "two seeds, two other labels each, and the probe"
    assert pairs["stopped"] == "nothing more to ask" and pairs["candidates"] + sum(pairs["rejected"].values()) >= 4


def test_the_model_in_this_process_says_what_llama_cpp_says(server: RealServer, local: Generator) -> None:
    import openai

    client = openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0)
    here = local.answer_all([asked(prompt) for prompt in PROMPTS])
    for prompt, reply in zip(PROMPTS, here, strict=True):
        talk = [{"role": "user", "content": prompt}]
        there = client.chat.completions.create(model="m", messages=talk, max_tokens=24, temperature=0.0)  # type: ignore[arg-type]
        assert isinstance(reply, Reply) and reply.text == there.choices[0].message.content
        assert there.usage is not None
        assert (reply.tokens_in, reply.tokens_out) == (there.usage.prompt_tokens, there.usage.completion_tokens)
        assert (reply.outcome == "cut") == (there.choices[0].finish_reason == "length")
    client.close()


def test_a_model_in_this_process_makes_rows(tmp_path: Path) -> None:
    """whetstone writes no JSON, so there are none; all else is as with a server."""
    found = made(small((), rows=2, patience=4, max_tokens=16, concurrency=2), tmp_path)
    assert found["rows"] == 0 and found["stopped"] == "patience"
    assert found["requests"]["answered"] >= 5 and found["requests"]["attempts"] == found["requests"]["answered"]
    assert set(found["rejected"]) <= {"no_json", "cut_json", "bad_json", "empty", "missing_field"}
    assert len(lines(tmp_path / "rejected.jsonl")) == sum(found["rejected"].values())


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of `transformers serve`, and the folder of the model that it serves: whetstone with a chat template."""
    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        pytest.skip("needs `pip install transformers[serving]` for `transformers serve`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("served") / "whetstone"
    shutil.copytree(WHETSTONE, folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, "utf-8")
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", "--device", "cpu", "--dtype", "float32"]
    process = subprocess.Popen([*command, "--port", str(port), str(folder)], env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read()
                break
            except OSError:
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        process.terminate()
        process.wait(30)


def test_transformers_serve_is_asked_without_a_schema(transformers_serve: tuple[str, Path], tmp_path: Path) -> None:
    base_url, folder = transformers_serve
    found = made(small(base_url, model=str(folder), rows=2, patience=4, max_tokens=32), tmp_path)
    assert found["stopped"] == "patience" and found["requests"]["answered"] >= 5
    assert "no_json" in found["rejected"], "it ignores schemas, which the probe found out"
