"""`whet info`: every choice of a recipe, in a table within 80 columns and as JSON, at the cost of no heavy library."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys

import pytest
from rich.console import Console

from whet.knobs.facts import TOPICS, facts
from whet.knobs.optimizers import OPTIMIZERS
from whet.knobs.schedules import SCHEDULES
from whet.views.info import table


def shown(topic: str) -> str:
    file = io.StringIO()
    Console(file=file, width=80).print(table(topic, facts(topic)[topic]))
    return file.getvalue()


@pytest.mark.parametrize(("topic", "count"), [("optimizers", 22), ("schedules", 10), ("quantization", 5)])
def test_every_choice_stands_in_the_table_once(topic: str, count: int) -> None:
    records, text = facts(topic)[topic], shown(topic)
    assert len(records) == count
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    listed = [line.split()[0] for line in text.splitlines() if re.match(r"\w+ +([\d.]+|[▁▂▃▄▅▆▇█]+)  ", line)]
    if topic == "quantization":
        listed = re.findall(r'^\w+ = "(\w+)"', text, re.MULTILINE)
    assert listed == [record["name"] for record in records]
    assert set(TOPICS) == {"optimizers", "schedules", "quantization"}


def test_the_tables_name_every_argument() -> None:
    assert all(argument in shown("optimizers") for o in OPTIMIZERS.values() for argument in o.arguments)
    assert all(argument in shown("schedules") for s in SCHEDULES.values() for argument in s.arguments)
    assert "2.03" in shown("optimizers") and "4.127*" in shown("quantization") and "4.5" in shown("quantization")


def test_sparklines_show_the_shape() -> None:
    lines = {line.split()[0]: line.split()[1] for line in shown("schedules").splitlines() if re.search("▆[▁▂▃▄▅▆▇█]|██", line)}
    assert len(lines) == 10
    assert lines["constant"] == "█" * 16 and lines["constant_with_warmup"][2:] == "█" * 14
    assert lines["cosine_with_restarts"].count("█") >= 3 and lines["linear"][0] < lines["linear"][2] > lines["linear"][-1]


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_the_command_prints_one_object_and_loads_nothing_heavy(topic: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "whet", "info", topic, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(facts(topic)))
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "whet" in loaded and not loaded & {"torch", "transformers", "peft", "bitsandbytes"}


def test_another_topic_is_refused_with_those_that_there_are() -> None:
    done = subprocess.run([sys.executable, "-m", "whet", "info", "templates"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "optimizers" in done.stderr
