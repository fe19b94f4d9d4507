"""MLC's commands: every word of them is one that MLC documents, and they are what the golden copies say.

`golden/mlc/<model>.txt` holds all commands of a model, by platform and then by what they compile for
(`UPDATE_GOLDEN=1 pytest …` writes them anew). A combination that is impossible has its reason there."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.pipeline.types import CommandStep, Step
from jetson_containers.llm.runtimes import support_table
from jetson_containers.llm.runtimes.interface import Job, ServeOptions, Target
from jetson_containers.llm.runtimes.mlc import mlc_llm, runtime
from jetson_containers.llm.runtimes.mlc.runtime import Api
from jetson_containers.platforms import detect
from tests.paths import UNIT_DIR
from tests.unit import mlc_options
from tests.unit.llm.runtimes.mlc.helpers import CONFIGS, LLAMA, MLC, RUNTIME, TARGETS, family, job, prepared_by, target

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.llm.models.config import ModelConfig

GOLDEN = UNIT_DIR / "golden" / "mlc"


PLACES = ("vulkan", "windows", "metal", "metal:x86-64", "iphone", "android", "webgpu")


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


def quantized(method: str, bits: int = 4, group: int = 128, model: str = "Qwen2.5-1.5B-Instruct") -> ModelConfig:
    made = {"quant_method": method, "bits": bits, "group_size": group}
    return from_hf({**CONFIGS[model], "quantization_config": made})


def experts(name: str) -> ModelConfig:
    return from_hf({**CONFIGS[LLAMA], "model_type": name, "num_local_experts": 8, "num_experts_per_tok": 2})


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


def test_mlc_facts_hold_each_mode_of_the_sources() -> None:
    """The facts hold each mode the sources have."""
    modes = load_facts("mlc")["quantizations"]
    assert set(modes["old"]) == mlc_options.OLD_QUANTIZATIONS
    assert set(modes["new"]) == mlc_options.NEW_QUANTIZATIONS
    assert set(load_facts("mlc")["overrides"]["serve"]) == mlc_options.SERVE_OVERRIDES
    assert json.dumps(sorted(load_facts("mlc")["opt"]["switches"])) == json.dumps(
        sorted(set(mlc_options.OPT_SWITCHES) - {"ipc_allreduce_strategy"})
    )
