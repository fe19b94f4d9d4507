"""Models, devices and jobs for the tests of MLC."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from jetson_containers.core.console import Console, Level
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.pipeline.steps import Pipeline
from jetson_containers.llm.pipeline.types import CommandStep, Origin
from jetson_containers.llm.runtimes.interface import Job, Runtime, Target
from jetson_containers.llm.runtimes.mlc.runtime import Mlc
from jetson_containers.platforms import detect
from tests.paths import UNIT_DIR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jetson_containers.llm.models.config import ModelConfig


RUNTIME: Runtime = Mlc()


MLC = Mlc()


# The decoders' shapes from their config.json.
CONFIGS: dict[str, dict[str, Any]] = {
    "Llama-2-7b-chat-hf": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096},
    "RedPajama-INCITE-Chat-3B-v1": {
        "architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "hidden_size": 2560,
        "intermediate_size": 10240, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 50432,
        "max_position_embeddings": 2048},
    "Mistral-7B-Instruct-v0.2": {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 4096,
        "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 32000,
        "max_position_embeddings": 32768, "sliding_window": None},
    "internlm2-chat-1_8b": {
        "architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2", "hidden_size": 2048,
        "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 8,
        "vocab_size": 92544,
        "max_position_embeddings": 32768},
    "Qwen2.5-1.5B-Instruct": {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960,
        "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936,
        "max_position_embeddings": 32768, "sliding_window": 32768, "use_sliding_window": False,
        "tie_word_embeddings": True},
}  # fmt: skip


ORGANIZATION = {
    "Llama-2-7b-chat-hf": "meta-llama", "RedPajama-INCITE-Chat-3B-v1": "togethercomputer",
    "Mistral-7B-Instruct-v0.2": "mistralai", "internlm2-chat-1_8b": "internlm", "Qwen2.5-1.5B-Instruct": "Qwen",
}  # fmt: skip


TARGETS = {
    "orin-jp5": ("orin-nx-16gb,r35.4.1", "0.1.0"),
    "xavier-jp5": ("xavier-nx-8gb,r35.4.1", "0.1.0"),
    "orin-jp6": ("orin-nx-16gb,r36.4.3", "0.20.0"),
    "thor-jp7": ("agx-thor,r38.4.0", "0.20.0"),
    "x86-cu129": ("x86_64,cu129", "0.20.0"),
}


@cache
def target(name: str) -> Target:
    text, version = TARGETS[name]
    return Target(platform=detect.parse_target(text), versions={"mlc": version})


@cache
def config(name: str) -> ModelConfig:
    return from_hf(CONFIGS[name])


def job(model: str = "Llama-2-7b-chat-hf", on: str = "orin-jp6", **options: Any) -> Job:
    source = f"/data/models/huggingface/models--{ORGANIZATION[model]}--{model}/snapshots/0123456"
    values: dict[str, Any] = {"config": config(model), "quantization": "", "target": target(on), **options}
    return Job(source=source, name=model, **values)


def family(name: str) -> ModelConfig:
    return from_hf({**CONFIGS["Llama-2-7b-chat-hf"], "architectures": [""], "model_type": name})


LLAMA = "Llama-2-7b-chat-hf"


class StandIn:
    """Runs steps with stand-ins for MLC's programs, which refuse what MLC refuses and leave what it leaves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ran: list[str] = []
        text = UNIT_DIR.joinpath("tutorial_tools.py").read_text(encoding="utf-8")
        (root / "bin").mkdir(parents=True)
        for name in ("mlc_llm", "python3"):
            (root / "bin" / name).write_text(f"#!{sys.executable} -IS\n{text}", encoding="utf-8")
            (root / "bin" / name).chmod(0o755)

    def run(self, step: CommandStep, argv: Sequence[str], *, show: bool) -> tuple[int, str]:
        self.ran.append(step.name)
        words = [word.replace("/data/", f"{self.root}/data/") for word in argv]
        words[0] = str(self.root / "bin" / words[0])
        env = {"STAND_IN": str(self.root), "PATH": os.environ["PATH"], **step.env}
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def prepared_by(root: Path) -> tuple[StandIn, Pipeline]:
    runner = StandIn(root)
    console = Console(level=Level.QUIET)
    snapshot = root / "data" / job().source.removeprefix("/data/")
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    return runner, Pipeline(
        data=root / "data",
        runner=runner,
        console=console,
        origin=Origin(path=job().source, identity="hub:meta-llama/Llama-2-7b-chat-hf"),
    )
