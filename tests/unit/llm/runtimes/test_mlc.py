"""MLC's commands: every word of them is one that MLC documents, and they are what the golden copies say.

`golden/mlc/<model>.txt` holds all commands of a model, by platform and then by what they compile for
(`UPDATE_GOLDEN=1 pytest …` writes them anew). A combination that is impossible has its reason there.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.core.console import Console, Level
from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.pipeline.steps import Pipeline
from jetson_containers.llm.pipeline.types import CommandStep, Origin, Step
from jetson_containers.llm.runtimes import support_table
from jetson_containers.llm.runtimes.interface import Job, Runtime, ServeOptions, Target
from jetson_containers.llm.runtimes.mlc import conv_templates, devices, mlc_llm, runtime
from jetson_containers.llm.runtimes.mlc.runtime import Api, Mlc
from jetson_containers.platforms import detect
from tests.paths import UNIT_DIR
from tests.unit import mlc_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jetson_containers.llm.models.config import ModelConfig

GOLDEN = UNIT_DIR / "golden" / "mlc"
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
PLACES = ("vulkan", "windows", "metal", "metal:x86-64", "iphone", "android", "webgpu")


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


def line(step: Step) -> str:
    words = " ".join(word if word.startswith("{output}") else shlex.quote(word) for word in step.argv)
    marks = ["merge"] if isinstance(step, CommandStep) and step.merge else []
    if step.result:
        marks.append(f"result {step.result}")
    options = [f"{key}={value}" for key, value in sorted(step.options.items()) if value]
    return f"  {step.name}: {words}\n    -> {step.output}  [{', '.join([*marks, *options])}]"


def block(asked: Job) -> list[str]:
    verdict = MLC.check(asked)
    if not verdict.ok:
        return [f"  impossible: {verdict.reason}", f"  instead: {verdict.instead}"]
    lines = [f"  notice: {text}" for text in MLC.notices(asked)]
    return [*lines, *(line(step) for step in MLC.steps(asked))]


def render(model: str) -> str:
    lines = [model]
    for name in TARGETS:
        for mode in ("q4f16_ft", "q4f16_1"):
            asked = job(model, name, quantization=mode, context=4096)
            lines += ["", f"{name} {mode}", *block(asked)]
            if MLC.check(asked).ok:
                lines.append("  serve: " + shlex.join(MLC.serve(asked, ServeOptions(port=9000)).argv))
    for place in PLACES:
        lines += [
            "",
            f"x86-cu129 q4f16_1 for {place}",
            *block(job(model, "x86-cu129", quantization="q4f16_1", device=place)),
        ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("model", CONFIGS)
def test_mlc_commands_are_those_of_the_golden_copy(model: str) -> None:
    """The commands of a model are those of its golden copy."""
    path = GOLDEN / f"{model}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(model), encoding="utf-8")
    assert render(model) == path.read_text(encoding="utf-8")


def every_job() -> list[Job]:
    jobs = []
    for model in CONFIGS:
        for on in TARGETS:
            for place in ("", *PLACES):
                jobs += [job(model, on, quantization=mode, device=place) for mode in ("", "q4f16_ft", "q4f16_1")]
    return jobs


def commands(asked: Job) -> list[tuple[str, ...]]:
    found = [step.argv for step in MLC.steps(asked)]
    if not asked.device:
        found += [MLC.serve(asked, ServeOptions(port=9000, api_key=key)).argv for key in (False, True)]
    return found


def test_mlc_commands_hold_only_documented_words() -> None:
    """Every word is one that MLC documents."""
    allowed = [asked for asked in every_job() if MLC.check(asked).ok]
    assert len(allowed) > 100
    wrong = {
        shlex.join(argv): found
        for asked in allowed
        for argv in commands(asked)
        if (found := mlc_options.problems(argv))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("python3 -m mlc_llm.build --model x --quantization q4f16_7", "--quantization q4f16_7"),
        ("python3 -m mlc_llm.build --conv-template llama-2", "no option --conv-template"),
        ("mlc_llm compile x --opt cutlass_attn=1 -o y", "--opt ['cutlass_attn', '1']"),
        ("mlc_llm compile x --overrides sliding_window=1 -o y", "--overrides sliding_window=1"),
        ("mlc_llm gen_config x y -o z", "2 positional arguments"),
        ("mlc_llm gen_config x --quantization --conv-template LM", "--quantization needs a value"),
        ("mlc_llm gen_config x --conv-template llama_default", "--conv-template llama_default"),
        ("mlc_llm serve x --mode fast", "--mode fast"),
    ],
)
def test_mlc_check_of_words_finds_wrong_ones(argv: str, said: str) -> None:
    """The check of words finds what is wrong."""
    assert said in mlc_options.problems(tuple(shlex.split(argv)))


PAIRS = st.sampled_from(
    [
        "context_window_size=2048",
        "sliding_window=512",
        "sliding_window_size=512",
        "prefill_chunk_size=256",
        "max_batch_size=2",
    ]
)
SWITCHES = st.sampled_from(
    ["cutlass_attn=1", "cutlass_norm=0", "cublas_gemm=0", "cudagraph=1", "flashinfer=0", "cutlass=1"]
)


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(sorted(CONFIGS)),
    on=st.sampled_from(sorted(TARGETS)),
    mode=st.sampled_from(["", *sorted(mlc_options.OLD_QUANTIZATIONS | mlc_options.NEW_QUANTIZATIONS), "q4f16_awq"]),
    place=st.sampled_from(["", *PLACES]),
    context=st.integers(0, 200000),
    chunk=st.integers(0, 9000),
    window=st.integers(0, 9000),
    batch=st.integers(1, 64),
    opt=st.one_of(st.sampled_from(["", "O0", "O1", "o2", "O3"]), st.lists(SWITCHES, min_size=1).map(";".join)),
    overrides=st.lists(PAIRS).map(";".join),
)
def test_mlc_commands_of_any_request_hold_only_documented_words(  # noqa: PLR0917 - what hypothesis chooses
    model: str,
    on: str,
    mode: str,
    place: str,
    context: int,
    chunk: int,
    window: int,
    batch: int,
    opt: str,
    overrides: str,
) -> None:
    """Whatever is asked, MLC gets what it knows."""
    asked = job(
        model, on, quantization=mode, device=place, context=context, prefill_chunk=chunk, sliding_window=window,
        max_batch=batch, opt=opt, overrides=overrides,
    )  # fmt: skip
    verdict = MLC.check(asked)
    if not verdict.ok:
        assert verdict.reason
        assert verdict.instead
        return
    for argv in commands(asked):
        assert mlc_options.problems(argv) == []
    planned = mlc_llm.shape(asked)
    assert 0 < planned.chunk <= planned.limit
    MLC.notices(asked)


MODES = [("orin-jp5", "q4f16_ft"), ("xavier-jp5", "q4f16_1"), ("orin-jp6", "q4f16_1"), ("x86-cu129", "q4f16_1")]


@pytest.mark.parametrize(("on", "default"), MODES)
def test_mlc_default_mode_runs_on_the_device(on: str, default: str) -> None:
    """The default mode runs on the device."""
    names = RUNTIME.quantizations(target(on))
    assert names[0] == default
    assert len(names) == len(set(names))
    old = on.endswith("jp5")
    assert set(names) == (mlc_options.OLD_QUANTIZATIONS if old else mlc_options.NEW_QUANTIZATIONS)
    assert RUNTIME.check(job(on=on)).ok


def quantized(method: str, bits: int = 4, group: int = 128, model: str = "Qwen2.5-1.5B-Instruct") -> ModelConfig:
    made = {"quant_method": method, "bits": bits, "group_size": group}
    return from_hf({**CONFIGS[model], "quantization_config": made})


def family(name: str) -> ModelConfig:
    return from_hf({**CONFIGS["Llama-2-7b-chat-hf"], "architectures": [""], "model_type": name})


def experts(name: str) -> ModelConfig:
    return from_hf({**CONFIGS[LLAMA], "model_type": name, "num_local_experts": 8, "num_experts_per_tok": 2})


LLAMA = "Llama-2-7b-chat-hf"
LLAMA_CPP = "--runtime llama_cpp --quantization Q4_K_M"
IMPOSSIBLE = [
    ("xavier-jp5", {"quantization": "q4f16_ft"}, "compute capability 8.0", "--quantization q4f16_1"),
    ("orin-jp6", {"quantization": "e4m3_e4m3_f16"}, "compute capability 8.9", "--quantization q0f16"),
    ("orin-jp6", {"quantization": "q8f16_1"}, "no quantization `q8f16_1`", "--quantization q4f16_1"),
    ("orin-jp6", {"quantization": "nonsense"}, "no quantization `nonsense`", "--quantization q4f16_1"),
    ("orin-jp5", {"quantization": "q4f16_autoawq"}, "no quantization", "--quantization q4f16_ft"),
    ("orin-jp6", {"quantization": "q4f16_awq"}, "takes over an AWQ checkpoint", "--quantization q4f16_1"),
    ("orin-jp6", {"quantization": "q4f16_autoawq", "config": quantized("awq", group=64, model=LLAMA)}, "groups of 128",
     "in groups of 64"),
    ("orin-jp6", {"config": quantized("awq", model=LLAMA)}, "quantized already (awq)", "--quantization q4f16_autoawq"),
    ("orin-jp6", {"config": quantized("awq")}, "quantized already (awq)", "--runtime lmdeploy, or the unquantized"),
    ("orin-jp6", {"config": quantized("awq"), "quantization": "q4f16_autoawq"},
     "`qwen2` to `q4f16_autoawq`, only eagle, llama, llava, olmo", "--runtime lmdeploy, or the unquantized"),
    ("orin-jp6", {"config": family("gemma2"), "quantization": "q4f16_ft"}, "`gemma2` to `q4f16_ft`; it can to q4f16_1",
     "--quantization q4f16_1"),
    ("orin-jp6", {"config": family("medusa")}, "`medusa` to `q4f16_1`; it can to q0f16", "--quantization q0f16"),
    ("thor-jp7", {"config": family("qwen2"), "quantization": "e4m3_e4m3_f16"}, "`qwen2` to `e4m3_e4m3_f16`",
     "--quantization q4f16_1"),
    ("thor-jp7", {"config": family("llama"), "quantization": "fp8_e4m3fn_bf16_block_scale"}, "`llama` to `fp8_e4m3fn",
     "--quantization e4m3_e4m3_f16"),
    ("orin-jp6", {"config": experts("mixtral"), "quantization": "q4f16_0"}, "`mixtral` to `q4f16_0`",
     "--quantization q4f16_1"),
    ("orin-jp6", {"config": family("gemma"), "quantization": "q8f16_ft"}, "no quantization `q8f16_ft`",
     "--quantization q4f16_1"),
    ("orin-jp5", {"config": quantized("gptq", model=LLAMA, group=32), "quantization": "autogptq_llama_q4f16_0"},
     "needs 4 bits in groups of 128, the checkpoint has 4 bits in groups of 32", "the unquantized model"),
    ("orin-jp5", {"config": quantized("gptq", model=LLAMA, group=-1), "quantization": "autogptq_llama_q4f16_0"},
     "one scale per row", "--quantization autogptq_llama_q4f16_1"),
    ("orin-jp5", {"config": quantized("gptq", model=LLAMA, bits=8), "quantization": "autogptq_llama_q4f16_0"},
     "the checkpoint has 8 bits in groups of 128", "the unquantized model"),
    ("orin-jp5", {"config": quantized("gptq", model="Mistral-7B-Instruct-v0.2"), "quantization":
     "autogptq_llama_q4f16_0"}, "`mistral` to `autogptq_llama_q4f16_0`, only llama", "the unquantized model"),
    ("orin-jp6", {"config": quantized("awq", model=LLAMA), "quantization": "q4f16_autoawq",
                  "files": ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")},
     "one file of weights or an index", "--runtime lmdeploy, or the unquantized"),
    ("orin-jp6", {"config": quantized("gptq")}, "quantized already (gptq)", "the unquantized model"),
    ("orin-jp5", {"config": quantized("gptq", model="Llama-2-7b-chat-hf")}, "quantized already",
     "autogptq_llama_q4f16_0"),
    ("orin-jp5", {"config": family("qwen2")}, "`qwen2`; that of JetPack 6 does", LLAMA_CPP),
    ("orin-jp5", {"config": family("internlm")}, "`internlm`", "--runtime transformers"),
    ("orin-jp6", {"config": family("falcon")}, "architecture `falcon`", LLAMA_CPP),
    ("orin-jp6", {"device": "iphone", "quantization": "q4f16_ft"}, "CUDA only", "--quantization q4f16_1"),
    ("orin-jp6", {"device": "toaster"}, "the device `toaster`", "--device cuda|cpu|vulkan"),
    ("orin-jp5", {"device": "windows"}, "not compile for `windows`", "--device vulkan"),
    ("orin-jp6", {"opt": "O9"}, "level `O9`", "O0, O1, O2, O3"),
    ("orin-jp6", {"opt": "magic=1"}, "switch `magic`", "flashinfer"),
    ("orin-jp6", {"opt": "cudagraph=yes"}, "`cudagraph=yes`", "0 or 1"),
    ("orin-jp6", {"overrides": "magic=1"}, "unknown key `magic`", "context_window_size"),
    ("orin-jp6", {"overrides": "context_window_size"}, "has no value", "KEY=VALUE"),
    ("orin-jp6", {"overrides": "context_window_size=many"}, "not a number", "context_window_size=1024"),
    ("orin-jp6", {"device": "android", "system_lib_prefix": "a-b"}, "letters, digits", "--system-lib-prefix a_b"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("on", "options", "reason", "instead"), IMPOSSIBLE, ids=[f"{row[0]} {row[2]}" for row in IMPOSSIBLE]
)
def test_mlc_refusal_has_a_reason_and_the_nearest_possible(
    on: str, options: dict[str, Any], reason: str, instead: str
) -> None:
    """What is impossible has a reason and the nearest that is possible."""
    verdict = RUNTIME.check(job(on=on, **options))
    assert not verdict.ok
    assert reason in verdict.reason
    assert instead in verdict.instead or instead in verdict.reason


def test_mlc_suggestion_is_possible() -> None:
    """What is suggested instead is possible."""
    for on, options, _reason, instead in IMPOSSIBLE:
        if instead.startswith("--quantization") and "config" not in options:
            kept = {key: value for key, value in options.items() if key != "quantization"}
            assert RUNTIME.check(job(on=on, quantization=instead.split()[1], **kept)).ok, (on, options)
    assert RUNTIME.check(job(config=quantized("awq", model=LLAMA), quantization="q4f16_autoawq")).ok
    whole = quantized("gptq", model=LLAMA, group=-1)
    assert RUNTIME.check(job(on="orin-jp5", config=whole, quantization="autogptq_llama_q4f16_1")).ok
    groups = quantized("gptq", model=LLAMA)
    assert RUNTIME.check(job(on="orin-jp5", config=groups, quantization="autogptq_llama_q4f16_0")).ok
    assert RUNTIME.check(job(config=experts("mixtral"), quantization="q4f16_1")).ok
    assert RUNTIME.check(job(config=family("minicpm"), quantization="q4f16_0")).ok  # without experts


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (("config.json", "model-00001-of-00002.safetensors", INDEX, "model-00002-of-00002.safetensors"), INDEX),
        (("config.json", "model.safetensors"), "model.safetensors"),
        (("awq_model_w4_g128.safetensors",), "awq_model_w4_g128.safetensors"),
        (("pytorch_model.bin",), "pytorch_model.bin"),
        (("pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"), "pytorch_model.bin.index.json"),
        ((), "model.safetensors"),
    ],
)
def test_mlc_reads_an_awq_checkpoint_from_a_file(files: tuple[str, ...], name: str) -> None:
    """An AWQ checkpoint is read from a file."""
    asked = job(config=quantized("awq", model=LLAMA), quantization="q4f16_awq", files=files)
    assert RUNTIME.check(asked).ok
    convert = RUNTIME.steps(asked)[0]
    source = f"--source {asked.source}/{name} --source-format awq"
    assert shlex.join(convert.argv).endswith(f"--quantization q4f16_autoawq --device cuda {source} -o '{{output}}'")
    assert mlc_options.problems(convert.argv) == []
    notices = MLC.notices(asked)
    assert "`q4f16_awq` is called `q4f16_autoawq`" in notices[0]
    assert any("a single file is assumed" in text for text in notices) is (files == ())


def test_mlc_sends_gguf_and_old_boards_to_other_runtimes() -> None:
    """GGUF files, old boards and old Pythons are sent to other runtimes."""
    gguf = Job(source="/data/models/x.gguf", name="x", config=None, quantization="", target=target("orin-jp6"))
    assert RUNTIME.check(gguf).instead == "--runtime llama_cpp"
    for text, reason in (
        ("r32.7.4", "L4T 35 or later"),
        ("x86_64,cpu,py3.9", "Python 3.10"),
        ("x86_64,cu124", "CUDA 12.6"),
    ):
        platform = detect.parse_target(text)
        with pytest.raises(UsageError, match=reason):
            RUNTIME.packages(platform)
        assert reason in RUNTIME.check(job(target=Target(platform=platform))).reason
    assert RUNTIME.packages(detect.parse_target("r35.4.1")) == ("mlc",)


CPUS = ["x86_64,cpu", "arm64,cpu", "r36.4.3,cpu"]


def cpu_target(text: str) -> Target:
    return Target(platform=detect.parse_target(text), device="cpu", versions={"mlc": "0.26.dev4"})


@pytest.mark.parametrize("mode", ["q4f16_1", "q4f32_1"])
@pytest.mark.parametrize("text", CPUS)
def test_mlc_converts_compiles_and_serves_for_a_cpu_where_there_is_no_gpu(text: str, mode: str) -> None:
    """Without a GPU every step names the CPU, and so does the library."""
    asked = job(target=cpu_target(text), quantization=mode)
    assert RUNTIME.check(asked).ok
    convert, _, build = RUNTIME.steps(asked)
    for argv in (convert.argv, build.argv, RUNTIME.serve(asked, ServeOptions(port=8080)).argv):
        assert argv[argv.index("--device") + 1] == "cpu"
        assert mlc_options.problems(argv) == []
    assert RUNTIME.library(asked).endswith(f"{mode}-cpu.so")
    assert build.options["sm"] == ""
    assert build.options["host"] == asked.target.platform.machine


@pytest.mark.parametrize("text", CPUS)
def test_mlc_has_an_image_for_a_cpu(text: str) -> None:
    """The table of the runtimes has a row for a CPU, and its packages are those of the runtime."""
    row = support_table.row_for("mlc", cpu_target(text))
    assert row is not None
    assert row.kind == "cpu"
    assert row.packages == RUNTIME.packages(cpu_target(text).platform)
    names = RUNTIME.quantizations(cpu_target(text))
    assert {each.name for each in row.quantizations} <= {*names}
    assert names[0] == row.quantizations[0].name


@pytest.mark.parametrize("mode", ["q4f16_ft", "q4bf16_1", "e4m3_e4m3_f16"])
def test_mlc_refuses_kernels_of_cuda_for_a_cpu(mode: str) -> None:
    """What only CUDA computes is refused, with what a CPU can."""
    verdict = RUNTIME.check(job(target=cpu_target("x86_64,cpu"), quantization=mode))
    assert "not for cpu" in verdict.reason
    assert verdict.instead == "--quantization q4f16_1"


def test_mlc_serves_for_a_cpu_on_a_board_only_when_asked_to() -> None:
    """`--device cpu` is one more target on a board; the GPU stays what it compiles for, and still converts."""
    board = target("orin-jp6")
    chosen = job(target=board, device="cpu")
    assert RUNTIME.check(chosen).ok
    convert, _, build = RUNTIME.steps(chosen)
    assert "--device cuda" in shlex.join(convert.argv)
    assert "--device cpu" in shlex.join(build.argv)
    assert "--device cpu" in shlex.join(RUNTIME.serve(chosen, ServeOptions(port=8080)).argv)
    assert RUNTIME.library(chosen) != RUNTIME.library(job(target=board))
    assert "--device cuda" in shlex.join(RUNTIME.steps(job(target=board))[2].argv)


def test_mlc_of_jetpack_5_compiles_for_no_cpu() -> None:
    """The old interface has no target for a CPU; llama.cpp runs there."""
    verdict = RUNTIME.check(job(target=target("orin-jp5"), device="cpu"))
    assert "0.1.0 does not compile for `cpu`" in verdict.reason
    assert "llama_cpp" in verdict.instead


VERSIONS = [
    ("0.1.0", Api.OLD), ("51fb0f4", Api.OLD), ("51fb0f4-builder", Api.OLD), ("0.1.0-builder", Api.OLD),
    ("0.26.dev4", Api.NEW), ("79d603f", Api.NEW),
    ("0.1.1", Api.NEW), ("0.1.4", Api.NEW), ("0.20.0", Api.NEW), ("d1ea69a", Api.NEW), ("607dc5a", Api.OLD),
    ("3feed05", Api.OLD), ("3feed05-builder", Api.OLD), ("c30348a", Api.OLD), ("5584cac", Api.OLD),
    ("51fb0f491cddae8c4f2ec661389355df89f77af1", Api.OLD), ("3403a4e", Api.NEW),
]  # fmt: skip


@pytest.mark.parametrize(("version", "api"), VERSIONS)
def test_mlc_interface_is_that_of_the_image(version: str, api: Api) -> None:
    """The image decides the interface."""
    assert runtime.api_of(Target(platform=target("orin-jp6").platform, versions={"mlc": version})) is api


def test_mlc_interface_without_a_version_is_probed_then_that_of_the_platform() -> None:
    """Without a version the image is asked, and then the platform."""
    jp5, jp6 = target("orin-jp5").platform, target("orin-jp6").platform
    old, new = " ".join(runtime.OLD_HELP), " ".join(runtime.NEW_HELP)
    assert runtime.api_of(Target(platform=jp6, probed={old: "usage: build.py [--artifact-path P]"})) is Api.OLD
    assert (
        runtime.api_of(Target(platform=jp5, probed={new: "{compile,convert_weight,gen_config}", old: "No module"}))
        is Api.NEW
    )
    assert (runtime.api_of(Target(platform=jp5)), runtime.api_of(Target(platform=jp6))) == (Api.OLD, Api.NEW)
    # a commit that is not known tells nothing, so the image's programs do
    unknown = {"mlc": "abcdef0"}
    assert runtime.api_of(Target(platform=jp6, versions=unknown, probed={old: "[--artifact-path P]"})) is Api.OLD
    assert runtime.api_of(Target(platform=jp5, versions=unknown)) is Api.OLD
    assert {shlex.join(probe) for probe in RUNTIME.probes} >= {old, new}


FIRST_SERVE = "usage: MLC LLM Serve CLI [--mode M] [--model-lib-path P] [--max-batch-size N] [--max-total-seq-length N]"
TODAYS_SERVE = "usage: MLC LLM Serve CLI [--mode M] [--model-lib LIB] [--overrides O] [--api-key K]"


@pytest.mark.parametrize(
    ("version", "printed", "spelling"),
    [
        ("0.20.0", "", "today"),
        ("", "", "today"),
        ("0.1.1", "", "first"),
        ("0.1.1", TODAYS_SERVE, "today"),
        ("0.20.0", FIRST_SERVE, "first"),
    ],
)
def test_mlc_server_gets_its_limits_in_the_spelling_of_the_image(version: str, printed: str, spelling: str) -> None:
    """The server gets its limits in the image's spelling."""
    probed = {"mlc_llm serve --help": printed} if printed else {}
    where = Target(platform=target("orin-jp6").platform, versions={"mlc": version} if version else {}, probed=probed)
    argv = RUNTIME.serve(job(target=where, context=2048, max_batch=2), ServeOptions(port=9000)).argv
    assert mlc_options.problems(argv) == []
    text = shlex.join(argv)
    if spelling == "first":
        assert (
            "--max-batch-size 2 --max-total-seq-length 4096 --prefill-chunk-size 1024 --gpu-memory-utilization 0.85"
            in text
        )
        assert "--model-lib-path" in text
    else:
        limits = "max_num_sequence=2;max_total_seq_length=4096;context_window_size=2048;prefill_chunk_size=1024"
        assert f"--overrides '{limits};gpu_memory_utilization=0.85'" in text


