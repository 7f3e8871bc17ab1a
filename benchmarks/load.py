"""How long a model takes to load on the compiled kernels, and how much memory at most.

python benchmarks/load.py random-1b.gguf --threads 2
python benchmarks/load.py folder-with-safetensors --quantization int4
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import tempfile
import time
from pathlib import Path
from typing import Any

PAGES_BYTES = 64 * 2**20
MIB = 2**20


def resident(field: str) -> float:
    """VmRSS or VmHWM of this process, in MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024


def import_configs(weights: Path, folder: Path) -> None:
    from llmos_server.registry.importing import import_gguf

    import_gguf(weights, folder)


def load(weights: list[str], folder: Path, threads: int, quantization: Any, queue: Any) -> None:
    """As a worker does it."""
    from llmos_server.engine.messages import WorkerConfig
    from llmos_server.engine.model_runner import create_runner

    config = WorkerConfig(
        epoch=0, commands_endpoint="", reports_endpoint="", model_digest="", model_folder=str(folder),
        weights=weights, device="cpu", threads=threads, page_size=16, cache_bytes=PAGES_BYTES, max_num_seqs=8,
        max_num_batched_tokens=512, prefix_caching=True, numerics="fast",
        quantization=quantization,
    )  # fmt: skip
    before, started, busy = resident("VmRSS"), time.monotonic(), time.process_time()
    _, info = create_runner(config)
    seconds, busy = time.monotonic() - started, time.process_time() - busy
    queue.put((info.dtype, seconds, busy, before, resident("VmHWM"), resident("VmRSS")))


def run(process: Any) -> None:
    process.start()
    process.join()
    assert process.exitcode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .gguf, or a folder with config.json and safetensors")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quantization", choices=("none", "int8", "int4"), default="none")
    args = parser.parse_args()
    fresh = multiprocessing.get_context("spawn")
    queue = fresh.Queue()
    files = sorted(args.model.glob("*.safetensors")) if args.model.is_dir() else [args.model]
    with tempfile.TemporaryDirectory() as made:
        folder = args.model if args.model.is_dir() else Path(made)
        if not args.model.is_dir():
            run(fresh.Process(target=import_configs, args=(args.model, folder)))
        run(fresh.Process(target=load, args=([*map(str, files)], folder, args.threads, args.quantization, queue)))
    dtype, seconds, busy, before, peak, after = queue.get()
    size, pages = sum(file.stat().st_size for file in files) / MIB, PAGES_BYTES / MIB
    print(f"{args.model.name}: {size:.0f} MiB, {dtype}, loaded in {seconds:.1f} s ({busy:.1f} s of processor time)")
    print(f"resident: {before:.0f} MiB before, {peak:.0f} at most, {after:.0f} after; {pages:.0f} of them are pages")
    whole, alone = (peak - pages) / size, (peak - before - pages) / size
    print(f"at most, without pages: {whole:.2f} times the file; without what was there before: {alone:.2f}")


if __name__ == "__main__":
    main()
