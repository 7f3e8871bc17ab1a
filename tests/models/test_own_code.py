"""Models that are computed by code of their own, in a worker's fresh interpreter."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import own_code
import pytest
import tiny_archs
import torch

from llmos_server.contracts import ModelVersion
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.model_runner import create_runner
from llmos_server.errors import UnsupportedModel
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry

SCRIPT = Path(__file__).with_name("worker_script.py")
PROMPT = [random.Random(5).randrange(tiny_archs.VOCAB_SIZE) for _ in range(23)]


@pytest.fixture
def pull(tmp_path: Path) -> Callable[[Path], ModelVersion]:
    """As an operator who has named the folder."""
    return lambda folder: Registry(tmp_path / "home", {}, 1.0, remote_code=[str(folder)]).pull(
        f"file:{folder}", QuietProgress()
    )


@pytest.fixture
def configure(make_worker_config: Callable[..., WorkerConfig]) -> Callable[..., WorkerConfig]:
    def make(version: ModelVersion, code: dict[str, str]) -> WorkerConfig:
        config = make_worker_config(Path(version.folder), version.weights, 4, 2**22)
        return msgspec.structs.replace(config, code=code)

    return make


def run_worker(tmp_path: Path, *jobs: tuple[WorkerConfig, list[int]]) -> Any:
    (tmp_path / "jobs.json").write_bytes(msgspec.json.encode(jobs))
    done = subprocess.run([sys.executable, SCRIPT, tmp_path / "jobs.json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_greedy_tokens_equal_generate_and_the_interface_is_still_checked(
    tmp_path: Path, pull: Callable[[Path], ModelVersion], configure: Callable[..., WorkerConfig]
) -> None:
    version = pull(own_code.write_own_model(tmp_path / "mine"))
    by_hand = pull(own_code.write_own_model(tmp_path / "by-hand", "MineByHand"))
    named = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    llama = pull(own_code.write_own_model(tmp_path / "llama", **named))
    assert set(version.code) == {"configuration_mine.py", "modeling_mine.py"}
    configs = [configure(each, each.code) for each in (version, by_hand, llama)]
    configs[2] = msgspec.structs.replace(configs[2], numerics="fast")
    tokens, refusal, tokens_of_llama = run_worker(tmp_path, *((config, PROMPT) for config in configs))
    plain = own_code.create_plain()
    assert tokens == flipped_greedy(plain, PROMPT, len(tokens))
    assert tokens_of_llama == tokens, "code that is named computes, also where ours could"
    assert "does not go through Transformers' attention interface" in refusal
    modules = Path(version.folder, "modules")
    assert modules.stat().st_mode & 0o777 == 0o700
    assert list(modules.rglob("modeling_mine.py"))


def flipped_greedy(model: Any, prompt: list[int], num_tokens: int) -> list[int]:
    """What `generate` gives with own_code's forward: the same model with its logits the other way round."""
    forward = model.forward

    def flipped(*args: Any, **options: Any) -> Any:
        out = forward(*args, **options)
        return replace(out, logits=out.logits.flip(-1))

    model.forward = flipped
    ids = torch.tensor([prompt])
    options = {"max_new_tokens": num_tokens, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    return model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, len(prompt) :].tolist()


def test_no_code_runs_that_the_worker_isnt_told_of(
    tmp_path: Path, pull: Callable[[Path], ModelVersion], configure: Callable[..., WorkerConfig]
) -> None:
    """Not for a model whose name was taken out of the setting, nor when a file isn't what was pulled."""
    trap = tmp_path / "it-ran"
    prologue = f"open({str(trap)!r}, 'w').close()\n"
    version = pull(own_code.write_own_model(tmp_path / "mine", prologue=prologue))
    with pytest.raises(UnsupportedModel, match=r"no model_type 'mine'.*models\.remote_code doesn't name"):
        create_runner(configure(version, {}))
    with pytest.raises(UnsupportedModel, match=r"modeling_mine\.py changed since the pull"):
        create_runner(configure(version, {**version.code, "modeling_mine.py": "0" * 64}))
    Path(version.folder, "extra.py").write_text("")
    with pytest.raises(UnsupportedModel, match=r"extra\.py changed since the pull"):
        create_runner(configure(version, version.code))
    assert not trap.exists()