@pytest.mark.parametrize(("batch", "mode"), [(1, "interactive"), (4, "local"), (16, "server")])
def test_mlc_server_mode_follows_the_batch(batch: int, mode: str) -> None:
    """The server's mode follows the batch."""
    assert f"--mode {mode}" in shlex.join(RUNTIME.serve(job(max_batch=batch), ServeOptions(port=9000)).argv)


@pytest.mark.parametrize("on", ["orin-jp5", "orin-jp6"])
def test_mlc_serves_only_what_runs_here(on: str) -> None:
    """Only what runs here is served."""
    for place in ("windows", "metal", "iphone", "android", "webgpu"):
        with pytest.raises(UsageError, match="does not run on this machine"):
            RUNTIME.serve(job(on=on, device=place), ServeOptions(port=9000))
    assert "--device vulkan --model-lib" in shlex.join(
        RUNTIME.serve(job(device="vulkan"), ServeOptions(port=9000)).argv
    )


def test_mlc_server_key_is_never_in_the_argv() -> None:
    """A key is never in the argv."""
    plain = RUNTIME.serve(job(), ServeOptions(port=9000))
    assert plain.argv[:2] == ("mlc_llm", "serve")
    assert plain.health == "/v1/models"  # it listens only when the model is loaded
    guarded = RUNTIME.serve(job(), ServeOptions(port=9000, api_key=True))
    assert guarded.argv[1].endswith("/drivers/mlc_serve.py")
    assert guarded.argv[2:] == plain.argv[2:]
    assert guarded.health == "/health"
    assert "--api-key" not in guarded.argv
    assert plain.model == guarded.model == RUNTIME.artifact(job())


