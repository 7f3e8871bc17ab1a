"""Small files and servers that stand for real ones. Reached through fixtures of conftest.py."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import Tokenizer, models

HIDDEN, LAYERS, HEADS = 32, 2, 4
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BERT_VOCABULARY = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "hello",
    "##s",
    "caf",
    "##e",
    "!",
    "\u4f60",
    "\u597d",
    "X",
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class RecordingProgress:
    """Remembers what it is told; `on_update` and `on_check` may interfere."""

    def __init__(
        self,
        on_update: Callable[[str, int], None] = lambda label, done: None,
        on_check: Callable[[], None] = lambda: None,
    ) -> None:
        self.lines: list[str] = []
        self.tracks: list[tuple[str, int | None]] = []
        self._on_update = on_update
        self.check = on_check

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def track(self, label: str, total: int | None) -> Iterator[Any]:
        self.tracks.append((label, total))
        progress = self

        class Track:
            def update(self, done: int) -> None:
                progress._on_update(label, done)

        yield Track()


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for bytes in byte-level BPE."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def tiny_metadata(arch: str = "llama") -> dict[str, Any]:
    """All keys that a converter would write for a model with HIDDEN, LAYERS and HEADS."""
    tokens = [*SPECIALS, *byte_alphabet(), "Ġt", "he", "Ġthe"]
    return {
        f"{arch}.block_count": LAYERS,
        f"{arch}.context_length": 128,
        f"{arch}.embedding_length": HIDDEN,
        f"{arch}.feed_forward_length": 64,
        f"{arch}.attention.head_count": HEADS,
        f"{arch}.attention.head_count_kv": 2,
        f"{arch}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{arch}.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * len(SPECIALS) + [1] * (len(tokens) - len(SPECIALS)),
        "tokenizer.ggml.merges": ["Ġ t", "h e", "Ġt he"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
    }


def tiny_tensors(arch: str = "llama") -> dict[str, np.ndarray]:
    """name -> float32 array, the set that the architecture needs; tied embeddings."""
    rng = np.random.default_rng(0)
    kv = HIDDEN // HEADS * 2
    shapes: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (HIDDEN,),
        "ffn_norm.weight": (HIDDEN,),
        "attn_q.weight": (HIDDEN, HIDDEN),
        "attn_k.weight": (kv, HIDDEN),
        "attn_v.weight": (kv, HIDDEN),
        "attn_output.weight": (HIDDEN, HIDDEN),
        "ffn_gate.weight": (64, HIDDEN),
        "ffn_up.weight": (64, HIDDEN),
        "ffn_down.weight": (HIDDEN, 64),
    }
    if arch == "qwen2":
        shapes |= {"attn_q.bias": (HIDDEN,), "attn_k.bias": (kv,), "attn_v.bias": (kv,)}
    if arch == "qwen3":
        shapes |= {"attn_q_norm.weight": (HIDDEN // HEADS,), "attn_k_norm.weight": (HIDDEN // HEADS,)}
    every = {f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in shapes.items()}
    every |= {"token_embd.weight": (len(tiny_metadata()["tokenizer.ggml.tokens"]), HIDDEN)}
    every |= {"output_norm.weight": (HIDDEN,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in every.items()}


def write_gguf(
    path: Path,
    arch: str = "llama",
    *,
    metadata: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray | None] | None = None,
    types: Mapping[str, str] | None = None,
) -> Path:
    """A whole small model. metadata, tensors: replace or add; None removes. types: tensor -> type to pack it in."""
    writer = gguf.GGUFWriter(path, arch)
    for key, value in {**tiny_metadata(arch), **(metadata or {})}.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        if isinstance(value, list):
            writer.add_array(key, value)
        elif value is not None:
            add[type(value)](key, value)
    for name, array in {**tiny_tensors(arch), **(tensors or {})}.items():
        if array is None:
            continue
        kind = (types or {}).get(name)
        if kind is None:
            writer.add_tensor(name, array)
        else:
            number = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, gguf.quants.quantize(array, number), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_folder(path: Path, **config: Any) -> Path:
    """A checkpoint in the Hugging Face layout with one small tensor."""
    path.mkdir(parents=True, exist_ok=True)
    values = {"model_type": "llama", "max_position_embeddings": 64, "eos_token_id": 2, "bos_token_id": 1, **config}
    (path / "config.json").write_text(json.dumps(values))
    (path / "tokenizer.json").write_text(Tokenizer(models.BPE()).to_str())
    write_safetensors(path / "model.safetensors")
    return path


def write_encoder_folder(
    path: Path, *, modules: Any = (), pooling: Mapping[str, Any] | None = None, **config: Any
) -> Path:
    """An encoder as sentence-transformers saves it. modules: more of them, as (type, path); None: no modules.json."""
    path.mkdir(parents=True, exist_ok=True)
    values = {"model_type": "bert", "max_position_embeddings": 64, "pad_token_id": 0, **config}
    (path / "config.json").write_text(json.dumps(values))
    (path / "vocab.txt").write_text("\n".join(BERT_VOCABULARY), encoding="utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    if modules is not None:
        listed = [("Transformer", ""), ("Pooling", "1_Pooling"), *modules]
        entries = [{"type": f"sentence_transformers.models.{kind}", "path": place} for kind, place in listed]
        (path / "modules.json").write_text(json.dumps(entries))
        (path / "1_Pooling").mkdir(exist_ok=True)
        pooling = {"pooling_mode_mean_tokens": True} if pooling is None else pooling
        (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    write_safetensors(path / "model.safetensors")
    return path


def write_safetensors(path: Path, fill: int = 0) -> Path:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes([fill] * 8))
    return path


def write_wheel(folder: Path, package: str, version: str, files: Mapping[str, bytes]) -> tuple[Path, str]:
    """A wheel that pip accepts; returns it and its sha256."""
    stem = package.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    wheel = folder / f"{stem}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel, hashlib.sha256(wheel.read_bytes()).hexdigest()


class FakeHub:
    """Speaks as much of the hub's interface as a download needs, on loopback."""

    def __init__(self, repo: str, files: Mapping[str, bytes]) -> None:
        self.repo, self.files = repo, dict(files)
        self.downloads: list[tuple[str, str | None]] = []
        """(file, Range header) of each GET."""
        self.asked: list[str] = []
        """Paths of the questions about the repository."""
        self.wrong_sha256 = False
        self.cut_after: int | None = None
        """Close the connection after so many bytes of a .safetensors or .gguf, once."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub._answer(self, with_body=True)

            def do_HEAD(self) -> None:
                hub._answer(self, with_body=False)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> FakeHub:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        path = handler.path.partition("?")[0]
        prefix = f"/{self.repo}/resolve/{COMMIT}/"
        if path.startswith(f"/api/models/{self.repo}"):
            self.asked.append(path)
            self._send(handler, 200, json.dumps(self._info()).encode(), {"Content-Type": "application/json"}, with_body)
        elif path.startswith(prefix) and path.removeprefix(prefix) in self.files:
            self._send_file(handler, path.removeprefix(prefix), with_body)
        else:
            self._send(handler, 404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)

    def _info(self) -> dict[str, Any]:
        siblings = []
        for name, content in self.files.items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": "b"}
            if name.endswith((".safetensors", ".gguf")):
                digest = "0" * 64 if self.wrong_sha256 else hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 1}
            siblings.append(entry)
        return {"id": self.repo, "sha": COMMIT, "siblings": siblings}

    def _send_file(self, handler: BaseHTTPRequestHandler, name: str, with_body: bool) -> None:
        content = self.files[name]
        wanted = handler.headers.get("Range")
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        if with_body:
            self.downloads.append((name, wanted))
        if wanted and with_body:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(handler, 206, content[start:], headers, with_body)
            return
        cut = self.cut_after if with_body and name.endswith((".safetensors", ".gguf")) else None
        if cut is not None:
            self.cut_after = None
        self._send(handler, 200, content, headers, with_body, cut=cut)

    @staticmethod
    def _send(
        handler: BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
        with_body: bool,
        cut: int | None = None,
    ) -> None:
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if with_body:
            handler.wfile.write(body[:cut])
        if cut is not None:
            handler.close_connection = True
