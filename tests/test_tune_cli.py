"""`llmos tune` and `llmos jobs` on this machine's own database: what is put into the queue, and what is steered."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from llmos_recipes import FOLDER

from llmos_server.cli import main
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry
from llmos_server.training.spec import TuneSpec

sys.path.insert(0, str(Path(__file__).parent / "training"))  # for tiny_model

from tiny_model import SHAPE, conversations, save_tokenizer, write_lines

NODES = FOLDER / "accelerate" / "ddp_nodes.yaml"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Without a server, and with a model of which only the head of its weights is there."""
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMOS_API__PORT", "9")
    folder = tmp_path / "tiny"
    folder.mkdir()
    save_tokenizer(folder)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 320, "eos_token_id": 1}
    (folder / "config.json").write_text(json.dumps({**config, **SHAPE}))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    Registry(tmp_path / "home", {}, 1.0).pull(f"file:{folder}", QuietProgress())
    write_lines(tmp_path / "examples.jsonl", conversations(3))
    return tmp_path


def call(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code


def jobs(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    call("jobs", "list", "--json")
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_a_recipe_waits_in_the_queue(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--model", str(home / "tiny"), "--data", str(home / "examples.jsonl"), "--name", "orders", "--no-follow"]
    call("tune", "sft_lora", *flags, "--set", "learning_rate=auto", "--set", "max_steps=3")
    [job] = jobs(capsys)
    assert (job["status"], job["title"]) == ("queued", f"file:{home / 'tiny'}:orders")
    folder = home / "home" / "jobs" / job["id"]
    assert (folder / "training.jsonl").read_text() == (home / "examples.jsonl").read_text()
    call("jobs", "pause", job["id"])
    assert jobs(capsys)[0]["status"] == "paused"
    call("jobs", "cancel", job["id"])
    assert jobs(capsys)[0]["status"] == "cancelled"


def test_what_a_run_is_to_do(home: Path) -> None:
    from llmos_server.commands.tune import make_job, make_spec, read
    from llmos_server.training.recipe import override

    recipe = override(read("sft_lora"), ["output_dir=out", "learning_rate=auto"])
    spec = make_spec(recipe, "tiny", Path("a.jsonl"), Path("b.txt"), "drop")
    assert (spec.method, spec.training_file, spec.validation_file) == ("sft", "training.jsonl", "validation.txt")
    assert spec.auto == ("learning_rate",)
    assert spec.values["eval_strategy"] == "epoch"
    assert not spec.values.keys() & {"output_dir", "learning_rate"}
    job = make_job(spec, "")
    assert msgspec.json.decode(job.payload, type=TuneSpec).suffix == f"ft-{job.id.removeprefix('ftjob-')[:8]}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "llmos tune --list"),
        (["nothing"], "no recipe 'nothing'; there are causal_lm, distillation, distillation_answers, dpo"),
        (["sft_lora"], "--model smollm2:135m"),
        (["sft_lora", "--model", "unheard:of"], "llmos pull unheard:of"),
        (["sft_lora", "--model", "{tiny}"], "--data FILE"),
        (["sft_lora", "--model", "{tiny}", "--data", "none.jsonl"], "no such file"),
        (["sft_lora", "--set", "lora=1"], "Did you mean 'lora_r'"),
        (["sft_lora", "--model", "{tiny}", "--data", "none.jsonl", "--processes", "-1"], "no number of processes"),
        (["sft_lora", "--model", "{tiny}", "--data", "a", "--accelerate", "{nodes}"], "torchrun and trl"),
    ],
)
def test_errors_tell_the_remedy(home: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(
            [
                "tune",
                *(word.format(tiny=home / "tiny", nodes=FOLDER / "accelerate" / "ddp_nodes.yaml") for word in words),
            ]
        )
    assert told in capsys.readouterr().err


def test_a_job_that_isnt_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["jobs", "cancel", "ftjob-none"])
    assert "llmos jobs list" in capsys.readouterr().err