def test_mlc_old_interface_is_served_by_our_script() -> None:
    """The old interface is served by our own script."""
    service = RUNTIME.serve(job(on="orin-jp5"), ServeOptions(port=9000, host="0.0.0.0"))
    root = "/data/models/mlc/dist/Llama-2-7b-chat-hf-q4f16_ft"
    assert service.argv[1:5] == (
        "/run/jetson-containers/drivers/mlc_old_server.py", root, "--model-lib",
        f"{root}/Llama-2-7b-chat-hf-q4f16_ft-cuda.so",
    )  # fmt: skip
    assert (service.model, service.health) == ("Llama-2-7b-chat-hf", "/health")


def test_mlc_outputs_have_the_layout_of_upstream() -> None:
    """Outputs have upstream's layout."""
    dist = "/data/models/mlc/dist"
    convert, configure, compiled = RUNTIME.steps(job())
    assert convert.output == configure.output == RUNTIME.artifact(job()) == f"{dist}/Llama-2-7b-chat-hf-q4f16_1-MLC"
    assert convert.merge
    assert configure.merge
    assert compiled.output == MLC.library(job()) == f"{dist}/libs/Llama-2-7b-chat-hf-q4f16_1-cuda.so"
    assert compiled.argv[-1] == "{output}/" + compiled.result  # the suffix says what to make
    assert dict(compiled.options) == {"sm": "87", "mlc": "0.20.0", "device": "cuda", "host": "aarch64"}
    link, build = RUNTIME.steps(job(on="orin-jp5"))
    assert link.argv == ("ln", "-sfn", job().source, f"{dist}/models/Llama-2-7b-chat-hf")
    assert build.output == f"{dist}/{build.result}" == RUNTIME.artifact(job(on="orin-jp5"))
    assert build.argv[build.argv.index("--model") + 1] == link.output
    assert MLC.library(job(on="orin-jp5")) == f"{build.output}/Llama-2-7b-chat-hf-q4f16_ft-cuda.so"


