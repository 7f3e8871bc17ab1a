"""A run as several processes, by accelerate's own launcher: this process leads, and each rank is started by torch."""

from __future__ import annotations

import os
import socket
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from llmos_server.cores import thread_environment
from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import JobContext, LeaseLost
from llmos_server.jobs.ranks import cause, channels
from llmos_server.training.launch_file import SPLIT_BY_BATCH, read_launch_file
from llmos_server.training.spec import TuneSpec

RANKS, RENDEZVOUS = "ranks", "rendezvous"
MODULE = "llmos_server.rank_process"
SHUTDOWN_SECONDS = 5
"""For ranks of which one has died: what they do is done again."""
LOOPBACKS = ("lo", "lo0")


def launch(context: JobContext, spec: TuneSpec) -> None:
    """Until all ranks have ended. Raises what ended them; LeaseLost when the first one has written the job's end."""
    folder = context.folder / RANKS
    config = _read_config(context.folder, spec)
    num = int(config["num_processes"])
    context.log(f"Computed by {num} processes.")
    with channels(context, folder, num):
        arguments = _arguments(config, folder)
        os.environ |= _environment(num)
        try:
            launch_command(arguments)
        except ChildFailedError as error:
            statuses = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise cause(context, folder, statuses) from None
        except ValueError as error:  # accelerate's own, of the file.
            raise InvalidRequest(f"The processes can't be started: {error}", param="accelerate") from None
    raise LeaseLost("its first rank has written the job's end")


def _read_config(folder: Path, spec: TuneSpec) -> dict[str, Any]:
    """accelerate's: the job's file, or that of so many processes on this machine, by GPU where there is one."""
    if spec.accelerate:
        return read_launch_file(folder / spec.accelerate, spec.processes)
    return {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": SPLIT_BY_BATCH,
        "use_cpu": not torch.cuda.is_available(),
        "mixed_precision": "no",
        "num_machines": 1,
        "num_processes": spec.processes,
    }


def _arguments(config: dict[str, Any], folder: Path) -> Namespace:
    file = folder / "accelerate.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    arguments: Namespace = launch_command_parser().parse_args(
        ["--config_file", str(file), "--module", MODULE, str(folder)]
    )
    by_torchrun = {
        "rdzv_backend": "c10d",
        "rdzv_conf": "store_type=file",
        "rdzv_endpoint": str(folder / RENDEZVOUS),
        "local_addr": "127.0.0.1",
        "log_dir": str(folder / "logs"),
        "max_restarts": 0,  # The queue's part.
        "shutdown_timeout": SHUTDOWN_SECONDS,
        "signals_to_handle": "SIGHUP",  # Not SIGTERM and SIGINT, which are the job's.
        "main_process_port": 0,
    }
    for name, value in by_torchrun.items():
        setattr(arguments, name, value)
    return arguments


def _environment(num_ranks: int) -> dict[str, str]:
    """Of the ranks: their part of the job's threads, and nothing that listens to other machines."""
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    names = [name for _, name in socket.if_nameindex() if name in LOOPBACKS]
    return {
        **thread_environment(max(1, threads // num_ranks)),
        **({"GLOO_SOCKET_IFNAME": names[0]} if names else {}),
        "PYTHONSAFEPATH": "1",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
