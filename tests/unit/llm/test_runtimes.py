"""Runtimes of the table: which image, verdict and commands for a model, a board and a quantization.

`golden/runtimes/<model>.txt` holds every command for every board; `UPDATE_GOLDEN=1 pytest …` writes it anew.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.fit.advice import FitRequest, ask
from jetson_containers.llm.fit.machine import board_named, of_board
from jetson_containers.llm.fit.predict import FitVerdict
from jetson_containers.llm.models.config import ModelConfig, Quantized
from jetson_containers.llm.runtimes import support_table
from jetson_containers.llm.runtimes.awq import Awq
from jetson_containers.llm.runtimes.bitsandbytes import Bitsandbytes
from jetson_containers.llm.runtimes.exllama import ExLlama
from jetson_containers.llm.runtimes.exllamav2 import ExLlamaV2
from jetson_containers.llm.runtimes.gptq import Gptq
from jetson_containers.llm.runtimes.interface import SCRIPTS_DIR, Job, ServeOptions, Target
from jetson_containers.llm.runtimes.llama_cpp import LlamaCpp
from jetson_containers.llm.runtimes.lmdeploy import Lmdeploy, template
from jetson_containers.llm.runtimes.mlc.runtime import Mlc
from jetson_containers.llm.runtimes.transformers import Transformers
from jetson_containers.llm.runtimes.vllm import Vllm
from jetson_containers.platforms import detect, tables
from jetson_containers.recipes import catalog
from tests.paths import ROOT_DIR, UNIT_DIR

if TYPE_CHECKING:
    from jetson_containers.llm.runtimes.common import TableRuntime
    from jetson_containers.llm.runtimes.interface import Runtime
    from jetson_containers.platforms.platform import Platform

ROOT = ROOT_DIR
GOLDEN = UNIT_DIR / "golden" / "runtimes"
RUNTIMES: dict[str, TableRuntime] = {
    each.name: each
    for each in (
        Lmdeploy(), Vllm(), Transformers(), Bitsandbytes(), Gptq(), Awq(), ExLlama(), ExLlamaV2(),
    )
}  # fmt: skip
ALL: dict[str, Runtime] = {**RUNTIMES, "llama_cpp": LlamaCpp(), "mlc": Mlc()}
BOARDS = {
    "xavier-nx-8gb": "xavier-nx-8gb,r35.4.1",
    "agx-orin-jp5": "agx-orin-64gb,r35.4.1",
    "orin-nx-jp6": "orin-nx-16gb,r36.4.3",
    "agx-thor": "agx-thor,r38.2.0",
    "x86-cu129": "x86_64,cu129",
    "cpu": "x86_64,cpu",
}
LLAMA = ModelConfig(
    architecture="LlamaForCausalLM",
    model_type="llama",
    layers=32,
    hidden=4096,
    intermediate=11008,
    heads=32,
    kv_heads=32,
    head_dim=128,
    vocab=32000,
    max_position=4096,
    dtype="float16",
)
MODELS = {
    "Llama-2-7b-chat-hf": LLAMA,
    "Qwen2.5-1.5B-Instruct": ModelConfig(
        architecture="Qwen2ForCausalLM",
        model_type="qwen2",
        layers=28,
        hidden=1536,
        intermediate=8960,
        heads=12,
        kv_heads=2,
        head_dim=128,
        vocab=151936,
        tied=True,
        max_position=32768,
        dtype="bfloat16",
    ),
    "internlm2-chat-1_8b": ModelConfig(
        architecture="InternLM2ForCausalLM",
        model_type="internlm2",
        layers=24,
        hidden=2048,
        intermediate=8192,
        heads=16,
        kv_heads=8,
        head_dim=128,
        vocab=92544,
        max_position=32768,
        dtype="bfloat16",
    ),
    "internlm-chat-7b": ModelConfig(
        architecture="InternLMForCausalLM",
        model_type="internlm",
        layers=32,
        hidden=4096,
        intermediate=11008,
        heads=32,
        kv_heads=32,
        head_dim=128,
        vocab=103168,
        max_position=2048,
        dtype="float16",
    ),
    "Mistral-7B-Instruct-v0.2": ModelConfig(
        architecture="MistralForCausalLM",
        model_type="mistral",
        layers=32,
        hidden=4096,
        intermediate=14336,
        heads=32,
        kv_heads=8,
        head_dim=128,
        vocab=32000,
        max_position=32768,
        dtype="bfloat16",
    ),
}


LLAMA = MODELS["Llama-2-7b-chat-hf"]
NEWEST = {32: "32.7.6", 34: "34.1.1", 35: "35.6.0", 36: "36.4.3", 38: "38.4.0", 39: "39.2.0"}  # L4T by major release


@cache
def board(name: str) -> Platform:
    return detect.parse_target(BOARDS.get(name, name))


def job(model: str = "Llama-2-7b-chat-hf", where: str = "orin-nx-jp6", quantization: str = "", **more: object) -> Job:
    made = Job(
        source=f"/data/models/hf/{model}",
        name=model,
        config=MODELS[model],
        quantization=quantization,
        target=Target(platform=board(where)),
        context=4096,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def quantized(method: str, bits: int = 4, model: str = "Llama-2-7b-chat-hf") -> ModelConfig:
    return replace(MODELS[model], quantized=Quantized(method=method, bits=bits, group=128))


def render(model: str) -> str:
    lines: list[str] = []
    for place, target in BOARDS.items():
        lines.append(f"# {model} on {place} ({target})\n")
        for name, runtime in RUNTIMES.items():
            same: dict[tuple[str, ...], list[str]] = {}  # quantizations that are refused with the same words
            for quantization in dict.fromkeys(q.name for row in support_table.rows(name) for q in row.quantizations):
                same.setdefault(describe(runtime, job(model, place, quantization)), []).append(quantization)
            for words, names in same.items():
                lines += [f"{name} {', '.join(names)}", *words, ""]
    return "\n".join(lines)


def describe(runtime: TableRuntime, asked: Job) -> tuple[str, ...]:
    verdict = runtime.check(asked)
    if not verdict.ok:
        return (f"  no: {verdict.reason}", f"  instead: {verdict.instead or '-'}")
    lines = [f"  image: {' '.join(runtime.packages(asked.target.platform))}"]
    for step in runtime.steps(asked):
        marks = " [network]" if step.network else ""
        result = f" ({step.result})" if step.result else ""
        lines += [f"  {step.name}{marks}: {shlex.join(step.argv)}", f"    -> {step.output}{result}"]
    service = runtime.serve(asked, ServeOptions(port=8000))
    return (*lines, f"  serve: {shlex.join(service.argv)}")


@pytest.mark.parametrize("model", sorted(MODELS))
def test_runtime_commands_are_those_of_the_golden_copies(model: str) -> None:
    """Every command is the golden one."""
    golden = GOLDEN / f"{model}.txt"
    text = render(model)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_runtime_golden_copies_have_their_models() -> None:
    """Every golden copy has its model."""
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted(MODELS)


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_runtime_has_all_parts_of_the_interface(name: str) -> None:
    """A runtime has all parts of the interface."""
    runtime: Runtime = RUNTIMES[name]
    assert runtime.name == name
    assert runtime.summary
    assert name in load_facts("runtimes")["order"]


# Tables -------------------------------------------------------------------------------------------------------------


@cache
def packages_of(where: str) -> catalog.Catalog:
    return catalog.load([ROOT / "packages"], board(where))


@pytest.mark.long
@pytest.mark.parametrize("where", [*BOARDS, "r36.2.0", "r32.7.1", "r39.2.0", "sbsa"])
def test_support_table_offers_a_runtime_exactly_where_its_recipes_exist(where: str) -> None:
    """The table offers a runtime exactly where its recipes exist."""
    for name, runtime in ALL.items():
        if (name, where) == ("mlc", "r36.2.0"):
            continue  # no recipe of ours, but published images of 2024 with CUDA 12.2
        possible = [row for row in support_table.rows(name) if all(exists(where, package) for package in row.packages)]
        if possible:
            assert runtime.packages(board(where)) in [row.packages for row in possible], name
        else:
            with pytest.raises(UsageError, match=f"(?i){name}") as caught:
                runtime.packages(board(where))
            assert_hint(caught.value.hint, board(where))


def assert_hint(hint: str | None, platform: Platform) -> None:
    """What a refusal proposes exists on the platform; where nothing does, it says who knows."""
    assert hint
    words = hint.split()
    if words[0] == "possible:":
        assert ALL[words[2]].packages(platform)
    else:
        assert "llm fit" in hint


@pytest.mark.parametrize(
    ("where", "older"),
    [
        ("orin-nx-16gb", "r36.5.2,orin-nx-16gb"),
        ("orin-nx-16gb,r39.2.0", ""),  # the user's own choice
        ("agx-thor", ""),  # nothing older has it
    ],
)
def test_runtime_packages_hint_at_an_older_release_where_only_the_board_was_named(where: str, older: str) -> None:
    """Where only the board was named, an older release may have the runtime."""
    with pytest.raises(UsageError) as caught:
        ALL["lmdeploy"].packages(board(where))
    _, _, target = (caught.value.hint or "").partition("--target ")
    assert target == older
    assert not older or ALL["lmdeploy"].packages(board(older)) == ("lmdeploy",)


@pytest.mark.parametrize("place", sorted(tables.boards()))
def test_support_table_and_prediction_agree_about_what_is_impossible(place: str) -> None:
    """The prediction and the runtimes agree about what is impossible."""
    for major in of_board(board_named(place)).l4t:
        platform = detect.parse_target(f"{place},r{NEWEST[major]}")
        machine = of_board(board_named(place), l4t=major)
        said = {name: refusal(name, platform) for name in ALL}
        predicted = {name: ask(LLAMA, FitRequest(runtime=name, quantization="", context=2048), machine) for name in ALL}
        wrong = [name for name in ALL if bool(said[name]) != (predicted[name].verdict is FitVerdict.IMPOSSIBLE)]
        assert not wrong, [(place, major, name, said[name], predicted[name].reason) for name in wrong]


def refusal(name: str, platform: Platform) -> str:
    """Why a runtime cannot load a Llama in its usual quantization; empty when it can."""
    runtime = ALL[name]
    target = Target(platform=platform, device="cuda")
    try:
        runtime.packages(platform)
    except UsageError as error:
        return error.message
    asked = Job(source="/data/models/hf/m", name="m", config=LLAMA, quantization="", target=target, context=2048)
    usual = support_table.quantization(name, asked).name if name in RUNTIMES else runtime.quantizations(target)[0]
    return runtime.check(replace(asked, quantization=usual)).reason


def exists(where: str, name: str) -> bool:
    family, _, version = name.partition(":")
    found = packages_of(where).members(family)
    return any(not version or name in (package.name, *package.aliases) for package in found)


def test_architectures_are_all_used_and_all_that_are_used_exist() -> None:
    """Every set of models is used, and every used one exists."""
    used = {(row.runtime, row.kind) for name in load_facts("runtimes")["runtimes"] for row in support_table.rows(name)}
    assert len(used) >= 14
    for name in load_facts("runtimes")["runtimes"]:
        assert all(row.models for row in support_table.rows(name)), name


def test_support_table_gpu_share_is_that_of_the_board_before_the_chip() -> None:
    """The board's GPU share comes before the chip's."""
    shares = {
        "orin-nano-8gb,r36.4.3": 0.5, "orin-nx-jp6": 0.6, "agx-orin-64gb,r36.4.3": 0.7, "r36.4.3": 0.6,
        "agx-thor": 0.75, "r38.2.0": 0.75, "x86-cu129": 0.9,
    }  # fmt: skip
    assert {name: support_table.gpu_memory(board(name)) for name in shares} == shares


# Refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runtime", "asked", "words", "instead"),
    [
        ("vllm", job(where="xavier-nx-8gb"), "SM 72", "--runtime llama_cpp --quantization Q4_K_M"),
        ("vllm", job(where="orin-nx-jp6", quantization="fp8"), "8.9", "--runtime llama_cpp --quantization Q8_0"),
        ("bitsandbytes", job(where="xavier-nx-8gb", quantization="int8"), "7.5",
         "--runtime llama_cpp --quantization Q8_0"),
        ("gptq", job("internlm2-chat-1_8b", "agx-orin-jp5"), "internlm2", "--runtime llama_cpp --quantization Q4_K_M"),
        ("gptq", job(where="r36.2.0"), "CUDA 12.2", "--runtime llama_cpp --quantization Q4_K_M"),
        ("lmdeploy", job("Mistral-7B-Instruct-v0.2"), "mistral", "--runtime llama_cpp --quantization Q4_K_M"),
        ("lmdeploy", job("internlm-chat-7b"), "only <0.10", "--runtime mlc --quantization q4f16_1"),
        ("lmdeploy", job(where="agx-thor"), "CUDA 13", "--runtime llama_cpp --quantization Q4_K_M"),
        ("exllama", job("internlm-chat-7b", "x86-cu129"), "internlm", "--runtime mlc --quantization q4f16_1"),
        ("awq", job(where="agx-orin-jp5"), "Python 3.8", "--runtime llama_cpp --quantization Q4_K_M"),
        ("transformers", job(where="xavier-nx-8gb", quantization="bf16"), "8.0",
         "--runtime transformers --quantization fp16"),
        ("transformers", job(quantization="q4f16_1"), "has no quantization `q4f16_1`",
         "--runtime llama_cpp --quantization Q4_K_M"),
        ("vllm", job(where="cpu"), "GPU", "--runtime llama_cpp --quantization Q4_K_M"),
        ("vllm", job("internlm-chat-7b", "agx-thor"), "only <0.23", "--runtime mlc --quantization q4f16_1"),
        ("gptq", job(where="r32.7.1"), "JetPack 4.6.1", ""),
        ("transformers", job(where="r32.7.1"), "JetPack 4.6.1", ""),
    ],
)  # fmt: skip
def test_runtime_refusal_names_the_nearest_possible(runtime: str, asked: Job, words: str, instead: str) -> None:
    """What is impossible is refused with the nearest that is possible."""
    verdict = RUNTIMES[runtime].check(asked)
    assert not verdict.ok
    assert words in verdict.reason
    assert verdict.instead == instead
    with pytest.raises(UsageError, match=r".") as caught:
        RUNTIMES[runtime].steps(asked)
    assert caught.value.message == verdict.reason


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("where", BOARDS)
def test_runtime_proposal_is_possible(model: str, where: str) -> None:
    """What is proposed instead is possible."""
    for name, runtime in RUNTIMES.items():
        for quantization in dict.fromkeys(q.name for row in support_table.rows(name) for q in row.quantizations):
            asked = job(model, where, quantization)
            words = runtime.check(asked).instead.split()
            if words:
                assert not support_table.refusal(words[1], replace(asked, quantization=words[3])), words


@pytest.mark.parametrize(
    ("runtime", "method", "where", "words"),
    [
        ("gptq", "gptq", "orin-nx-jp6", ""),
        ("gptq", "awq", "orin-nx-jp6", ""),
        ("gptq", "gptq", "xavier-nx-8gb", ""),
        ("gptq", "awq", "xavier-nx-8gb", "does not read"),
        ("vllm", "awq", "orin-nx-jp6", ""),
        ("vllm", "gptq", "orin-nx-jp6", ""),
        ("vllm", "compressed-tensors", "agx-thor", ""),
        ("vllm", "fp8", "orin-nx-jp6", "8.9"),
        ("vllm", "fp8", "agx-thor", ""),
        ("lmdeploy", "awq", "orin-nx-jp6", ""),
        ("lmdeploy", "gptq", "orin-nx-jp6", ""),
        ("lmdeploy", "gptq", "agx-orin-jp5", "does not read"),
        ("bitsandbytes", "bitsandbytes", "xavier-nx-8gb", ""),
        ("bitsandbytes", "gptq", "orin-nx-jp6", "does not read"),
        ("transformers", "gptq", "orin-nx-jp6", "only in an image with gptqmodel or auto_gptq"),
        ("awq", "compressed-tensors", "cpu", ""),
        ("exllama", "exl3", "orin-nx-jp6", ""),
        ("exllama", "gptq", "orin-nx-jp6", "does not read"),
        ("exllamav2", "gptq", "orin-nx-jp6", ""),
    ],
)
def test_runtime_serves_a_quantized_checkpoint_that_it_reads_as_it_is(
    runtime: str, method: str, where: str, words: str
) -> None:
    """A quantized checkpoint is served as it is by what reads it."""
    asked = job(where=where, config=quantized(method))
    verdict = RUNTIMES[runtime].check(asked)
    assert verdict.ok is not bool(words), verdict.reason
    if words:
        assert words in verdict.reason
        assert verdict.instead
    else:
        assert [step.name for step in RUNTIMES[runtime].steps(asked)] in ([], ["convert"])
        assert RUNTIMES[runtime].serve(asked, ServeOptions(port=1)).argv


def test_bitsandbytes_int8_needs_a_newer_gpu_than_nf4() -> None:
    """LLM.int8 weights need a newer GPU than NF4 ones."""
    eight = job(where="xavier-nx-8gb", config=quantized("bitsandbytes", 8))
    assert "7.5" in RUNTIMES["bitsandbytes"].check(eight).reason


def test_runtime_reads_more_in_an_image_with_the_library() -> None:
    """An image with the library reads what the runtime alone does not."""
    target = Target(platform=board("orin-nx-jp6"), versions={"transformers": "5.13.1", "gptqmodel": "7.3.4"})
    assert RUNTIMES["transformers"].check(job(config=quantized("gptq"), target=target)).ok


def test_runtime_only_loads_what_it_once_made() -> None:
    """What a runtime once made is only loaded."""
    for name, runtime in RUNTIMES.items():
        made = job(source=f"/data/models/{name}/x", name="x", config=None, prepared=True)
        assert runtime.check(made).ok
        assert runtime.steps(made) == ()
        assert runtime.artifact(made) == made.source
        assert made.source in runtime.serve(made, ServeOptions(port=1)).argv


@pytest.mark.parametrize(
    ("runtime", "asked", "words"),
    [
        ("gptq", job(config=quantized("gptq", 8), quantization="int4"), "(gptq, 8 bits) and served as it is"),
        ("vllm", job(context=100_000), "4096 tokens"),
        ("vllm", job("internlm2-chat-1_8b"), "own Python code"),
        ("awq", job(), "16 bits in memory"),
    ],
)
def test_runtime_notices_say_what_a_user_would_not_expect(runtime: str, asked: Job, words: str) -> None:
    """What a user would not expect is in the notices."""
    assert RUNTIMES[runtime].check(asked).ok
    (notice,) = RUNTIMES[runtime].notices(asked)
    assert words in notice
    assert RUNTIMES["gptq"].notices(job()) == ()


def test_runtime_refuses_a_type_that_breaks_a_model() -> None:
    """A type that breaks a model is refused."""
    gemma = replace(LLAMA, model_type="gemma2", dtype="bfloat16")
    verdict = RUNTIMES["vllm"].check(job(config=gemma, quantization="fp16"))
    assert (verdict.reason, verdict.instead) == (
        "the activations of `gemma2` leave the range of fp16", "--runtime vllm --quantization bf16",
    )  # fmt: skip


def test_runtime_does_not_quantize_a_quantized_checkpoint() -> None:
    """A quantized checkpoint is not quantized again."""
    verdict = RUNTIMES["gptq"].check(job(config=quantized("awq"), quantization="int8"))
    assert "cannot be quantized again" in verdict.reason
    assert verdict.instead == "leave out `--quantization`"
    assert RUNTIMES["gptq"].check(job(config=quantized("gptq"), quantization="int4")).ok
    assert RUNTIMES["vllm"].check(job(config=quantized("gptq"), quantization="gptq")).ok


@pytest.mark.parametrize(
    ("method", "words"), [("awq", "lmdeploy, vllm, gptq"), ("bitsandbytes", "bitsandbytes"), ("gptq", ""), ("fp8", "")]
)
def test_llama_cpp_refuses_what_its_converter_cannot_read_and_takes_what_it_dequantizes(
    method: str, words: str
) -> None:
    """A checkpoint the GGUF converter cannot read is told from one it dequantizes."""
    reason = support_table.gguf_refusal(quantized(method))
    assert (words in reason) if words else (reason == "")
    assert support_table.gguf_refusal(None) == support_table.gguf_refusal(LLAMA) == ""


@pytest.mark.parametrize("option", ["opt", "host", "device", "overrides", "system_lib_prefix", "conv_template"])
def test_runtime_refuses_an_option_of_another_runtime(option: str) -> None:
    """An option of another runtime is refused instead of ignored."""
    verdict = RUNTIMES["vllm"].check(job(**{option: "x"}))
    flag = f"--{option.replace('_', '-')}"
    assert flag in verdict.reason
    assert verdict.instead == f"leave out `{flag}`"


# Commands -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "probed", "steps"),
    [
        ({"lmdeploy": "0.2.5"}, {}, ["quantize", "convert"]),
        ({"lmdeploy": "0.16.0"}, {}, ["quantize"]),
        ({}, {"lmdeploy --help": "usage: lmdeploy {lite,serve,convert,list,check_env,chat}"}, ["quantize", "convert"]),
        ({}, {"lmdeploy --help": "API for converting models\n {lite,serve,check_env,chat}"}, ["quantize"]),
        ({}, {}, ["quantize"]),
    ],
)
def test_lmdeploy_interface_is_that_of_the_image(
    versions: dict[str, str], probed: dict[str, str], steps: list[str]
) -> None:
    """The image decides which LMDeploy it is."""
    target = Target(platform=board("orin-nx-jp6"), versions=versions, probed=probed)
    assert [step.name for step in RUNTIMES["lmdeploy"].steps(job(target=target))] == steps


def test_runtime_probes_are_commands_of_the_image() -> None:
    """Each probe is a command of the image."""
    assert RUNTIMES["lmdeploy"].probes == (("lmdeploy", "--help"),)


@pytest.mark.parametrize(
    ("family", "name", "expected"),
    [
        ("internlm2", "internlm2-chat-1_8b", "internlm2-chat-7b"),
        ("internlm2", "internlm2-20b", "internlm2-7b"),
        ("internlm", "internlm-chat-20b", "internlm-chat-20b"),
        ("internlm", "internlm-chat-7b-8k", "internlm-chat-7b-8k"),
        ("internlm", "internlm-chat-7b", "internlm-chat-7b"),
        ("internlm", "internlm-7b", "internlm"),
        ("llama", "Llama-2-7b-chat-hf", "llama2"),
        ("llama", "CodeLlama-7b-Instruct-hf", "codellama"),
        ("llama", "open_llama_3b", "llama"),
        ("baichuan", "Baichuan2-7B-Chat", "baichuan2-7b"),
        ("qwen", "Qwen-14B-Chat", "qwen-14b"),
    ],
)
def test_lmdeploy_old_gets_a_template_that_it_knows(family: str, name: str, expected: str) -> None:
    """The old LMDeploy gets a template that it knows."""
    asked = job(config=replace(LLAMA, model_type=family), name=name)
    assert template(asked) == expected
    assert template(replace(asked, conv_template="vicuna")) == "vicuna"


def test_awq_uses_autoawq_only_where_the_image_holds_nothing_newer() -> None:
    """AutoAWQ is used only where the image holds nothing newer."""
    old = job(target=Target(platform=board("orin-nx-jp6"), versions={"auto_awq": "0.2.9", "transformers": "4.57.6"}))
    both = job(target=Target(platform=board("orin-nx-jp6"), versions={"auto_awq": "0.2.9", "llm-compressor": "0.13.0"}))
    assert RUNTIMES["awq"].steps(old)[0].argv[1] == f"{SCRIPTS_DIR}/awq_quantize.py"
    assert RUNTIMES["awq"].steps(both)[0].argv[1] == f"{SCRIPTS_DIR}/llmcompressor_quantize.py"
    assert RUNTIMES["awq"].packages(board("orin-nx-jp6")) == ("llm-compressor",)


def test_awq_of_llm_compressor_takes_16_bits_in_transformers() -> None:
    """What llm-compressor made takes 16 bits where transformers serves it."""
    bits = {
        name: row.memory_bits
        for name in RUNTIMES
        if (row := support_table.row_for(name, Target(platform=board("orin-nx-jp6"))))
    }
    assert bits == {**dict.fromkeys(RUNTIMES, 0), "awq": 16}


def test_runtime_steps_on_the_cpu_do_not_ask_for_the_gpu() -> None:
    """On the CPU of a GPU machine no step asks for the GPU."""
    for name in ("gptq", "awq", "bitsandbytes"):
        (step,) = RUNTIMES[name].steps(job(where="x86-cu129", target=Target(platform=board("x86-cu129"), device="cpu")))
        assert "cuda" not in step.argv
        assert step.argv[step.argv.index("--device") + 1] == "cpu"


@pytest.mark.parametrize("name", ["gptq", "awq", "lmdeploy"])
def test_calibration_needs_the_network_only_for_a_named_data_set(name: str) -> None:
    """Only a named data set needs the network."""
    runtime = RUNTIMES[name]
    assert not any(step.network for step in runtime.steps(job()))
    assert not any(step.network for step in runtime.steps(job(calibration="/data/text.txt")))
    assert [step.network for step in runtime.steps(job(calibration="wikitext2"))] == [True]
    assert "wikitext2" in runtime.steps(job(calibration="wikitext2"))[0].argv


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gptq", "ptb", "has no calibration text `ptb`"),
        ("lmdeploy", "ptb", "wikitext2"),
        ("bitsandbytes", "wikitext2", "takes no calibration text"),
        ("vllm", "/data/text.txt", "takes no calibration text"),
    ],
)
def test_calibration_text_that_cannot_be_had_is_refused(name: str, text: str, words: str) -> None:
    """A calibration text that cannot be had is refused."""
    verdict = RUNTIMES[name].check(job(calibration=text))
    assert words in verdict.reason
    assert verdict.instead


def test_lmdeploy_old_still_has_ptb() -> None:
    """The old LMDeploy still has PTB."""
    asked = job(where="agx-orin-jp5", calibration="ptb")
    assert "ptb" in RUNTIMES["lmdeploy"].steps(asked)[0].argv


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_runtime_artifacts_are_below_its_own_directory_and_chain(name: str) -> None:
    """Artifacts are below the runtime's own directory, and steps chain."""
    runtime = RUNTIMES[name]
    asked = job()
    place = asked.source
    for step in runtime.steps(asked):
        assert step.inputs == (place,)
        assert step.output.startswith(f"/data/models/{name}/{asked.name}-")
        assert "{output}" in step.argv
        place = step.output
    assert runtime.artifact(asked) == place
    assert any(place in word for word in runtime.serve(asked, ServeOptions(port=8000)).argv)


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_runtime_servers_always_limit_memory(name: str) -> None:
    """Memory is always limited."""
    batch = 2 if RUNTIMES[name].batches else 1
    argv = RUNTIMES[name].serve(job(context=1024, max_batch=batch, prefill_chunk=512), ServeOptions(port=8000)).argv
    assert "1024" in argv
    assert "512" in argv
    if batch > 1:
        assert "2" in argv