def test_mlc_reads_safetensors_where_the_checkpoint_has_them() -> None:
    """Safetensors are read where the checkpoint has them."""
    assert "--use-safetensors" not in RUNTIME.steps(job(on="orin-jp5"))[1].argv
    files = ("config.json", "model-00001-of-00002.safetensors", "pytorch_model-00001-of-00002.bin")
    assert "--use-safetensors" in RUNTIME.steps(job(on="orin-jp5", files=files))[1].argv


OLD_SWITCHES = [
    ("orin-jp5", "", "--use-cuda-graph --use-flash-attn-mqa"),
    ("orin-jp5", "O0", "--no-cutlass-attn --no-cutlass-norm --no-cublas"),
    ("orin-jp5", "O1", "--use-flash-attn-mqa"),
    ("orin-jp5", "cudagraph=1;cublas_gemm=1", "--use-cuda-graph --no-cutlass-attn --no-cutlass-norm"),
    ("orin-jp5", "cutlass_attn=1;cutlass_norm=1;cublas_gemm=0;cudagraph=0", "--use-flash-attn-mqa --no-cublas"),
    ("xavier-jp5", "", "--use-cuda-graph --no-cutlass-attn --no-cutlass-norm"),
    ("xavier-jp5", "O3", "--use-cuda-graph --no-cutlass-attn --no-cutlass-norm"),
]


