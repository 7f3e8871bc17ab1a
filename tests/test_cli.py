"""The program from outside: help, errors in one line, and what each verb does with the parts behind it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from job_fakes import job_context

from llmos_server.adapter_contracts import AdapterSpec, AdapterVersion
from llmos_server.cli import app, main
from llmos_server.commands.serving import check_exposure
from llmos_server.doctor import has_failed, print_findings
from llmos_server.errors import SettingsError
from llmos_server.finding import Finding
from llmos_server.settings import ApiSettings, Settings
from llmos_server.store.store import open_store
from llmos_server.torch_check import loaded_openmp, openmp_finding
from llmos_server.training.spec import TunedCheckpoint, TuneResult, TuneSpec

VERBS = [name for name in app if not name.startswith("-")]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test of the CLI sees the user's models or a config.toml of the folder it was started in."""
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the program in this process: (exit status, stdout, stderr)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


def test_help_is_quick_because_it_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from llmos_server.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'litestar', 'uvicorn', 'httpx2', 'huggingface_hub', 'tokenizers', 'numpy'}\n"
        "heavy |= {'sqlalchemy', 'alembic', 'advanced_alchemy'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in VERBS)


def test_python_m_is_the_program() -> None:
    command = [sys.executable, "-m", "llmos_server", "version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("llmos 0.")


@pytest.mark.parametrize("verb", VERBS)
def test_each_help_has_an_example(run, verb: str) -> None:
    status, out, _ = run(verb, "--help")
    assert status == 0
    assert f"Example: llmos {verb}" in out


def test_an_unknown_verb_is_refused_with_the_known_ones(run) -> None:
    status, _, err = run("serv")
    assert status == 2
    assert "serve" in err


class TestServe:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "my-machine", ""])
    def test_a_host_that_others_reach_is_refused(self, run, host: str) -> None:
        status, _, err = run("serve", "--host", host)
        assert status == 1
        assert "--insecure" in err
        assert len(err.strip().splitlines()) == 1

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
    def test_loopback_is_not(self, host: str) -> None:
        check_exposure(ApiSettings(host=host))

    def test_insecure_allows_it(self) -> None:
        check_exposure(ApiSettings(host="0.0.0.0", insecure=True))

    def test_the_file_and_the_environment_are_held_to_it_too(self, run, monkeypatch, tmp_path: Path) -> None:
        monkeypatch.setenv("LLMOS_API__HOST", "0.0.0.0")
        assert run("serve")[0] == 1
        monkeypatch.delenv("LLMOS_API__HOST")
        (tmp_path / "mine.toml").write_text('[api]\nhost = "0.0.0.0"\n')
        assert "--insecure" in run("serve", "--config", "mine.toml")[2]

    def test_a_port_in_use_is_told_before_anything_slow(self, run) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            status, _, err = run("serve", "--port", str(port))
        assert status == 1
        assert str(port) in err
        assert "--port" in err

    def test_a_bad_setting_names_the_nearest(self, run, monkeypatch) -> None:
        monkeypatch.setenv("LLMOS_API__PROT", "1")
        status, _, err = run("serve")
        assert status == 1
        assert "port" in err

    def test_check_exposure_says_what_to_do(self) -> None:
        with pytest.raises(SettingsError, match=r"llmos keys create NAME.*127\.0\.0\.1, or say --insecure"):
            check_exposure(ApiSettings(host="10.0.0.1"))


def keep_adapter(home: Path) -> None:
    """Made by a job, and promoted."""
    folder = home / "adapters" / ("a" * 64)
    folder.mkdir(parents=True)
    modules = {f"model.layers.0.self_attn.{part}": 2.0 for part in ("q_proj", "v_proj")}
    (folder / "adapter.json").write_bytes(msgspec.json.encode(AdapterSpec(rank=8, scales=modules)))
    adapter = AdapterVersion(
        name="tiny:1b:tidy", base="tiny:1b", base_digest="sha256:0", digest=f"sha256:{'a' * 64}", folder=str(folder),
        rank=8, num_bytes=9, job_id="ftjob-1", created=1,
    )  # fmt: skip
    step = TunedCheckpoint(step=12, model=f"{adapter.name}-ckpt-step-12", created=1, metrics={"valid_loss": 0.25})
    result = TuneResult(num_examples=40, total_steps=12, trained_tokens=900, checkpoints=[step], model=adapter.name)
    with job_context(home, "tune", TuneSpec(method="sft", model="tiny:1b"), job_id="ftjob-1") as context:
        context.log("The engine computes what was trained: 1e-6 in exact numerics, 0.01 in fast.")
        context.finish(result)

    async def register() -> None:
        async with open_store(Settings(home=home)) as store:
            await store.adapters.register(adapter)
            await store.promotions.promote("orders", adapter.name, adapter.digest, adapter, "")

    asyncio.run(register())