def test_runtime_refuses_a_batch_where_requests_wait_for_each_other() -> None:
    """A batch is refused where requests wait for each other."""
    batches = {name for name, runtime in RUNTIMES.items() if runtime.check(job(max_batch=4)).ok}
    assert batches == {"vllm", "lmdeploy", "exllama"}
    assert RUNTIMES["gptq"].check(job(max_batch=4)).instead == "leave out `--max-batch`"


@pytest.mark.parametrize("name", ["vllm", "transformers", "lmdeploy"])
def test_runtime_context_is_not_longer_than_that_of_the_model(name: str) -> None:
    """The context is no longer than the model's."""
    argv = RUNTIMES[name].serve(job("Llama-2-7b-chat-hf", context=100_000), ServeOptions(port=1)).argv
    assert "4096" in argv
    assert "100000" not in argv


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_runtime_steps_ask_the_hub_only_for_a_named_text(name: str) -> None:
    """Nothing is looked up at the hub but a named text."""
    runtime = RUNTIMES[name]
    for step in runtime.steps(job()):
        assert step.env == {"HF_HUB_OFFLINE": "1"}
    assert runtime.serve(job(), ServeOptions(port=1)).env == {"HF_HUB_OFFLINE": "1"}
    if name in {"gptq", "awq", "lmdeploy"}:
        assert runtime.steps(job(calibration="wikitext2"))[0].env == {}


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_runtime_server_key_is_in_no_argv(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is in no argv."""
    monkeypatch.setenv("API_KEY", "sekrit")
    service = RUNTIMES[name].serve(job(), ServeOptions(port=8000, host="0.0.0.0", api_key=True))
    assert "sekrit" not in " ".join(service.argv)
    assert "sekrit" not in str(service.env)
    assert service.model == "Llama-2-7b-chat-hf"
    # The variable is the server's own, or one of our programs reads it and hands it on.
    assert service.key_env != "API_KEY" or service.argv[1].startswith(SCRIPTS_DIR)
    assert "0.0.0.0" in service.argv


@pytest.mark.parametrize("name", sorted(RUNTIMES))
@pytest.mark.parametrize("key", [False, True])
def test_runtime_servers_of_ours_say_that_they_check_requests(name: str, *, key: bool) -> None:
    """A server that is marked as checking is one of our scripts with the rules, and each of these is marked."""
    service = RUNTIMES[name].serve(job(), ServeOptions(port=8000, api_key=key))
    assert service.checked == (service.argv[1].startswith(SCRIPTS_DIR) and service.argv[1].endswith("_server.py"))


def test_runtime_servers_that_know_only_a_flag_get_the_key_inside_the_process() -> None:
    """Servers that know only a flag get the key inside the process."""
    key = ServeOptions(port=8000, api_key=True)
    assert RUNTIMES["lmdeploy"].serve(job(), key).argv[1:5] == (
        f"{SCRIPTS_DIR}/with_key.py", "--api-keys", "--", "lmdeploy",
    )  # fmt: skip
    assert RUNTIMES["vllm"].serve(job(), key).key_env == "VLLM_API_KEY"


@pytest.mark.parametrize("where", BOARDS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_support_table_nearest_on_a_platform_is_that_of_a_plain_model(runtime: str, where: str) -> None:
    """The nearest on a platform is what a plain model would be told."""
    target = Target(platform=board(where), device="cuda" if board(where).has_gpu else "cpu")
    unknown = replace(job(), config=None, target=target)
    assert support_table.nearest_on(runtime, target) == support_table.nearest(runtime, unknown)


def test_vllm_on_a_small_board_runs_without_cuda_graphs() -> None:
    """vLLM on a small board goes without CUDA graphs."""
    small = RUNTIMES["vllm"].serve(job(where="orin-nano-8gb,r36.4.3"), ServeOptions(port=1)).argv
    large = RUNTIMES["vllm"].serve(job(where="agx-thor"), ServeOptions(port=1)).argv
    assert "--enforce-eager" in small
    assert "--enforce-eager" not in large
    assert large[large.index("--gpu-memory-utilization") + 1] == "0.75"


def test_runtime_default_type_is_that_of_the_checkpoint_where_the_device_has_it() -> None:
    """The default type is the checkpoint's own where the device has it."""
    assert "bfloat16" in RUNTIMES["vllm"].serve(job("Qwen2.5-1.5B-Instruct"), ServeOptions(port=1)).argv
    assert "float16" in RUNTIMES["vllm"].serve(job(), ServeOptions(port=1)).argv
    xavier = RUNTIMES["transformers"].serve(job("Qwen2.5-1.5B-Instruct", "xavier-nx-8gb"), ServeOptions(port=1)).argv
    assert xavier[xavier.index("--dtype") + 1] == "fp16"


def test_exllama_takes_any_bit_width() -> None:
    """Any bit width of ExLlama can be named."""
    (step,) = RUNTIMES["exllama"].steps(job(quantization="3.5bpw"))
    assert step.output == "/data/models/exllama/Llama-2-7b-chat-hf-3.5bpw"
    assert step.result == "model"
    assert "3.5" in step.argv
    assert not RUNTIMES["exllama"].check(job(quantization="9bpw")).ok


def test_runtime_quantizations_are_listed_for_the_device() -> None:
    """Quantizations are listed for the device."""
    assert RUNTIMES["bitsandbytes"].quantizations(Target(platform=board("xavier-nx-8gb"))) == ("nf4", "fp4")
    assert RUNTIMES["transformers"].quantizations(Target(platform=board("cpu"), device="cpu"))[0] == "bf16"
    assert RUNTIMES["vllm"].quantizations(Target(platform=board("xavier-nx-8gb"))) == ()


def test_runtime_runs_code_of_a_checkpoint_only_where_the_family_has_no_other() -> None:
    """Code of a checkpoint runs only where the family has no other."""
    assert "--trust-remote-code" in RUNTIMES["vllm"].serve(job("internlm2-chat-1_8b"), ServeOptions(port=1)).argv
    assert "--trust-remote-code" not in RUNTIMES["vllm"].serve(job(), ServeOptions(port=1)).argv


@pytest.mark.parametrize(
    ("versions", "generation"),
    [
        ({"exllama": "0.0.32"}, "3"), ({"exllama": "0.0.43"}, "3"), ({"exllama": "1.4.1"}, "3"),
        ({"exllama": "v3"}, "3"), ({"exllamav3": "0.2.0"}, "3"), ({"exllama": "0.3.2"}, "2"),
        ({"exllama": "0.1.9"}, "2"), ({"exllama": "v2"}, "2"), ({"exllamav2": "0.0.20"}, "2"),
    ],
)  # fmt: skip
def test_exllama_generations_are_told_apart_by_their_releases(versions: dict[str, str], generation: str) -> None:
    """The two ExLlamas are told apart by their releases."""
    made = {"3": support_table.rows("exllama"), "2": support_table.rows("exllamav2")}
    assert [name for name, rows in made.items() if any(row.made_with(versions) for row in rows)] == [generation]


@pytest.mark.parametrize(
    ("version", "kind"), [("0.0.32", "v3_early"), ("0.0.43", "v3_early"), ("1.4.1", "v3"), ("v3", "v3")]
)
def test_exllama_images_load_what_their_release_does(version: str, kind: str) -> None:
    """An image of ExLlamaV3 is judged by the list of its release."""
    assert [row.kind for row in support_table.rows("exllama") if row.made_with({"exllama": version})] == [kind]


@pytest.mark.parametrize(
    ("runtime", "kind", "loads"),
    [
        ("exllama", "gpt_oss", True), ("exllama", "deepseek_v3", True), ("exllama", "nemotron_h", True),
        ("exllama", "lfm2_moe", True), ("exllama", "lfm2", False), ("exllama", "glm4_moe_lite", False),
        ("exllama", "afmoe", True), ("exllama", "llama", True), ("exllama", "qwen3_5_moe", True),
        ("exllama", "step3p5", True), ("exllamav2", "llava", False), ("exllamav2", "index", True),
    ],
)  # fmt: skip
def test_exllama_loads_what_its_pinned_version_has(runtime: str, kind: str, *, loads: bool) -> None:
    """ExLlama loads what its pinned version has."""
    assert (kind in support_table.rows(runtime)[0].models) is loads