@pytest.mark.parametrize(("on", "opt", "switches"), OLD_SWITCHES)
def test_mlc_opt_levels_become_switches_of_the_old_interface(on: str, opt: str, switches: str) -> None:
    """Levels become switches of the old interface."""
    argv = RUNTIME.steps(job(on=on, opt=opt))[1].argv
    assert " ".join(argv[argv.index("--use-cache") + 2 :]) == switches


OPTS = [
    ("", "O2", 0),
    ("O3", "O3", 0),
    ("o1", "O1", 0),
    ("flashinfer=0;cudagraph=1", "flashinfer=0;cudagraph=1", 0),
    ("ipc_allreduce_strategy=AUTO", "ipc_allreduce_strategy=AUTO", 0),
    ('"cutlass_attn=1;cutlass_norm=0;cublas_gemm=0;cudagraph=0"', "cutlass=1;cublas_gemm=0;cudagraph=0", 3),
    ("cutlass_attn=0;cutlass_norm=0;", "cutlass=0", 2),
    ("cutlass_attn=0;cutlass_norm=1", "cutlass=1", 3),
]


@pytest.mark.parametrize(("text", "translated", "notices"), OPTS)
def test_mlc_old_spellings_of_opt_are_translated(text: str, translated: str, notices: int) -> None:
    """Old spellings of --opt are translated."""
    value, said = devices.translate_opt(text)
    assert value == translated
    assert len(said) == notices
    assert mlc_options.problems(("mlc_llm", "compile", "x", "--opt", value, "-o", "y")) == []


def test_mlc_old_keys_of_overrides_reach_all_steps_translated() -> None:
    """Old keys of --overrides are translated and reach all steps."""
    asked = job("Mistral-7B-Instruct-v0.2", overrides="sliding_window=512;prefill_chunk_size=128")
    assert MLC.notices(asked) == ("--overrides: `sliding_window` is called `sliding_window_size` now",)
    _, configure, compiled = RUNTIME.steps(asked)
    assert "--sliding-window-size 512 --prefill-chunk-size 128" in shlex.join(configure.argv)
    assert "--overrides 'sliding_window_size=512;prefill_chunk_size=128'" in shlex.join(compiled.argv)
    assert "sliding_window_size=512;prefill_chunk_size=128" in shlex.join(
        RUNTIME.serve(asked, ServeOptions(port=1)).argv
    )


def shape_of(model: str, **options: Any) -> tuple[int, int, int]:
    planned = mlc_llm.shape(job(model, **options))
    return (0 if planned.window else planned.context, planned.window, planned.chunk)


SHAPES = [
    ("Llama-2-7b-chat-hf", {}, (4096, 0, 1024)),
    ("Llama-2-7b-chat-hf", {"context": 512}, (512, 0, 512)),
    ("Llama-2-7b-chat-hf", {"context": 8192}, (4096, 0, 1024)),  # its training ends there
    ("Llama-2-7b-chat-hf", {"prefill_chunk": 256}, (4096, 0, 256)),
    ("Llama-2-7b-chat-hf", {"device": "webgpu"}, (2048, 0, 1024)),
    ("Llama-2-7b-chat-hf", {"device": "iphone"}, (768, 0, 768)),
    ("Llama-2-7b-chat-hf", {"device": "android"}, (768, 0, 768)),
    ("Llama-2-7b-chat-hf", {"device": "android", "context": 1024}, (1024, 0, 1024)),
    ("Llama-2-7b-chat-hf", {"overrides": "context_window_size=1024;prefill_chunk_size=128"}, (1024, 0, 128)),
    ("Qwen2.5-1.5B-Instruct", {"context": 8192}, (8192, 0, 1024)),
    ("Mistral-7B-Instruct-v0.2", {}, (4096, 0, 1024)),  # its config has no window
    ("Mistral-7B-Instruct-v0.2", {"device": "iphone"}, (0, 1024, 128)),
    ("Mistral-7B-Instruct-v0.2", {"device": "android"}, (0, 1024, 128)),
    ("Mistral-7B-Instruct-v0.2", {"device": "webgpu"}, (2048, 0, 1024)),
    ("Mistral-7B-Instruct-v0.2", {"sliding_window": 2048}, (0, 2048, 1024)),
]


