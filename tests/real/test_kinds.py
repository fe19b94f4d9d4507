"""Tiny models of other kinds, made on the spot: converted, quantized and asked; files and caches as predicted.

A mixture of experts (Mixtral), a sliding window beside full attention (Gemma 2), and Mamba beside attention (Jamba).
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.llm.fit import constants, memory
from jetson_containers.llm.fit.weights import weights
from jetson_containers.llm.models import gguf
from jetson_containers.llm.models.config import from_hf
from tests.real.test_llm import image, run

if TYPE_CHECKING:
    from jetson_containers.llm.models.config import ModelConfig

__all__ = ["image"]

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1500)]

CONTEXT = 1024
KINDS = ("moe", "window", "hybrid")
# Runs in the converter's environment of the image, beside the script that makes the tiny Llama.
MAKE = """
import sys
from pathlib import Path

import torch
import make_tiny_model as tiny
from transformers import Gemma2Config, Gemma2ForCausalLM, JambaConfig, JambaForCausalLM
from transformers import MixtralConfig, MixtralForCausalLM

shared = dict(
    hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2, bos_token_id=1,
    eos_token_id=2, pad_token_id=None, max_position_embeddings=2048,
)
experts = dict(num_local_experts=4, num_experts_per_tok=2, num_hidden_layers=2, tie_word_embeddings=False)
mamba = dict(
    num_hidden_layers=4, attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1,
    num_experts=2, num_experts_per_tok=1, mamba_d_state=16, mamba_d_conv=4, mamba_expand=2, mamba_dt_rank=16,
    use_mamba_kernels=False, tie_word_embeddings=False,
)
kind, directory = sys.argv[1], Path(sys.argv[2])
torch.manual_seed(0)
torch.set_num_threads(1)
directory.mkdir(parents=True)
size = tiny.train_tokenizer(directory).get_piece_size()
made = {
    "moe": lambda: MixtralForCausalLM(MixtralConfig(vocab_size=size, **experts, **shared)),
    "window": lambda: Gemma2ForCausalLM(
        Gemma2Config(vocab_size=size, num_hidden_layers=4, head_dim=64, sliding_window=64, **shared)
    ),
    "hybrid": lambda: JambaForCausalLM(JambaConfig(vocab_size=size, **mamba, **shared)),
}[kind]()
made.half().save_pretrained(directory)
for path in directory.iterdir():
    path.chmod(0o644)
"""


@pytest.fixture(scope="module")
def data(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one tiny model of each kind."""
    data = tmp_path_factory.mktemp("kinds") / "data"
    (data / "models").mkdir(parents=True)
    (data / "make.py").write_text(MAKE, encoding="utf-8")
    for kind in KINDS:
        inside(image, data, "/opt/llama.cpp/venv/bin/python", "/data/make.py", kind, f"/data/models/{kind}")
    return data


def inside(image: str, data: Path, *argv: str, seconds: int = 600) -> str:
    """Run a command in the image; what it printed."""
    done = subprocess.run(
        [
            "docker", "run", "--rm", "-e", "OMP_NUM_THREADS=1", "-e", "PYTHONPATH=/opt/llama.cpp",
            "-v", f"{data}:/data", image, *argv,
        ],
        capture_output=True, text=True, check=False, timeout=seconds,
    )  # fmt: skip
    assert done.returncode in {0, 124}, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def shape(data: Path, kind: str) -> ModelConfig:
    return from_hf(json.loads((data / "models" / kind / "config.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_converted_quantized_and_asked_with_files_and_cache_as_predicted(
    image: str, data: Path, kind: str
) -> None:
    """The files' tensors are as large as predicted within 4 %, the cache is what the server says, and it answers."""
    config = shape(data, kind)
    assert config.unread == ()
    made = Path(run("llm", "quantize", f"/data/models/{kind}", "--image", image, data=data).stdout.strip())
    file = gguf.read(made)
    # norms, convolutions and decays, which are not counted, are 3 % of a hybrid this small
    assert file.weights_bytes == pytest.approx(weights(config, "Q4_K_M").total, rel=0.04)
    said = inside(
        image, data, "timeout", "20", "llama-server", "-m", f"/data/{made.relative_to(data)}", "-c", str(CONTEXT),
        "-np", "1", "-fa", "on", "--no-warmup", "-v",
    )  # fmt: skip
    predicted = memory.kv_cache(config, constants.runtime("llama_cpp"), "f16", CONTEXT)
    assert cache(said) == pytest.approx(predicted / (1 << 20), rel=0.02)
    asked = run("llm", "chat", f"/data/models/{kind}", "--image", image, "--prompt", "Hello", "--json", data=data)
    assert json.loads(asked.stdout)["completion_tokens"] > 0


def cache(log: str) -> float:
    """MiB of keys, values and states that llama.cpp allocates last: a first context only measures."""
    rows = re.findall(r"llama_(kv_cache|memory_recurrent): size = +([\d.]+) MiB", log)
    assert rows, log[-3000:]
    return sum(float(size) for _, size in rows[-(len(rows) // 2) :]) if len(rows) > 1 else float(rows[0][1])