class TestModels:
    def test_nothing_is_here_at_first(self, run) -> None:
        assert "llmos pull" in run("list")[1]
        assert json.loads(run("list", "--json")[1]) == []

    def test_what_is_not_here_is_told_with_the_remedy(self, run) -> None:
        for verb in ("show", "rm"):
            status, _, err = run(verb, "smollm2:135m")
            assert status == 1
            assert err.startswith("llmos: ")
            assert "Traceback" not in err

    def test_an_adapter_is_shown_with_its_content_its_training_and_its_aliases(self, run, own_home: Path) -> None:
        keep_adapter(own_home)
        name = "tiny:1b:tidy"
        shown = json.loads(run("show", name, "--json")[1])
        assert (shown["adapter"]["rank"], shown["adapter"]["is_loaded"], shown["aliases"]) == (8, False, ["orders"])
        assert (shown["content"]["targets"], shown["content"]["scales"]) == (["q_proj", "v_proj"], [2.0])
        assert shown["content"]["files"].keys() == {"adapter.json"}
        lines = run("show", name)[1]
        for told in (
            "q_proj, v_proj (2 modules)", "orders", "sft", "40 examples, 12 steps", "valid_loss 0.25", "in fast.",
        ):  # fmt: skip
            assert told in lines
        status, _, err = run("show", "tiny:1b:nothing")
        assert (status, "is no adapter that is known here" in err) == (1, True)

    def test_a_missing_file_can_not_be_pulled(self, run, tmp_path: Path) -> None:
        status, _, err = run("pull", f"file:{tmp_path}/none.gguf")
        assert status == 1
        assert "none.gguf" in err

    @pytest.mark.real_model
    def test_a_model_comes_and_goes(self, run, smollm2, own_home: Path) -> None:
        name = f"file:{smollm2.weights[0]}"
        status, out, err = run("pull", name)
        assert status == 0, err
        assert "ready" in out
        assert name in run("list")[1]
        shown = json.loads(run("show", name, "--json")[1])
        assert shown["context_length"] == 8192
        assert "context_length" in run("show", name)[1]
        structure = json.loads(run("show", name, "--structure", "--json")[1])
        assert structure["parameters"] == shown["num_parameters"]
        tree = run("show", name, "--structure")[1]
        assert "0 ... 29 (30 alike)" in tree
        assert tree.count("q_proj.weight") == 1
        assert f"{structure['parameters']:,}" in tree
        assert run("rm", name)[0] == 0
        assert json.loads(run("list", "--json")[1]) == []
        assert Path(smollm2.weights[0]).exists()


class TestDoctor:
    @pytest.fixture(autouse=True)
    def free_port(self, monkeypatch: pytest.MonkeyPatch) -> int:
        """Where no server of somebody else's answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        monkeypatch.setenv("LLMOS_API__PORT", str(port))
        return port

    def test_reports_a_line_for_each_check(self, run, free_port: int) -> None:
        status, out, err = run("doctor")
        assert status == 0
        assert "on LLMOS_HOME" in err
        assert f"port {free_port} on 127.0.0.1 is free" in out
        for word in ("Python 3.", "torch", "OpenMP", "cores", "memory", "home", "smollm2:135m", "database"):
            assert word in out

    def test_a_home_that_can_not_be_written_fails(self, run, own_home: Path) -> None:
        own_home.write_text("a file, where a folder should be")
        status, out, _ = run("doctor")
        assert status == 1
        assert "FAIL" in out
        assert "LLMOS_HOME" in out

    def test_cuda_without_a_gpu_fails(self, run, monkeypatch) -> None:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
        monkeypatch.setenv("LLMOS_ENGINE__DEVICE", "cuda")
        status, out, _ = run("doctor")
        assert status == 1
        assert "TORCH=cuda" in out

    def test_a_named_server_that_does_not_answer_is_an_error(self, run, free_port: int) -> None:
        status, out, err = run("doctor", "--url", f"http://127.0.0.1:{free_port}/v1")
        assert status == 1
        assert out == ""
        assert "No server answers" in err

    def test_json_is_json(self, run) -> None:
        _, out, _ = run("doctor", "--json")
        assert {finding["level"] for finding in json.loads(out)} <= {"ok", "warning", "failure"}

    def test_more_threads_than_cores_is_a_warning(self, run, monkeypatch) -> None:
        monkeypatch.setenv("LLMOS_ENGINE__THREADS", "4096")
        status, out, _ = run("doctor")
        assert status == 0
        assert "warn  engine.threads is 4096" in out

    def test_openmp_runtimes_are_counted_by_file(self, tmp_path: Path) -> None:
        maps = tmp_path / "maps"
        maps.write_text(
            "7f r-xp /a/libgomp-1f.so.1\n7f r--p /a/libgomp-1f.so.1\n7f r-xp /b/libiomp5.so\n7f /c/libm.so\n"
        )
        assert loaded_openmp(maps) == ["libgomp-1f.so.1", "libiomp5.so"]
        assert openmp_finding(loaded_openmp(maps)).level == "warning"
        assert openmp_finding(loaded_openmp(tmp_path / "none")).level == "ok"

    def test_a_warning_is_not_a_failure(self, capsys) -> None:
        findings = [Finding("ok", "a"), Finding("warning", "b", "do c")]
        print_findings(findings)
        assert not has_failed(findings)
        assert capsys.readouterr().out == "ok    a\nwarn  b\n      do c\n"