@pytest.mark.parametrize(("model", "options", "expected"), SHAPES)
def test_mlc_memory_is_planned_as_documented(
    model: str, options: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    """Memory is planned as documented."""
    assert shape_of(model, **options) == expected


def test_mlc_model_with_a_window_uses_it() -> None:
    """A model with a window of its own uses it."""
    first = from_hf({**CONFIGS["Mistral-7B-Instruct-v0.2"], "sliding_window": 4096})
    assert shape_of("Mistral-7B-Instruct-v0.2", config=first) == (0, 4096, 1024)
    assert shape_of("Mistral-7B-Instruct-v0.2", config=first, context=2048) == (0, 2048, 1024)
    build = shlex.join(RUNTIME.steps(job("Mistral-7B-Instruct-v0.2", "orin-jp5", config=first))[1].argv)
    assert "--max-seq-len 4096 --sliding-window 4096 --prefill-chunk-size 1024" in build


def test_mlc_notes_a_context_beyond_the_model_or_the_documentation() -> None:
    """A context beyond the model or the documentation is noted."""
    assert "limited to that" in MLC.notices(job(context=8192))[0]
    assert "gives `iphone` a context of 768" in MLC.notices(job(device="iphone", context=2048))[0]


LIBRARIES = [
    ("cuda", "-cuda.so", "--device cuda"),
    ("vulkan", "-vulkan.so", "--device vulkan"),
    ("windows", "-vulkan.dll", "--device vulkan --host x86_64-pc-windows-msvc"),
    ("metal", "-metal.so", "--device metal --host arm64-apple-darwin"),
    ("metal:x86-64", "-metal_x86_64.dylib", "--device metal:x86-64 --host x86_64-apple-darwin"),
    ("iphone", "-iphone.tar", "--device iphone"),
    ("android", "-android.tar", "--device android"),
    ("webgpu", "-webgpu.wasm", "--device webgpu"),
    ("CUDA:0", "-cuda.so", "--device cuda"),
    ("ios", "-iphone.tar", "--device iphone"),
]


@pytest.mark.parametrize(("device", "suffix", "words"), LIBRARIES)
def test_mlc_devices_have_their_suffix_and_host(device: str, suffix: str, words: str) -> None:
    """Each device has its suffix and host."""
    step = RUNTIME.steps(job(device=device))[-1]
    assert step.output.endswith("q4f16_1" + suffix)
    assert f"{words} --opt O2" in shlex.join(step.argv)


def test_mlc_host_of_the_user_wins() -> None:
    """A host is the user's to choose."""
    step = RUNTIME.steps(job(device="vulkan", host="x86_64-pc-windows-msvc"))[-1]
    assert step.output.endswith("-vulkan.dll")
    other = RUNTIME.steps(job(device="android", host="aarch64-linux-android24", system_lib_prefix="llama_"))[-1]
    assert "--host aarch64-linux-android24 --opt O2 --system-lib-prefix llama_" in shlex.join(other.argv)
    assert other.options["host"] == "aarch64-linux-android24"
    shared = job(system_lib_prefix="llama_")
    assert "--system-lib-prefix" not in RUNTIME.steps(shared)[-1].argv
    assert "has no effect on `cuda`" in MLC.notices(shared)[0]


@pytest.mark.parametrize("place", sorted(devices.targets()))
def test_mlc_missing_toolchain_is_named_with_a_remedy(place: str) -> None:
    """What a device lacks is named with a remedy."""
    where = devices.targets()[place]
    for tool in devices.toolchains(where):
        for answer, ok in (("found\n", True), ("missing\n", False), ("sh: xcrun: not found", False)):
            probed = {" ".join(tool.probe): answer}
            verdict = RUNTIME.check(
                job(device=place, target=Target(platform=target("orin-jp6").platform, probed=probed))
            )
            assert verdict.ok is ok
            assert ok or (tool.missing in verdict.reason and tool.remedy == verdict.instead)
    assert bool(devices.toolchains(where)) == (place not in {"cuda", "cpu"})


def test_mlc_toolchain_probes_are_shell_that_answers(tmp_path: Path) -> None:
    """They run here; the answer depends on the machine, its form does not."""
    (tmp_path / "web" / "dist" / "wasm").mkdir(parents=True)
    (tmp_path / "web" / "dist" / "wasm" / "mlc_wasm_runtime.bc").touch()
    for name in ("emcc", "xcrun", "x86_64-w64-mingw32-clang"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    there = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MLC_LLM_SOURCE_DIR": str(tmp_path), "ANDROID_NDK": str(tmp_path)}
    for place in ("iphone", "android", "webgpu"):
        for tool in devices.toolchains(devices.targets()[place]):
            for env, answer in ((there, "found"), ({"PATH": "/usr/bin:/bin"}, "missing")):
                done = subprocess.run(tool.probe, env=env, capture_output=True, text=True, check=False)
                assert done.stdout == answer + "\n", (tool.name, done)


def test_mlc_compiles_converted_weights_within_our_limits() -> None:
    """Weights that are converted already are compiled within our limits."""
    source = "/data/models/huggingface/x/snapshots/1"
    made = Job(
        source=source,
        name="Llama-3.1-8B-q4f16_1-MLC",
        config=None,
        quantization="",
        target=target("orin-jp6"),
        prepared=True,
        context=2048,
    )
    assert RUNTIME.check(made).ok
    (step,) = RUNTIME.steps(made)
    assert RUNTIME.artifact(made) == source
    assert step.output == "/data/models/mlc/dist/libs/Llama-3.1-8B-q4f16_1-cuda.so"
    assert step.argv[2] == f"{source}/mlc-chat-config.json"
    limits = "context_window_size=2048;prefill_chunk_size=1024;max_batch_size=1"
    assert f"--overrides '{limits}'" in shlex.join(step.argv)
    assert mlc_options.problems(step.argv) == []
    assert RUNTIME.serve(made, ServeOptions(port=9000)).model == source


def test_mlc_serves_an_old_build_as_it_is() -> None:
    """An old build is served as it is."""
    source = "/data/models/mlc/dist/Llama-2-7b-chat-hf-q4f16_ft"
    made = Job(
        source=source,
        name="Llama-2-7b-chat-hf-q4f16_ft",
        config=None,
        quantization="",
        target=target("orin-jp5"),
        prepared=True,
    )
    assert RUNTIME.check(made).ok
    assert RUNTIME.steps(made) == ()
    assert MLC.library(made) == f"{source}/Llama-2-7b-chat-hf-q4f16_ft-cuda.so"
    phone = Job(
        source=source,
        name="Llama-2-7b-chat-hf-q4f16_ft",
        config=None,
        quantization="",
        target=target("orin-jp5"),
        prepared=True,
        device="android",
    )
    assert "quantized already" in RUNTIME.check(phone).reason


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


def test_mlc_pipeline_makes_the_layout_of_upstream_once(tmp_path: Path) -> None:
    """The pipeline makes upstream's layout once."""
    runner, pipeline = prepared_by(tmp_path)
    dist = tmp_path / "data/models/mlc/dist"
    pipeline.run(RUNTIME.steps(job()))
    assert runner.ran == ["convert", "config", "compile"]
    made = dist / "Llama-2-7b-chat-hf-q4f16_1-MLC"
    names = {path.name for path in made.iterdir()}
    assert {"params_shard_0.bin", "tensor-cache.json", "mlc-chat-config.json", "tokenizer.json"} <= names
    assert runtime.weights_complete(names)
    assert (dist / "libs/Llama-2-7b-chat-hf-q4f16_1-cuda.so").is_file()
    pipeline.run(RUNTIME.steps(job()))
    assert len(runner.ran) == 3  # nothing is made twice
    pipeline.run(RUNTIME.steps(job(context=2048)))
    assert runner.ran[3:] == ["config", "compile"]  # the weights stay
    pipeline.run(RUNTIME.steps(job(context=2048, device="webgpu")))
    assert runner.ran[5:] == ["compile"]
    assert (dist / "libs/Llama-2-7b-chat-hf-q4f16_1-webgpu.wasm").is_file()


def test_mlc_pipeline_builds_with_the_old_interface(tmp_path: Path) -> None:
    """The pipeline builds with the old interface."""
    runner, pipeline = prepared_by(tmp_path)
    pipeline.run(RUNTIME.steps(job(on="orin-jp5")))
    made = tmp_path / "data/models/mlc/dist/Llama-2-7b-chat-hf-q4f16_ft"
    assert (made / "params/ndarray-cache.json").is_file()
    assert (made / "Llama-2-7b-chat-hf-q4f16_ft-cuda.so").is_file()
    assert (made.parent / "models/Llama-2-7b-chat-hf/config.json").is_file()
    pipeline.run(RUNTIME.steps(job(on="orin-jp5")))
    assert runner.ran == ["build"]


@pytest.mark.parametrize(
    ("names", "complete"),
    [
        (["tensor-cache.json"], True),
        (["ndarray-cache.json", "params_shard_0.bin"], True),
        (["params_shard_0.bin"], False),
    ],
)
def test_mlc_weights_are_complete_with_their_index(names: list[str], *, complete: bool) -> None:
    """Weights are complete with their index."""
    assert runtime.weights_complete(names) is complete


TEMPLATES = [
    ("Llama-2-7b-chat-hf", "llama-2"), ("Llama-2-7b-hf", "LM"), ("Meta-Llama-3-8B-Instruct", "llama-3"),
    ("Llama-3.1-8B-Instruct", "llama-3_1"), ("Llama-3.2-1B-Instruct", "llama-3_1"),
    ("Llama-3.3-70B-Instruct", "llama-3_1"),
    ("Llama-4-Scout-17B-16E-Instruct", "llama-4"), ("Mistral-7B-Instruct-v0.2", "mistral_default"),
    ("Mixtral-8x7B-Instruct-v0.1", "mistral_default"), ("Ministral-3-3B-Reasoning-2512", "ministral3_reasoning"),
    ("RedPajama-INCITE-Chat-3B-v1", "redpajama_chat"), ("RedPajama-INCITE-Base-3B-v1", "LM"),
    ("Qwen2.5-1.5B-Instruct", "qwen2"), ("Qwen2-0.5B-Instruct", "qwen2"), ("Qwen1.5-0.5B-Chat", "qwen2"),
    ("Qwen3-0.6B", "qwen3"), ("Qwen3-0.6B-Base", "LM"), ("Qwen3.5-4B", "qwen3_5"), ("internlm2-chat-1_8b", "chatml"),
    ("internlm2_5-7b-chat", "chatml"), ("SmolLM2-360M-Instruct", "chatml"),
    ("TinyLlama-1.1B-Chat-v1.0", "tinyllama_v1_0"),
    ("TinyLlama-1.1B-intermediate-step-1431k-3T", "LM"), ("gemma-2b-it", "gemma_instruction"),
    ("gemma-2-2b-it", "gemma_instruction"), ("gemma-3-1b-it", "gemma3_instruction"), ("phi-2", "phi-2"),
    ("Phi-3.5-mini-instruct", "phi-3"), ("Phi-3.5-vision-instruct", "phi-3-vision"), ("phi-4", "phi-4"),
    ("CodeLlama-7b-Instruct-hf", "codellama_instruct"), ("CodeLlama-7b-hf", "codellama_completion"),
    ("OpenHermes-2.5-Mistral-7B", "open_hermes_mistral"), ("Hermes-2-Pro-Llama-3-8B", "hermes2_pro_llama3"),
    ("Hermes-3-Llama-3.1-8B", "hermes3_llama-3_1"), ("DeepSeek-R1-Distill-Qwen-1.5B", "deepseek_r1_qwen"),
    ("DeepSeek-R1-Distill-Llama-8B", "deepseek_r1_llama"), ("deepseek-llm-7b-chat", "deepseek"),
    ("DeepSeek-V2-Lite-Chat", "deepseek_v2"), ("stablelm-2-zephyr-1_6b", "stablelm-2"),
    ("stablelm-zephyr-3b", "stablelm-3b"),
    ("chatglm3-6b", "glm"), ("OLMo-2-1124-7B-Instruct", "olmo2"), ("gpt2", "gpt2"),
    ("Nemotron-Mini-4B-Instruct", "nemotron"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "template"), TEMPLATES)
def test_conv_template_of_a_model_is_that_of_its_family(name: str, template: str) -> None:
    """A model gets the template of its family."""
    choice = conv_templates.choose(name, None)
    assert choice.template == template
    assert bool(choice.notices) == (template == "LM")


def test_conv_templates_of_the_table_exist() -> None:
    """Every template of the table exists."""
    table = load_facts("conv_templates")
    used = {rule["template"] for rule in table["rules"]} | set(table["by_type"].values())
    used |= {*table["nearest"], *table["nearest"].values()}
    assert set(conv_templates.registered()) == mlc_options.TEMPLATES
    assert used <= mlc_options.TEMPLATES | set(conv_templates.registered("old"))
    assert set(table["nearest"].values()) <= mlc_options.TEMPLATES


def test_conv_template_of_an_unknown_name_is_that_of_its_family_with_a_note() -> None:
    """An unknown name takes its family's template and says so."""
    choice = conv_templates.choose("Mine-1B-Instruct", config("Qwen2.5-1.5B-Instruct"))
    assert choice.template == "qwen2"
    assert "that of its family (qwen2)" in choice.notices[0]
    assert "no conversation template is known" in conv_templates.choose("Mine-1B-Instruct", None).missing
    chosen = conv_templates.choose("Mine-1B-Instruct", None, "llama2")
    assert chosen.template == "llama2"
    assert "similar: " in chosen.notices[0]
    assert "llama-2" in chosen.notices[0]


SPRING_2026 = "usage: MLC LLM Configuration Generator --conv-template {llama-2,llama-3,chatml,qwen2,olmo,LM} ..."


@pytest.mark.parametrize(
    ("name", "template"),
    [("Qwen3-0.6B", "qwen2"), ("Qwen3.5-4B", "qwen2"), ("OLMo-2-1124-7B-Instruct", "olmo"), ("gpt2", "LM"),
     ("Llama-3.1-8B-Instruct", "llama-3"), ("SmolLM2-360M-Instruct", "chatml")],
)  # fmt: skip
def test_conv_template_that_the_image_lacks_becomes_the_nearest_it_has(name: str, template: str) -> None:
    """An image that lacks a template gets the nearest it has."""
    probed = {"mlc_llm gen_config --help": SPRING_2026}
    where = Target(platform=target("orin-jp6").platform, versions={"mlc": "0.20.0"}, probed=probed)
    asked = Job(source="/data/models/x", name=name, config=None, quantization="", target=where)
    argv = RUNTIME.steps(asked)[1].argv
    assert argv[argv.index("--conv-template") + 1] == template
    changed = template != conv_templates.choose(name, None).template
    assert any("has no conversation template" in text for text in MLC.notices(asked)) is changed
    refused = RUNTIME.check(
        Job(source="/data/models/x", name=name, config=None, quantization="", target=where, conv_template="llama-3_1")
    )
    assert refused.instead == "--conv-template llama-3"
    assert RUNTIME.check(
        Job(source="/data/models/x", name=name, config=None, quantization="", target=where, conv_template="olmo")
    ).ok


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("Llama-2-7b-chat-hf", "llama-2"),
        ("RedPajama-INCITE-Chat-3B-v1", "redpajama_chat"),
        ("Mistral-7B-Instruct-v0.2", "mistral_default"),
    ],
)
def test_conv_template_of_the_old_interface_is_named_by_the_model(name: str, template: str) -> None:
    """The old interface names its template by the model."""
    assert conv_templates.old_template(name, config(name)) == template
    assert MLC.notices(job(name, "orin-jp5", conv_template=template)) == ()
    assert "has no effect" in MLC.notices(job(name, "orin-jp5", conv_template="chatml"))[0]


