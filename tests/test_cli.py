"""The verbs as a user types them: exit codes, JSON on stdout, talk on stderr, no traceback for anybody's own mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engine_parts import write_table

from whet.cli import main

VERBS = ["demo", "new", "check", "prepare", "show", "train", "evaluate", "predict", "report", "run", "plan", "info",
         "export", "eject"]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table and the recipe that `new` writes for it, set to the tiny base."""
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "table.csv", rows=200)
    assert main(["new", "homes", "--from", "table.csv"]) == 0
    recipe = (tmp_path / "homes.toml").read_text()
    (tmp_path / "homes.toml").write_text(f'{recipe}\n[model]\nbase = "{tiny_base}"\n')
    return tmp_path


SETTINGS = ["train.max_steps=2", "evaluate.bootstrap_samples=100", 'evaluate.baselines=["majority", "zero_shot"]']
FAST = [word for setting in SETTINGS for word in ("--set", setting)]


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert [v for v in VERBS if f"\n    {v} " not in out] == []
    for verb in VERBS:
        with pytest.raises(SystemExit) as left:
            main([verb, "--help"])
        assert left.value.code == 0 and f"usage: whet {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["fly"], ["run"], ["show", "r.toml", "x"], ["run", "r.toml", "--learning-rate", "1"]])
def test_a_wrong_command_line_exits_2_and_says_where_to_look(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    captured = capsys.readouterr()
    assert left.value.code == 2 and captured.out == "" and "--help" in captured.err


def test_new_says_what_it_guessed_and_keeps_what_is_there(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    said = capsys.readouterr().err
    recipe = (project / "homes.toml").read_text()
    assert 'input = "sentence"' in recipe and 'target = "is_promise"' in recipe and 'group = "speech"' in recipe
    assert all(word in said for word in ("sentence", "is_promise", "speech", "whet run homes.toml"))
    assert main(["new", "homes", "--from", "table.csv"]) == 2
    assert "exists" in capsys.readouterr().err and (project / "homes.toml").read_text() == recipe
    assert main(["new", "homes", "--from", "table.csv", "--force"]) == 0


def test_stage_by_stage(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*argv: str) -> dict[str, object]:
        capsys.readouterr()
        assert main([*argv, "--json"]) == 0, capsys.readouterr().err
        answer: dict[str, object] = json.loads(capsys.readouterr().out)
        return answer

    assert ask("check", "homes.toml", *FAST)["read"] == 200
    assert not (project / "runs").exists(), "check writes nothing"
    assert ask("prepare", "homes.toml", *FAST)["run"] == "runs/homes"
    shown = ask("show", "runs/homes", "1", "--split", "test")
    assert any(t["carries_loss"] for t in shown["tokens"])  # type: ignore[attr-defined]
    assert ask("train", "runs/homes")["steps"] == 2
    assert set(ask("evaluate", "runs/homes")["baselines"]) == {"majority", "zero_shot"}  # type: ignore[call-overload]
    assert ask("report", "runs/homes")["report"] == "runs/homes/report.html"
    assert (project / "runs/homes/report.html").stat().st_size > 10_000
    (project / "talks").mkdir()
    (project / "talks" / "one.txt").write_text("=1+1 homes will be built. They dream of hope.", "utf-8")
    assert main(["predict", "runs/homes", "talks", "-o", "out.csv"]) == 0
    lines = (project / "out.csv").read_text("utf-8").splitlines()
    assert len(lines) == 3 and "'=1+1 homes" in lines[1]
    capsys.readouterr()
    assert main(["predict", "runs/homes", "talks/one.txt"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [set(r) >= {"document", "start", "end", "text", "label", "probability", "scores"} for r in rows] == [True, True]


def test_run_goes_the_whole_way_and_refuses_a_changed_recipe(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "homes.toml", *FAST]) == 0
    out = capsys.readouterr().out
    assert "200 rows read" in out and "runs/homes/report.html" in out and "ine-tuning" in out
    assert main(["run", "homes.toml", *FAST, "--set", "train.learning_rate=1e-5"]) == 2
    error = capsys.readouterr().err
    assert "train.learning_rate: this run was begun with" in error and "Traceback" not in error


def test_mistakes_are_said_all_at_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["run", "homes.toml", "--set", "train.lr=1", "--set", "lora.rank=3"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("whet: error: homes.toml, [") for line in lines)
    assert main(["run", "nowhere.toml"]) == 2 and "there is no such recipe" in capsys.readouterr().err
    assert main(["predict", "runs/none", "x.txt"]) == 2 and "there is no run here" in capsys.readouterr().err
    assert main(["train", "runs/none", "--set", "seed=1"]) == 2


def test_a_hub_id_without_network_is_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(project / "cache"))
    capsys.readouterr()
    assert main(["run", "homes.toml", "--set", "model.base=someone/some-model"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("whet: error: [model] base someone/some-model: the Hub cannot be reached")
    assert "whetstone" in lines[-1]
    assert sum(line.startswith("whet: error") for line in lines) == 1


def test_a_disk_that_refuses_is_no_traceback(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file stands where the run folder's parent would be; and a limit on file size stands for a full disk."""
    import resource

    (project / "blocked").write_text("a file")
    assert main(["prepare", "homes.toml", "--out", "blocked/run"]) == 2
    capsys.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        code = main(["prepare", "homes.toml", "--out", "full"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert code == 2 and "File too large" in error and "Traceback" not in error
    assert main(["prepare", "homes.toml", "--out", "full"]) == 0, "with room again it goes on"


def test_a_fault_of_ours_keeps_its_traceback(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from whet import stages

    def broken(*_: object) -> None:
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr(stages, "check", broken)
    assert main(["check", "homes.toml"]) == 3
    error = capsys.readouterr().err
    assert "Traceback" in error and "by accident" in error and "a fault of whet" in error
