"""What of PEFT's folders is taken in, and what is refused."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from llmos_server.adapter_contracts import ADAPTER_SPEC, AdapterSpec, AdapterVersion
from llmos_server.errors import InvalidRequest, LLMOSError, PullError, UnsupportedModel
from llmos_server.registry.adapter_folders import import_adapter, leftover_adapters, remove_adapter
from llmos_server.registry.adapter_sweeping import AdapterSweeping

sys.path.insert(0, str(Path(__file__).parent))

from adapter_files import BASE_SHA, DOWN, Q_PROJ, create_adapter, create_base


def take_in(tmp_path: Path, suffix: str = "tidy", **changes: Any) -> AdapterVersion:
    source = create_adapter(tmp_path / "peft", **changes)
    return import_adapter(tmp_path / "home", source, create_base(tmp_path / "base"), suffix, owner="ann")


def spec_of(adapter: AdapterVersion) -> AdapterSpec:
    return msgspec.json.decode(Path(adapter.folder, ADAPTER_SPEC).read_bytes(), type=AdapterSpec)


def test_a_folder_of_peft_becomes_an_adapter(tmp_path: Path) -> None:
    adapter = take_in(tmp_path)
    assert (adapter.name, adapter.base, adapter.base_digest) == ("tiny:1b:tidy", "tiny:1b", BASE_SHA)
    assert (adapter.rank, adapter.owner) == (2, "ann")
    assert Path(adapter.folder) == tmp_path / "home" / "adapters" / adapter.digest.removeprefix("sha256:")
    assert spec_of(adapter) == AdapterSpec(rank=2, scales={Q_PROJ: 2.0, DOWN: 2.0})
    assert [path.name for path in (tmp_path / "home" / "adapters").iterdir()] == [Path(adapter.folder).name]


def test_the_digest_is_the_contents(tmp_path: Path) -> None:
    first = take_in(tmp_path)
    assert take_in(tmp_path, "other", base_model_name_or_path="elsewhere").digest == first.digest
    assert take_in(tmp_path, seed=1).digest != first.digest
    assert take_in(tmp_path, lora_alpha=8).digest != first.digest


def test_scales_are_those_of_peft(tmp_path: Path) -> None:
    spec = spec_of(take_in(tmp_path, use_rslora=True, alpha_pattern={"mlp.down_proj": 6}))
    assert spec.scales == {Q_PROJ: 4 / math.sqrt(2), DOWN: 6 / math.sqrt(2)}


def test_patterns_name_whole_modules(tmp_path: Path) -> None:
    """As re.match(r"(.*\\.)?(proj)$") does."""
    assert spec_of(take_in(tmp_path, alpha_pattern={"proj": 100, "q_proj": 6})).scales == {Q_PROJ: 3.0, DOWN: 2.0}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another method": ({"peft_type": "LOHA"}, "peft_type is 'LOHA'"),
    "dora": ({"use_dora": True}, "DoRA isn't served"),
    "biases": ({"bias": "all"}, "bias: none"),
    "whole layers": ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "a start that changes the base": ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
    "what isn't known": ({"use_wonder": 3}, "use_wonder is 3"),
    "no rank": ({"r": 0}, "r is 0"),
    "an expression": ({"rank_pattern": {"(a+)+": 2}}, "rank_pattern"),
    "another rank": ({"rank_pattern": {"q_proj": 4}}, "rank at model.layers.0.self_attn.q_proj is 2"),
    "a module that isn't there": ({"shapes": {"model.layers.9.mlp.up_proj": (4, 4)}}, "tiny:1b doesn't have"),
    "a norm": ({"shapes": {"model.norm": (8, 8)}}, "tensors for model.norm"),
    "another shape": ({"shapes": {Q_PROJ: (8, 16)}}, "[16, 8] there"),
    "half a pair": ({"tensors": {"base_model.model.x.lora_A.weight": np.zeros((2, 8), np.float32)}}, "matrices both"),
    "another tensor": ({"tensors": {"base_model.model.lm_head.weight": np.zeros((2, 8), np.float32)}}, "no tensor of"),
    "another type": (
        {"tensors": {f"base_model.model.{Q_PROJ}.lora_A.weight": np.zeros((2, 8), np.int32)}},
        "of type I32",
    ),
    "no numbers": (
        {"tensors": {f"base_model.model.{Q_PROJ}.lora_A.weight": np.full((2, 8), np.nan, np.float16)}},
        "no number",
    ),
    "another base": ({"metadata": {"llmos_base_digest": "sha256:other"}}, "another base"),
}


@pytest.mark.parametrize(("changes", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cant_be_served_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        take_in(tmp_path, **changes)
    assert reason in str(caught.value)
    assert list((tmp_path / "home" / "adapters").iterdir()) == []


def test_damaged_files_are_told(tmp_path: Path) -> None:
    base, source = create_base(tmp_path / "base"), create_adapter(tmp_path / "peft")
    weights, config = source / "adapter_model.safetensors", source / "adapter_config.json"
    whole, text = weights.read_bytes(), config.read_text()
    damages: list[tuple[Path, bytes]] = [
        (weights, whole[:-4]),
        (weights, b"\xff" * 64),
        (weights, b""),
        (config, b"[]"),
        (config, b"{"),
    ]
    for path, content in damages:
        weights.write_bytes(whole)
        config.write_text(text)
        path.write_bytes(content)
        with pytest.raises(PullError):
            import_adapter(tmp_path / "home", source, base, "tidy")
    weights.rename(source / "adapter_model.bin")
    with pytest.raises(PullError, match="pickled"):
        import_adapter(tmp_path / "home", source, base, "tidy")


@pytest.mark.parametrize("suffix", ["", "a:b", "-a", "a/b", "x" * 97])
def test_a_suffix_is_a_word(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InvalidRequest, match="can't end"):
        take_in(tmp_path, suffix)


def test_encoders_have_none(tmp_path: Path) -> None:
    base = msgspec.structs.replace(create_base(tmp_path / "base"), kind="encoder")
    with pytest.raises(LLMOSError, match="decoders alone"):
        import_adapter(tmp_path, create_adapter(tmp_path / "peft"), base, "tidy")


def test_how_the_base_is_quantised_is_another_matter(tmp_path: Path) -> None:
    base = msgspec.structs.replace(create_base(tmp_path / "base"), digest=f"{BASE_SHA}+int8")
    source = create_adapter(tmp_path / "peft", metadata={"llmos_base_digest": BASE_SHA})
    assert import_adapter(tmp_path, source, base, "tidy").base_digest == BASE_SHA


def test_files_that_no_name_leads_to_are_found(tmp_path: Path) -> None:
    home = tmp_path / "home"
    kept, gone = take_in(tmp_path), take_in(tmp_path, seed=1)
    assert leftover_adapters(home, [kept.digest], older_than=0.0) == []
    assert leftover_adapters(home, [kept.digest], older_than=math.inf) == [gone.digest]
    remove_adapter(home, gone.digest)
    assert not Path(gone.folder).exists()
    assert json.loads(Path(kept.folder, "adapter_config.json").read_text())["r"] == 2


async def test_files_without_a_name_go_after_a_day(tmp_path: Path) -> None:
    kept, gone = take_in(tmp_path), take_in(tmp_path, seed=1)

    class Rows:
        async def remove_temporary(self) -> None: ...

        async def digests(self) -> set[str]:
            return {kept.digest}

    now = time.time()
    sweeping = AdapterSweeping(Rows(), tmp_path / "home", clock=lambda: now)
    await sweeping.take_turn()
    assert Path(gone.folder).exists()
    now += 2 * 86_400
    await sweeping.take_turn()
    assert (Path(kept.folder).exists(), Path(gone.folder).exists()) == (True, False)