@pytest.mark.parametrize(
    ("name", "reason", "instead"),
    [
        ("StableCode-Instruct-3B", "no conversation template `stablecode_instruct`", "--conv-template LM|aya-23|"),
        ("moss-moon-003-sft", "no conversation template `moss`", "--conv-template LM|"),
        ("Mine-1B-Instruct", "no conversation template is known for it", "|chatml|"),
    ],
)
def test_conv_template_of_a_chat_model_has_roles_unless_asked(name: str, reason: str, instead: str) -> None:
    """A chat model never gets the template without roles unasked."""
    refused = RUNTIME.check(
        Job(source="/data/models/x", name=name, config=None, quantization="", target=target("orin-jp6"))
    )
    assert (refused.ok, reason in refused.reason, instead in refused.instead) == (False, True, True)
    asked = Job(
        source="/data/models/x", name=name, config=None, quantization="", target=target("orin-jp6"), conv_template="LM"
    )
    assert RUNTIME.check(asked).ok
    argv = RUNTIME.steps(asked)[1].argv
    assert argv[argv.index("--conv-template") + 1] == "LM"
    assert RUNTIME.check(
        Job(source="/data/models/x", name="mine-1b", config=None, quantization="", target=target("orin-jp6"))
    ).ok  # a base model


def test_conv_template_that_is_missing_in_the_image_is_refused() -> None:
    """The present image without a model's template refuses the model."""
    where = Target(platform=target("orin-jp6").platform, probed={"mlc_llm gen_config --help": SPRING_2026})
    refused = RUNTIME.check(
        Job(source="/data/models/x", name="gemma-2b-it", config=None, quantization="", target=where)
    )
    assert "no conversation template `gemma_instruction`" in refused.reason
    assert "--conv-template LM|chatml|llama-2|llama-3|olmo|qwen2 " in refused.instead


