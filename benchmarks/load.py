"""How long a GGUF takes to load on the compiled kernels, and how much memory at most.

python benchmarks/load.py random-1b.gguf --threads 2
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


def load(weights: Path, folder: Path, threads: int, queue: Any) -> None:
    """As a worker does it."""
    from llmos_server.engine.messages import WorkerConfig
    from llmos_server.engine.model_runner import create_runner

    config = WorkerConfig(
        epoch=0, commands_endpoint="", reports_endpoint="", model_digest="", model_folder=str(folder),
        weights=[str(weights)], device="cpu", threads=threads, page_size=16, cache_bytes=PAGES_BYTES, max_num_seqs=8,
        max_num_batched_tokens=512, prefix_caching=True, numerics="fast",
    )  # fmt: skip
    before, started, busy = resident("VmRSS"), time.monotonic(), time.process_time()
    _, info = create_runner(config)
    seconds, busy = time.monotonic() - started, time.process_time() - busy
    queue.put((info.dtype, seconds, busy, before, resident("VmHWM"), resident("VmRSS")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    fresh = multiprocessing.get_context("spawn")
    queue = fresh.Queue()
    with tempfile.TemporaryDirectory() as folder:
        for target, values in ((import_configs, ()), (load, (args.threads, queue))):
            process = fresh.Process(target=target, args=(args.file, Path(folder), *values))
            process.start()
            process.join()
            assert process.exitcode == 0
    dtype, seconds, busy, before, peak, after = queue.get()
    size, pages = args.file.stat().st_size / MIB, PAGES_BYTES / MIB
    print(f"{args.file.name}: {size:.0f} MiB, {dtype}, loaded in {seconds:.1f} s ({busy:.1f} s of processor time)")
    print(f"resident: {before:.0f} MiB before, {peak:.0f} at most, {after:.0f} after; {pages:.0f} of them are pages")
    whole, alone = (peak - pages) / size, (peak - before - pages) / size
    print(f"at most, without pages: {whole:.2f} times the file; without what was there before: {alone:.2f}")


if __name__ == "__main__":
    main()
