from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from llmos_server.errors import PullError, UnsupportedModel
from llmos_server.registry.folders import find_shards, import_folder
from llmos_server.registry.importing import import_gguf


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


class TestGGUF:
    def config(self, fakes: ModuleType, folder: Path, arch: str = "llama", **how: Any) -> dict[str, Any]:
        import_gguf(fakes.write_gguf(folder / "m.gguf", arch, **how), folder)
        values: dict[str, Any] = read(folder, "config.json")
        return values

    def test_all_files_are_written(self, fakes: ModuleType, tmp_path: Path) -> None:
        config = self.config(fakes, tmp_path)
        expected = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "max_position_embeddings": 128,
            "vocab_size": 262,
            "tie_word_embeddings": True,
            "attention_bias": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        assert {key: config[key] for key in expected} == expected
        assert read(tmp_path, "generation_config.json") == {"bos_token_id": 1, "eos_token_id": [2]}
        tokenizer_config = read(tmp_path, "tokenizer_config.json")
        assert tokenizer_config["bos_token"] == "<|im_start|>"
        assert tokenizer_config["eos_token"] == "<|im_end|>"
        assert tokenizer_config["add_bos_token"] is False
        assert "messages" in (tmp_path / "chat_template.jinja").read_text()
        assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(" the").tokens == ["Ġthe"]

    def test_no_template_no_file(self, fakes: ModuleType, tmp_path: Path) -> None:
        self.config(fakes, tmp_path, metadata={"tokenizer.chat_template": None})
        assert not (tmp_path / "chat_template.jinja").exists()

    def test_an_untied_head_shows(self, fakes: ModuleType, tmp_path: Path) -> None:
        head = np.zeros((262, 32), np.float32)
        assert self.config(fakes, tmp_path, tensors={"output.weight": head})["tie_word_embeddings"] is False

    @pytest.mark.parametrize(("arch", "model_type"), [("qwen2", "qwen2"), ("qwen3", "qwen3")])
    def test_qwen(self, fakes: ModuleType, tmp_path: Path, arch: str, model_type: str) -> None:
        assert self.config(fakes, tmp_path, arch)["model_type"] == model_type

    def test_a_llama_with_a_window_is_mistral(self, fakes: ModuleType, tmp_path: Path) -> None:
        config = self.config(fakes, tmp_path, metadata={"llama.attention.sliding_window": 64})
        assert (config["model_type"], config["sliding_window"]) == ("mistral", 64)

    def test_linear_rope_scaling(self, fakes: ModuleType, tmp_path: Path) -> None:
        scaling = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
        config = self.config(fakes, tmp_path, metadata=scaling)
        assert config["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}

    def test_llama3_rope_scaling_is_found_again_in_its_divisors(self, fakes: ModuleType, tmp_path: Path) -> None:
        # Head of 8 dimensions, theta 500000: wave lengths 6.3, 167, 4443, 118141 tokens.
        turns = 8192 / np.array([6.2832, 167.08, 4442.9, 118143.0])
        kept = np.clip((turns - 1) / 3, 0, 1)
        divisors = (1 / ((1 - kept) / 32 + kept)).astype(np.float32)
        how: dict[str, Any] = {"metadata": {"llama.rope.freq_base": 500000.0}}
        config = self.config(fakes, tmp_path, tensors={"rope_freqs.weight": divisors}, **how)
        assert config["rope_scaling"]["rope_type"] == "llama3"
        assert config["rope_scaling"]["factor"] == 32.0
        with pytest.raises(UnsupportedModel, match=r"rope_freqs\.weight"):
            self.config(fakes, tmp_path, tensors={"rope_freqs.weight": divisors[::-1].copy()}, **how)

    @pytest.mark.parametrize(
        ("metadata", "match"),
        [
            ({"llama.block_count": None}, "llama.block_count"),
            ({"llama.block_count": 3}, r"blk\.2\."),
            ({"llama.block_count": 2**31}, r"blk\.2\."),
            ({"llama.attention.head_count": [4, 4]}, "head_count"),
            ({"llama.attention.layer_norm_rms_epsilon": None}, "layer_norm_rms_epsilon"),
            ({"llama.attention.value_length": 16}, "value_length"),
            ({"llama.rope.dimension_count": 4}, "dimension_count"),
            ({"llama.rope.scaling.type": "yarn"}, "yarn"),
            ({"llama.expert_count": 8}, "expert_used_count"),
            ({"llama.logit_scale": 2.0}, "logit_scale"),
            ({"tokenizer.ggml.pre": "my-own"}, "my-own"),
        ],
    )
    def test_what_cannot_be_said_is_refused_by_name(
        self, fakes: ModuleType, tmp_path: Path, metadata: dict[str, Any], match: str
    ) -> None:
        with pytest.raises(UnsupportedModel, match=match):
            self.config(fakes, tmp_path, metadata=metadata)

    def test_unknown_architecture_and_tensors_are_refused_by_name(self, fakes: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedModel, match="'falcon'"):
            self.config(fakes, tmp_path, "falcon")
        extra = {"blk.1.attn_q_norm.weight": np.ones(8, np.float32)}
        with pytest.raises(UnsupportedModel, match=r"blk\.1\.attn_q_norm"):
            self.config(fakes, tmp_path, tensors=extra)
        with pytest.raises(UnsupportedModel, match=r"attn_k\.bias"):
            self.config(fakes, tmp_path, "qwen2", tensors={"blk.0.attn_k.bias": None})
        with pytest.raises(UnsupportedModel, match="MXFP4"):
            self.config(fakes, tmp_path, types={"blk.0.ffn_up.weight": "MXFP4"})

    def test_transformers_reads_the_same_model(self, fakes: ModuleType, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        for arch, change in (
            ("llama", {}),
            ("llama", {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}),
            ("llama", {"llama.attention.sliding_window": 64}),
            ("qwen2", {}),
            ("qwen3", {}),
        ):
            ours = self.config(fakes, tmp_path, arch, metadata=change)
            theirs = transformers.AutoConfig.from_pretrained(tmp_path)
            assert theirs.model_type == ours["model_type"]
            for key in ("hidden_size", "num_key_value_heads", "rms_norm_eps", "tie_word_embeddings", "vocab_size"):
                assert getattr(theirs, key) == ours[key]
            assert theirs.rope_parameters["rope_theta"] == ours["rope_theta"]
            kind = ours.get("rope_scaling", {}).get("rope_type", "default")
            assert theirs.rope_parameters["rope_type"] == kind
            text = " the 12  3<|im_end|>"
            expected = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).ids
            assert transformers.AutoTokenizer.from_pretrained(tmp_path).encode(text) == expected


class TestFolder:
    def test_files_are_copied_and_completed(self, fakes: ModuleType, tmp_path: Path) -> None:
        source, target = fakes.write_folder(tmp_path / "a"), tmp_path / "b"
        target.mkdir()
        (source / "tokenizer_config.json").write_text('{"eos_token": "</s>", "chat_template": "T"}')
        (source / "generation_config.json").write_text('{"temperature": 0.6, "eos_token_id": 7}')
        import_folder(source, target)
        assert read(target, "config.json")["model_type"] == "llama"
        assert read(target, "tokenizer_config.json") == {"eos_token": "</s>"}
        generation = {"temperature": 0.6, "eos_token_id": [7], "bos_token_id": 1}
        assert read(target, "generation_config.json") == generation
        assert (target / "chat_template.jinja").read_text() == "T"
        assert (target / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
        assert not list(target.glob("*.safetensors"))

    def test_the_template_file_wins_and_the_list_form_is_searched(self, fakes: ModuleType, tmp_path: Path) -> None:
        source = fakes.write_folder(tmp_path)
        named = [{"name": "tool_use", "template": "U"}, {"name": "default", "template": "D"}]
        (source / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
        out = tmp_path / "out"
        out.mkdir()
        import_folder(source, out)
        assert (out / "chat_template.jinja").read_text() == "D"
        (source / "chat_template.jinja").write_bytes(b"line\r\n")
        import_folder(source, out)
        assert (out / "chat_template.jinja").read_bytes() == b"line\r\n"

    def test_a_missing_tokenizer_is_refused_with_the_remedy(self, fakes: ModuleType, tmp_path: Path) -> None:
        source = fakes.write_folder(tmp_path)
        (source / "tokenizer.json").unlink()
        with pytest.raises(PullError, match=r"tokenizer\.json.*save_pretrained"):
            import_folder(source, tmp_path)
        (source / "tokenizer.model").write_bytes(b"x")
        with pytest.raises(PullError, match=r"tokenizer\.model.*Fetch it again"):
            import_folder(source, tmp_path)

    @pytest.mark.parametrize(
        ("config", "match"),
        [
            ({"model_type": None}, "model_type is None"),
            ({"quantization_config": {"bits": 4}}, "quantised"),
            ({"max_position_embeddings": None}, "no context length"),
            ({"max_position_embeddings": "long"}, "max_position_embeddings is 'long'"),
            ({"architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClassification"),
            ({"architectures": ["Gemma3ForConditionalGeneration"]}, "Gemma3ForConditionalGeneration"),
            ({"architectures": "LlamaForCausalLM"}, "a list of names"),
        ],
    )
    def test_other_models_are_refused_by_name(
        self, fakes: ModuleType, tmp_path: Path, config: dict[str, Any], match: str
    ) -> None:
        with pytest.raises(UnsupportedModel, match=match):
            import_folder(fakes.write_folder(tmp_path / "m", **config), tmp_path)

    def test_a_broken_tokenizer_is_refused(self, fakes: ModuleType, tmp_path: Path) -> None:
        source = fakes.write_folder(tmp_path)
        (source / "tokenizer.json").write_text('{"version": "1.0"')
        with pytest.raises(PullError, match=r"tokenizer\.json: can't be read as a tokenizer"):
            import_folder(source, tmp_path)

    @pytest.mark.parametrize(
        "config",
        [
            {
                "model_type": "gpt2",
                "architectures": ["GPT2LMHeadModel"],
                "max_position_embeddings": None,
                "n_positions": 64,
            },
            {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"]},
            {"hidden_act": "gelu", "rope_scaling": {"type": "yarn", "factor": 2.0}},
        ],
    )
    def test_whatever_may_generate_text_is_taken(
        self, fakes: ModuleType, tmp_path: Path, config: dict[str, Any]
    ) -> None:
        """The worker tries it out."""
        out = tmp_path / "out"
        out.mkdir()
        assert import_folder(fakes.write_folder(tmp_path / "m", **config), out) == 64

    def test_shards_are_taken_from_the_index(self, fakes: ModuleType, tmp_path: Path) -> None:
        source = fakes.write_folder(tmp_path)
        (source / "model.safetensors").unlink()
        names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        for name in (*names, "consolidated.safetensors"):
            fakes.write_safetensors(source / name)
        weight_map = {"b": names[1], "a": names[0], "c": names[1]}
        (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        assert find_shards(source) == [source / name for name in names]
        (source / names[1]).unlink()
        with pytest.raises(PullError, match=names[1]):
            find_shards(source)

    @pytest.mark.parametrize(
        "name",
        ["../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..", "x.bin", "", "a\\..\\b.safetensors\0"],
    )
    def test_shard_names_that_leave_the_folder_are_refused(self, fakes: ModuleType, tmp_path: Path, name: str) -> None:
        source = fakes.write_folder(tmp_path)
        (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
        with pytest.raises(PullError):
            find_shards(source)

    def test_pickles_are_refused(self, fakes: ModuleType, tmp_path: Path) -> None:
        source = fakes.write_folder(tmp_path)
        (source / "model.safetensors").rename(source / "pytorch_model.bin")
        with pytest.raises(PullError, match="pickled"):
            find_shards(source)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\xff" * 8,
            (10).to_bytes(8, "little") + b"not json!!",
            (2).to_bytes(8, "little") + b"[]",
            (2).to_bytes(8, "little") + b"{}" + b"rest",
            (9).to_bytes(8, "little") + b'{"w": {}}',
        ],
    )
    def test_damaged_safetensors_are_refused(self, fakes: ModuleType, tmp_path: Path, content: bytes) -> None:
        source = fakes.write_folder(tmp_path)
        (source / "model.safetensors").write_bytes(content)
        with pytest.raises(PullError, match=r"model\.safetensors"):
            find_shards(source)

    def test_a_cut_safetensors_file_is_refused(self, fakes: ModuleType, tmp_path: Path) -> None:
        source = fakes.write_folder(tmp_path)
        whole = (source / "model.safetensors").read_bytes()
        (source / "model.safetensors").write_bytes(whole[:-1])
        with pytest.raises(PullError, match="speaks of"):
            find_shards(source)

    @pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
    def test_broken_json_is_refused(self, fakes: ModuleType, tmp_path: Path, content: str) -> None:
        source = fakes.write_folder(tmp_path)
        (source / "config.json").write_text(content)
        with pytest.raises(PullError, match=r"config\.json"):
            import_folder(source, tmp_path)
