"""The packages for language models: what each platform gets or why not, and chatting with a stand-in for MLC."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers import catalog, platforms, resolver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.catalog import Catalog

TREE = Path(__file__).parents[2] / "packages"
CHAT = TREE / "demo" / "mlc-chat" / "chat-mlc"

# None: not there, and the table below says by which rule.
VERSIONS: Mapping[str, Mapping[str, str | None]] = {
    "r32.7.1": dict.fromkeys(("mlc", "tvm", "vllm", "bitsandbytes", "lmdeploy", "gptqmodel", "auto_gptq", "ollama")),
    "r35.4.1": {
        "mlc": "0.1.0", "tvm": "0.15.0", "lmdeploy": "0.2.5", "auto_gptq": "0.7.1", "bitsandbytes": "0.45.4",
        "ollama": "0.23.0", "vllm": None, "gptqmodel": None, "auto_awq": None, "exllama": None, "llm-compressor": None,
    },
    "r36.2.0": {"bitsandbytes": "0.45.4", "tvm": "0.22.0", "mlc": None, "vllm": None, "lmdeploy": None},
    "r36.4.3": {
        "mlc": "0.20.0", "tvm": "0.22.0", "lmdeploy": "0.16.0", "vllm": "0.21.0", "bitsandbytes": "0.49.2",
        "gptqmodel": "7.3.4", "auto_awq": "0.2.9", "exllama": "0.0.32", "llm-compressor": "0.13.0", "auto_gptq": None,
    },
    "r38.2.0": {"mlc": "0.20.0", "tvm": "0.27.0.post1", "vllm": "0.28.0", "lmdeploy": None},
    "r39.2.0": {"mlc": "0.20.0", "tvm": "0.27.0.post1", "vllm": "0.28.0", "exllama": "0.0.32"},
    "sbsa": {"vllm": "0.28.0", "lmdeploy": None, "gptqmodel": "7.3.4"},
    "x86_64-cu129": {"vllm": "0.19.1", "tvm": "0.22.0", "lmdeploy": "0.16.0", "auto_gptq": None},
    "x86_64,cpu": {"tvm": "0.27.0.post1", "bitsandbytes": "0.50.2", "gptqmodel": "7.3.4", "mlc": None, "vllm": None},
}  # fmt: skip


@cache
def load(target: str) -> Catalog:
    return catalog.load([TREE], platforms.parse_target(target))


@pytest.mark.parametrize("target", sorted(VERSIONS))
def test_a_family_has_the_version_that_works_on_the_platform(target: str) -> None:
    found = {family: next(iter(load(target).members(family)), None) for family in VERSIONS[target]}
    assert {family: package.version if package else None for family, package in found.items()} == VERSIONS[target]


@pytest.mark.parametrize(
    ("family", "target", "reasons"),
    [
        ("vllm", "xavier-nx-8gb", ["!=sm72", ">=py310", ">=cu126"]),
        ("gptqmodel", "xavier-nx-8gb", ["!=sm72", ">=py310"]),
        ("auto_gptq", "r36.4.3", ["==r35.*", "py38"]),
        ("lmdeploy", "r38.2.0", ["<cu130", "!=sbsa"]),
        ("mlc", "r36.2.0", [">=cu126"]),
    ],
)
def test_an_absent_family_says_why(family: str, target: str, reasons: list[str]) -> None:
    absent = [item for item in load(target).absent.values() if item.package.family == family]
    said = " ".join(item.reason for item in absent)
    assert absent
    assert [rule for rule in reasons if f"`{rule}`" not in said] == []


@pytest.mark.parametrize("target", ["r35.4.1", "r36.4.3", "r38.2.0", "r39.2.0", "x86_64", "x86_64-cu129", "sbsa"])
def test_mlc_stands_on_the_tvm_that_it_was_written_for(target: str) -> None:
    solved = resolver.solve(load(target), ["mlc"])
    versions = {package.family: package.version for package in solved.packages}
    assert (versions["mlc"], versions["tvm"]) in {("0.1.0", "0.15.0"), ("0.20.0", "0.22.0")}


@pytest.mark.parametrize(
    ("target", "archs"), [("r36.4.3", "8.7"), ("r39.2.0", "8.7;11.0"), ("x86_64-cu129", "8.0;9.0;10.0;12.0")]
)
def test_pytorch_extensions_get_the_platform_s_architectures(target: str, archs: str) -> None:
    for family in ("vllm", "exllama"):
        assert load(target).find(family).build_args["TORCH_CUDA_ARCH_LIST"] == archs


@pytest.mark.parametrize("target", ["r35.4.1", "r36.4.3"])
def test_ollama_takes_the_library_made_for_the_jetpack(target: str) -> None:
    args = load(target).find("ollama").build_args
    jetpack = "5" if target.startswith("r35") else "6"
    assert args["OLLAMA_ARCHIVES"] == f"ollama-linux-arm64 ollama-linux-arm64-jetpack{jetpack}"
    assert args["OLLAMA_LLM_LIBRARY"] == f"cuda_jetpack{jetpack}"


def test_recipes_fetch_from_git_by_the_same_script() -> None:
    scripts = sorted(TREE.glob("llm/*/fetch.sh"))
    assert len(scripts) > 1
    assert len({script.read_bytes() for script in scripts}) == 1


@pytest.fixture
def origin(tmp_path: Path) -> tuple[Path, str]:
    """A git repository with one commit and the tag v1; its path and the commit."""
    path = tmp_path / "origin"
    git = ["git", "-C", str(path), "-c", "user.name=a", "-c", "user.email=a@b"]
    path.mkdir()
    commands = [
        ["init", "-q"],
        ["commit", "-q", "--allow-empty", "-m", "one"],
        ["tag", "v1"],
        ["config", "uploadpack.allowFilter", "true"],
        ["config", "uploadpack.allowAnySHA1InWant", "true"],
    ]
    for command in commands:
        subprocess.run([*git, *command], check=True)
    return path, subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()


def fetch(url: str, ref: str, directory: Path) -> subprocess.CompletedProcess[str]:
    script = f'set -euo pipefail; . "{TREE}/llm/tvm/fetch.sh"; fetch_git "$1" "$2" "$3"'
    return subprocess.run(
        ["bash", "-c", script, "-", url, ref, str(directory)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("form", ["full", "short", "tag"])
def test_a_source_is_fetched_by_commit_abbreviation_or_tag(origin: tuple[Path, str], tmp_path: Path, form: str) -> None:
    path, commit = origin
    done = fetch(f"file://{path}", {"full": commit, "short": commit[:7], "tag": "v1"}[form], tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    assert commit in done.stdout


@pytest.mark.parametrize("ref", ["0123456789abcdef0123456789abcdef01234567", "0123456", "v2"])
def test_a_source_that_is_not_there_fails(origin: tuple[Path, str], tmp_path: Path, ref: str) -> None:
    assert fetch(f"file://{origin[0]}", ref, tmp_path / "copy").returncode != 0


NEW = """
class Piece:
    def __init__(self, text): self.delta = type("Delta", (), {"content": text})
