"""Keys of TRL that a run of LLMOS can't honour, with what to do instead: none is accepted and then ignored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _is_off(value: Any) -> bool:
    return value in (None, False, "", "false", "none")


@dataclass(frozen=True)
class Refusal:
    remedy: str
    is_harmless: Callable[[Any], bool] = _is_off
    """Whether a value asks for nothing that is refused."""


_HUB = Refusal("nothing is pushed to a hub. Upload the finished folder with: hf upload")
_LATER = Refusal("set by the run itself, which goes on from its last whole checkpoint.")
_LAUNCHER = Refusal("how processes share the work is said in a file of accelerate, not in the recipe.")
_RENDERER = Refusal(
    "examples are rendered as the model's own chats are served, so its own template and tokens are used."
)
_FILES = Refusal("files are given by --data and --validation.", lambda value: value in (None, "train", "test"))
_ENGINE = Refusal("answers are sampled by this server's own engine, with its own settings.")
_TRACKERS = ("none", "tensorboard", "trackio")


def _is_local_tracker(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return all(_is_off(name) or name in _TRACKERS for name in names)


REFUSED: dict[str, Refusal] = {
    "push_to_hub": _HUB,
    "hub_model_id": _HUB,
    "hub_token": _HUB,
    "hub_revision": _HUB,
    "hub_private_repo": _HUB,
    "hub_always_push": _HUB,
    "resume_from_checkpoint": _LATER,
    "auto_find_batch_size": Refusal("a resumed run would begin with another batch. Set per_device_train_batch_size."),
    "dataset_streaming": Refusal("examples are checked and counted before a run begins, so they aren't streamed."),
    "trust_remote_code": Refusal("name the repository in models.remote_code of config.toml instead."),
    "model_revision": Refusal("write it behind the model's name: hf:org/name@revision.", lambda v: v in (None, "main")),
    "report_to": Refusal("a run reports to LLMOS, and to tensorboard or trackio if you say so.", _is_local_tracker),
    "load_in_8bit": Refusal("a base is held in 4 bits or as it is; set load_in_4bit instead."),
    "chat_template_path": _RENDERER,
    "eos_token": _RENDERER,
    "pad_token": _RENDERER,
    "dataset_kwargs": _RENDERER,
    "dataset_config": _FILES,
    "dataset_train_split": _FILES,
    "dataset_test_split": _FILES,
    "save_only_model": Refusal("a run that was interrupted could not go on from its checkpoints."),
    "deepspeed": _LAUNCHER,
    "fsdp": _LAUNCHER,
    "fsdp_config": _LAUNCHER,
    "parallelism_config": _LAUNCHER,
    "local_rank": Refusal("set by the launcher.", lambda value: value in (None, -1)),
    **dict.fromkeys(
        (
            "vllm_mode",
            "vllm_model_impl",
            "vllm_enable_sleep_mode",
            "vllm_structured_outputs_regex",
            "vllm_server_base_url",
            "vllm_server_host",
            "vllm_server_port",
            "vllm_server_timeout",
            "vllm_group_port",
            "vllm_gpu_memory_utilization",
            "vllm_max_model_length",
            "vllm_tensor_parallel_size",
        ),
        _ENGINE,
    ),
    "load_best_model_at_end": Refusal("the last step is what is served; earlier ones are names of their own."),
    "truncation_mode": Refusal(
        "no example is ever cut. Set max_length, and --too-long drop to leave long ones out.",
        lambda value: value in (None, "keep_start"),
    ),
}