def test_conv_templates_of_the_old_interface_are_replaced_in_the_new_one() -> None:
    """Templates of the old interface are replaced in the new one."""
    vicuna = Job(
        source="/data/models/x", name="vicuna-7b-v1.5", config=config(LLAMA), quantization="", target=target("orin-jp6")
    )
    argv = RUNTIME.steps(vicuna)[1].argv
    assert argv[argv.index("--conv-template") + 1] == "llava"
    assert "no conversation template `vicuna_v1.1`; `llava` is the nearest" in MLC.notices(vicuna)[0]
    named = Job(
        source="/data/models/x",
        name="vicuna-7b-v1.5",
        config=None,
        quantization="",
        target=target("orin-jp6"),
        conv_template="vicuna_v1.1",
    )
    assert RUNTIME.check(named).instead == "--conv-template llava"
    for name, template in (("StableCode-completion-3b", "LM"), ("vicuna-7b-v1.5", "llava")):
        assert conv_templates.choose(name, None).template == template


@pytest.mark.parametrize(
    ("name", "kind", "template"),
    [
        ("RWKV-5-World-1B5", "rwkv", "rwkv_world"), ("rwkv-raven-7b", "rwkv", "rwkv"),
        ("stablelm-3b-4e1t", "stablelm_epoch", "stablelm-3b"), ("CodeLlama-7b-hf", "llama", "codellama_completion"),
        ("WizardLM-13B", "llama", "vicuna_v1.1"), ("Llama-1-7b", "llama", "llama_default"),
        ("pythia-1b", "gpt_neox", ""), ("chatglm-6b", "chatglm", ""),
    ],
)  # fmt: skip
def test_conv_template_of_the_old_interface_must_exist_for_the_name(name: str, kind: str, template: str) -> None:
    """The old interface refuses a name without a template."""
    asked = Job(source="/data/models/x", name=name, config=family(kind), quantization="", target=target("orin-jp5"))
    verdict = RUNTIME.check(asked)
    assert verdict.ok is bool(template)
    if template:
        assert conv_templates.old_template(name, family(kind)) == template
    else:
        assert f"has no `{kind}_default` for `{name}`" in verdict.reason


def test_conv_template_of_the_old_interface_for_any_llama_has_a_note() -> None:
    """The old interface says when its template is for any Llama."""
    (notice,) = MLC.notices(
        Job(
            source="/data/models/x",
            name="SmolLM-360M-Instruct",
            config=family("llama"),
            quantization="",
            target=target("orin-jp5"),
        )
    )
    assert "`llama_default`, for any Llama" in notice


def test_mlc_facts_hold_each_mode_of_the_sources() -> None:
    """The facts hold each mode the sources have."""
    modes = load_facts("mlc")["quantizations"]
    assert set(modes["old"]) == mlc_options.OLD_QUANTIZATIONS
    assert set(modes["new"]) == mlc_options.NEW_QUANTIZATIONS
    assert set(load_facts("mlc")["overrides"]["serve"]) == mlc_options.SERVE_OVERRIDES
    assert json.dumps(sorted(load_facts("mlc")["opt"]["switches"])) == json.dumps(
        sorted(set(mlc_options.OPT_SWITCHES) - {"ipc_allreduce_strategy"})
    )