class MLCEngine:
    def __init__(self, model, model_lib, mode):
        print("engine", model_lib, mode); self.chat = self; self.completions = self
    def create(self, messages, max_tokens, stream, stream_options):
        for word in (messages[-1]["content"], "!"):
            yield type("Part", (), {"choices": [Piece(word)], "usage": None})
        yield type("Part", (), {"choices": [], "usage": "usage"})
    def terminate(self): pass
"""
OLD = """
class ChatConfig: pass
class GenerationConfig:
    def __init__(self, max_gen_len): self.max_gen_len = max_gen_len
class ChatModule:
    def __init__(self, model, model_lib_path, chat_config): print("module", model_lib_path)
    def generate(self, prompt, generation_config, progress_callback): print(prompt + "!")
    def stats(self): return "stats"
"""


def chat(tmp_path: Path, modules: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    for name, text in modules.items():
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).write_text(text)
    command = [sys.executable, str(CHAT), *arguments]
    env = {"PYTHONPATH": str(tmp_path / "lib")}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def model(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).touch()
    return tmp_path / "model"


def test_chat_uses_the_new_interface_where_the_image_has_it(tmp_path: Path) -> None:
    directory = model(tmp_path, "mlc-chat-config.json", "tensor-cache.json", "model-cuda.so")
    done = chat(tmp_path, {"mlc_llm.py": NEW}, str(directory), "-p", "hello")
    assert (done.returncode, done.stderr) == (0, "[usage]\n")
    assert done.stdout == f"engine {directory}/model-cuda.so interactive\nhello!\n"


def test_chat_uses_the_old_interface_where_the_image_has_that(tmp_path: Path) -> None:
    directory = model(tmp_path, "params/mlc-chat-config.json", "params/ndarray-cache.json", "m-cuda.so")
    modules = {
        "mlc_chat/__init__.py": OLD,
        "mlc_chat/callback.py": "def StreamToStdout(callback_interval): pass",
        "mlc_llm.py": "",
    }
    done = chat(tmp_path, modules, str(directory), "-p", "hello")
    assert (done.returncode, done.stderr) == (0, "[stats]\n")
    assert done.stdout == f"module {directory}/m-cuda.so\nhello!\n"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["x"], "no mlc-chat-config.json"),
        (["mlc-chat-config.json"], "no weights"),
        (["mlc-chat-config.json", "tensor-cache.json", "a.so", "b.so"], "several libraries"),
    ],
)
def test_chat_says_what_is_wrong_with_a_directory(tmp_path: Path, names: list[str], words: str) -> None:
    done = chat(tmp_path, {"mlc_llm.py": NEW}, str(model(tmp_path, *names)), "-p", "hello")
    assert done.returncode == 1
    assert words in done.stderr
    assert "hint:" in done.stderr
