"""`llm fit`: whatever a user calls a model, one verdict, the breakdown, and options that can be typed."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from jetson_containers.cli import llm_fit, main
from jetson_containers.cli.app import App
from jetson_containers.core.errors import UsageError
from jetson_containers.llm import fit, fit_check
from jetson_containers.llm.fit import cards, query
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named, of_board
from jetson_containers.llm.fit.predict import FitVerdict, quality
from jetson_containers.llm.fit.query import FitQuestion
from jetson_containers.llm.models import known, lookup
from jetson_containers.platforms import detect
from tests.paths import TESTS_DIR, UNIT_DIR

if TYPE_CHECKING:
    from jetson_containers.llm.models.config import ModelConfig
    from jetson_containers.platforms.platform import Platform
    from tests.hubserver import HubServer

GGUF = UNIT_DIR / "gguf" / "by-gguf-py.gguf"
HOSTS = TESTS_DIR / "hosts"
KEYS = (
    "model", "runtime", "quantization", "context", "board", "weights_bytes", "kv_bytes", "runtime_bytes",
    "baseline_bytes", "total_bytes", "available_bytes", "fits", "peak_bytes", "decode_tokens_per_s", "advice",
)  # fmt: skip
LLAMA = known.configs()["meta-llama/Llama-2-7b-chat-hf"]


def no_hub(reference: str) -> ModelConfig:
    raise AssertionError(f"{reference}: the hub was asked")


def ask(model: str, **given: Any) -> query.FitAnswer:
    source = lookup.find_shape(model, no_hub)
    question = FitQuestion(**{"board": "orin-nx-16gb", **given})
    machine = query.machine_for(question, lambda: detect.parse_target("cpu"), Path("/nowhere"))
    return query.answer(source, machine, question)


def run(*argv: str) -> tuple[int, str]:
    done = CliRunner().invoke(llm_fit.fit, list(argv), obj=App(), catch_exceptions=False)
    return done.exit_code, done.stdout


# Board, target and mode ----------------------------------------------------------------------------------------------


def on(board: str, target: str = "", **given: Any) -> query.FitAnswer:
    source = lookup.find_shape("internlm-chat-7b", no_hub)
    question = FitQuestion(board=board, runtime=given.pop("runtime", "lmdeploy"), **given)
    platform = detect.parse_target(target or "cpu")
    machine = query.machine_for(question, lambda: platform, Path("/nowhere"), cross=bool(target))
    return query.answer(source, machine, question)


def test_fit_target_decides_the_version_of_the_runtime() -> None:
    """The target decides the runtime's version on a board."""
    old, new = on("orin-nx-16gb", "r35.4.1"), on("orin-nx-16gb", "r36.4.3")
    assert (old.best.verdict, str(old.machine.release)) == (FitVerdict.FITS, "35.4.1")
    assert (new.best.verdict, new.best.reason) == (
        FitVerdict.IMPOSSIBLE, "lmdeploy does not know the architecture `internlm`",
    )  # fmt: skip
    # JetPack 5's fills its KV cache as it goes, the newer one takes half of what is free
    llama = lookup.find_shape("Llama-2-7b-chat-hf", no_hub)
    kv = {}
    for release in ("r35.4.1", "r36.4.3"):
        question = FitQuestion(board="orin-nx-16gb", runtime="lmdeploy")
        machine = query.machine_for(
            question, lambda text=release: detect.parse_target(text), Path("/"), cross=True,  # type: ignore[misc]
        )  # fmt: skip
        kv[release] = query.answer(llama, machine, question).best.kv_bytes
    assert kv["r35.4.1"] == (4096 + 128) * 2 * 32 * 4096 * 2
    assert kv["r36.4.3"] > kv["r35.4.1"] * 3 // 2


def test_fit_advice_keeps_to_the_release_of_the_target() -> None:
    """Advice keeps to the target's release."""
    source = lookup.find_shape("internlm2-chat-20b", no_hub)
    question = FitQuestion(board="xavier-nx-8gb", runtime="llama_cpp", quantization="F16")
    machine = query.machine_for(question, lambda: detect.parse_target("r35.4.1"), Path("/"), cross=True)
    boards = [item.machine for item in query.answer(source, machine, question).advice if "--board" in item.options]
    assert boards
    assert all(each.l4t == (35,) for each in boards)


@pytest.mark.parametrize(
    ("target", "given", "words", "hint"),
    [
        ("r38.2", {}, "orin-nx-16gb does not run L4T 38.2", "it runs: r39"),
        ("x86_64,cu129", {}, "without L4T", "leave one of them out"),
        ("r36.4.3,agx-orin-64gb", {}, "two boards: the target's is agx-orin-64gb", "leave one of them out"),
        ("r36.4.0", {"mode": "40W"}, "40W of orin-nx-16gb came with L4T 36.4.3", "10W, 15W, 25W, MAXN"),
        ("", {"mode": "99W"}, "unknown power mode `99W`", "modes: 10W"),
        ("", {"vram": 8.0}, "`--vram` is about a graphics card", "leave one of them out"),
    ],
)
def test_fit_refuses_board_target_and_mode_that_contradict(
    target: str, given: dict[str, Any], words: str, hint: str
) -> None:
    """A board, a target and a mode that contradict each other are refused."""
    with pytest.raises(UsageError) as caught:
        on("orin-nx-16gb", target, **given)
    assert words in caught.value.message
    assert hint in (caught.value.hint or "")


def test_fit_refuses_a_mode_without_a_board() -> None:
    """A mode without a board is refused."""
    with pytest.raises(UsageError, match="no board was specified"):
        query.machine_for(FitQuestion(mode="15W", vram=24.0), lambda: detect.parse_target("cu129"), Path("/"))
    here = query.machine_for(FitQuestion(mode="15W"), lambda: detect.parse_target("r36.4.3,orin-nx-16gb"), Path("/"))
    assert (here.mode, here.sm_hz) == ("15W", 4 * 612e6)


def test_fit_speed_of_a_slower_mode_is_predicted_or_unknown() -> None:
    """A slower mode's speed is predicted, or called unknown."""

    def speeds(runtime: str, mode: str) -> tuple[float | None, float | None]:
        best = on("orin-nx-16gb", runtime=runtime, mode=mode).best
        return best.decode_tokens_per_s, best.decode_tokens_per_s_most

    full, slow = speeds("lmdeploy", "")[0], speeds("lmdeploy", "15W")[0]
    assert full is not None
    assert slow is not None
    assert slow == pytest.approx(7.39, rel=0.06)  # as published for this mode
    assert full > 1.5 * slow
    for runtime in ("mlc", "llama_cpp", "vllm"):
        slow, full = speeds(runtime, "15W")[0], speeds(runtime, "")[0]
        assert slow is not None
        assert full is not None
        assert slow < 0.6 * full
        assert speeds(runtime, "MAXN")[0] == full
        faster = speeds(runtime, "40W")[0]  # the GPU's clock is higher, the memory's is not
        assert faster is not None
        assert full <= faster < 1.3 * full
        assert (speeds(runtime, "10W")[1] or 0) > slow  # what its memory allows, whatever the GPU does
        assert speeds(runtime, "10W")[0] is None  # nobody published that mode's clocks


def test_fit_shows_an_unknown_speed_as_what_the_memory_allows() -> None:
    """An unknown speed is shown as what the memory allows."""
    code, out = run("Llama-2-7b-chat-hf", "--board", "orin-nx-16gb", "--mode", "10W", "--runtime", "mlc")
    assert code == 0
    assert re.search(r"GiB, at most \d+ tokens/s", out)
    assert "the speed of mlc in the mode 10W of orin-nx-16gb is not published" in out
    code, out = run("Llama-2-7b-chat-hf", "--board", "orin-nx-16gb", "--mode", "10W", "--runtime", "mlc", "--json")
    given = json.loads(out)
    assert given["decode_tokens_per_s"] is None
    assert given["decode_tokens_per_s_most"] > 10


def test_fit_names_the_version_for_the_target() -> None:
    """The version for the target is named."""
    app = App()
    app.options["target"] = "r35.4.1"
    argv = ["internlm-chat-7b", "--board", "orin-nx-16gb", "--runtime", "lmdeploy", "--json"]
    done = CliRunner().invoke(llm_fit.fit, argv, obj=app, catch_exceptions=False)
    assert json.loads(done.stdout)["version"] == "0.2.5"


@pytest.mark.parametrize(
    ("target", "majors"),
    [("r35.4.1", (35,)), ("r36.4.3,orin-nx-16gb", (36,)), ("r36.4.3,agx-orin-64gb", (35, 36, 39)),
     ("r38.2", (35, 36, 39)), ("x86_64,cu129", (35, 36, 39))],
)  # fmt: skip
def test_fit_check_takes_the_release_of_the_target_where_the_board_runs_it(
    target: str, majors: tuple[int, ...]
) -> None:
    """Other commands take the target's release where the board runs it."""
    machine = fit_check.machine_for("orin-nx-16gb", detect.parse_target(target), App().console)
    assert machine is not None
    assert machine.l4t == majors


def test_fit_of_a_quantization_the_model_cannot_have_is_impossible() -> None:
    """What a model cannot be quantized to is impossible."""
    gemma = ask("gemma-2-2b-it", runtime="mlc", quantization="q4f16_ft").best
    assert gemma.verdict is FitVerdict.IMPOSSIBLE
    assert gemma.reason.startswith("mlc does not quantize the architecture `gemma2` to q4f16_ft; it can to q4f16_1,")
    assert ask("gemma-2-2b-it", runtime="mlc").best.fits


# What is a model -----------------------------------------------------------------------------------------------------


def test_fit_of_an_mlc_artifact_keeps_its_quantization_and_context(tmp_path: Path) -> None:
    """An artifact of MLC keeps its quantization and context."""
    config = {"model_type": "llama", "quantization": "q4f16_1", "context_window_size": 768, "model_config": dict(LLAMA)}
    (tmp_path / "mlc-chat-config.json").write_text(json.dumps(config))
    answer = ask(str(tmp_path))
    assert [(each.runtime, each.quantization, each.context) for each in answer.fits] == [("mlc", "q4f16_1", 768)]
    with pytest.raises(UsageError, match="cannot load it"):
        ask(str(tmp_path), runtime="vllm")
    with pytest.raises(UsageError, match="quantized already"):
        ask(str(tmp_path), quantization="q3f16_1")


def test_fit_fetches_only_config_json_of_a_hub_model(hub: HubServer, tmp_path: Path) -> None:
    """Of a hub model only config.json is fetched."""
    hub.add("org/model", {"config.json": json.dumps(dict(LLAMA)).encode(), "model.safetensors": b"1" * 5000})
    code, out = run("org/model", "--board", "orin-nx-16gb", "--runtime", "mlc", "--json")
    assert (code, json.loads(out)["model"], json.loads(out)["fits"]) == (0, "org/model", True)
    fetched = {path.name for path in (tmp_path / "data").rglob("*") if "snapshots" in path.parts and path.is_file()}
    assert fetched == {"config.json"}


def test_fit_of_a_gguf_repository_reads_the_header_of_one_file(hub: HubServer, tmp_path: Path) -> None:
    """Of a repository of GGUF files the header of the one with the quantization is read, and nothing is kept."""
    weights = GGUF.read_bytes() + bytes(3 << 20)
    hub.add("org/files", {"model-Q4_K_M.gguf": weights, "model-Q8_0.gguf": weights, "README.md": b"x"})
    code, out = run("org/files:Q8_0", "--board", "orin-nx-16gb", "--json")
    assert (code, json.loads(out)["model"], json.loads(out)["fits"]) == (0, "org/files", True)
    assert hub.file_requests("model-Q4_K_M.gguf") == []
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert run("org/files/model-Q4_K_M.gguf", "--board", "orin-nx-16gb")[0] == 0


def header_of_large_model(layers: range = range(80), *, ends: bool = True) -> bytes:
    """The head of a GGUF file of 80 layers: 66 billion elements, as floats of 16 bits; or of a part of it."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    numbers = {
        "block_count": 80, "embedding_length": 8192, "feed_forward_length": 28672, "attention.head_count": 64,
        "attention.head_count_kv": 8, "context_length": 8192, "vocab_size": 32000,
    }  # fmt: skip
    matrices = {"attn_q": 8192, "attn_k": 1024, "attn_v": 1024, "attn_output": 8192, "ffn_up": 28672, "ffn_gate": 28672}
    tensors = [(f"blk.{layer}.{name}.weight", (8192, rows)) for layer in layers for name, rows in matrices.items()]
    tensors += [(f"blk.{layer}.ffn_down.weight", (28672, 8192)) for layer in layers]
    tensors += [("token_embd.weight", (8192, 32000)), ("output.weight", (8192, 32000))] if ends else []
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(numbers) + 1)
    head += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    for name, number in numbers.items():
        head += text(f"llama.{name}") + struct.pack("<II", 4, number)
    at = 0
    for name, shape in tensors:
        head += text(name) + struct.pack("<IQQIQ", 2, *shape, 1, at)
        at += 2 * shape[0] * shape[1]
    return head


def parts_of_large_model() -> dict[str, bytes]:
    """The same in three files, of which the first has only two layers."""
    parts = (range(2), range(2, 40), range(40, 80))
    return {
        f"F16/large-F16-0000{number}-of-00003.gguf": header_of_large_model(layers, ends=number == 1) + bytes(1 << 20)
        for number, layers in enumerate(parts, 1)
    }


def test_fit_of_a_model_in_parts_adds_them_up(hub: HubServer, tmp_path: Path) -> None:
    """The size of a model that is split over several files is that of all of them, on the hub and on the disk."""
    parts = parts_of_large_model()
    hub.add("org/whole-GGUF", {"large-F16.gguf": header_of_large_model() + bytes(1 << 20)})
    hub.add("org/parts-GGUF", parts)
    for name, data in parts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    folder = tmp_path / "F16"
    asked = ("org/whole-GGUF:F16", "org/parts-GGUF:F16", str(folder), str(folder / next(iter(parts)).partition("/")[2]))
    answers = [json.loads(run(name, "--board", "agx-thor", "--json")[1]) for name in asked]
    (weights,) = {answer["weights_bytes"] for answer in answers}
    assert weights > 120 * 2**30


def test_fit_of_a_model_in_parts_names_what_is_missing(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of which a part was not uploaded is refused, by `chat` too."""
    hub.add("org/parts-GGUF", dict(list(parts_of_large_model().items())[:2]))
    for words in (("fit",), ("chat", "--prompt", "hi", "--dry-run")):
        assert main.main(["llm", *words, "org/parts-GGUF:F16", "--board", "agx-thor", "--target", "r38.2.0"]) == 2
        assert "one of 3 files, of which 2 are here" in "".join(capsys.readouterr())


@pytest.mark.parametrize("command", [("llm", "fit"), ("llm", "chat", "--prompt", "hi"), ("llm", "serve")])
def test_fit_chat_and_serve_refuse_a_gguf_file_of_the_hub_before_they_fetch_it(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """The header is enough to see that a file is too large: exit 2, and nothing of it is kept."""
    hub.add("org/large-GGUF", parts_of_large_model())
    argv = [*command, "org/large-GGUF:F16", "--board", "orin-nx-16gb", "--target", "r36.4.3", "--runtime", "llama_cpp"]
    assert main.main(argv) == 2
    assert "more memory" in "".join(capsys.readouterr())
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


@pytest.mark.parametrize("command", [("llm", "fit"), ("llm", "chat", "--prompt", "hi", "--dry-run")])
@pytest.mark.parametrize(("name", "asked"), [("tiny-UD-Q4_K_XL", "UD-Q4_K_XL"), ("tiny-IQ4_XS", "iq4_xs")])
def test_fit_and_chat_take_a_file_by_what_its_name_says(
    hub: HubServer, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], name: str, asked: str
) -> None:
    """A quantization that chooses a file by its name is no other one than the header's, which says Q8_0."""
    hub.add("org/tiny-GGUF", {f"{name}.gguf": GGUF.read_bytes() + bytes(3 << 20), "tiny-Q2_K.gguf": b"GGUF"})
    argv = [*command, f"org/tiny-GGUF:{asked}", "--board", "orin-nx-16gb", "--target", "r36.4.3", "--json"]
    assert main.main(argv) == 0, capsys.readouterr()
    assert name.removeprefix("tiny-") in json.dumps(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("runtime", ["vllm", "transformers", "llama_cpp", "mlc"])
def test_chat_makes_the_test_model_where_it_is_not_here(
    hub: HubServer, capsys: pytest.CaptureFixture[str], runtime: str
) -> None:
    """The test model is made also for runtimes that load it as it is."""
    argv = ["llm", "chat", "tiny", "--prompt", "hi", "--dry-run", "--json", "--target", "r36.4.3", "--runtime", runtime]
    assert main.main(argv) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert (steps[0]["name"], steps[0]["state"]) == ("make", "run")


@pytest.mark.parametrize("runtime", ["vllm", "transformers", "llama_cpp", "mlc", "gguf"])
def test_chat_fetches_weights_that_are_not_here(
    hub: HubServer, capsys: pytest.CaptureFixture[str], runtime: str
) -> None:
    """The first step brings the weights, whether they are converted or loaded as they are."""
    small = {**dict(LLAMA), "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128}
    hub.add("org/plain", {"config.json": json.dumps(small).encode(), "model.safetensors": b"1" * 5000})
    hub.add("org/tiny-GGUF", {"tiny-Q8_0.gguf": GGUF.read_bytes() + bytes(3 << 20)})
    name = "org/tiny-GGUF" if runtime == "gguf" else "org/plain"
    argv = ["llm", "chat", name, "--prompt", "hi", "--dry-run", "--json", "--target", "r36.4.3", "--anyway"]
    assert main.main([*argv, *([] if runtime == "gguf" else ["--runtime", runtime])]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert (steps[0]["name"], steps[0]["state"]) == ("download", "run")


SMALL = {**dict(LLAMA), "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}


def in_parts(*numbers: int) -> dict[str, bytes]:
    """Parts of a checkpoint of three."""
    return {f"model-0000{number}-of-00003.safetensors": bytes(5000) for number in numbers}


@pytest.mark.parametrize("command", [("fit",), ("chat", "--prompt", "hi", "--dry-run")])
@pytest.mark.parametrize(
    ("files", "words"),
    [
        (in_parts(1, 3), "has 2 of the 3 files of its weights: model-00002-of-00003.safetensors is missing"),
        ({"onnx/model.onnx": b"1" * 5000}, "has no weights in a supported format: onnx/model.onnx"),
        ({"config.json": b'{"model_type": "llama", ', "model.safetensors": b"1"}, "config.json cannot be read"),
    ],
)
def test_fit_and_chat_refuse_a_repository_that_nothing_loads(
    hub: HubServer, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], files: dict[str, bytes], words: str
) -> None:
    """A missing part, another format or a broken configuration: both commands end with 2 and the reason."""
    hub.add("org/odd", {"config.json": json.dumps(SMALL).encode(), **files})
    assert main.main(["llm", *command, "org/odd", "--board", "orin-nx-16gb", "--target", "r36.4.3"]) == 2
    assert words in "".join(capsys.readouterr())


def test_fit_of_a_compiled_repository_reads_its_configuration(hub: HubServer) -> None:
    """What MLC made is weighed on the hub by its own configuration, for MLC alone."""
    config = {"model_type": "llama", "quantization": "q4f16_1", "model_config": SMALL}
    hub.add("org/m-q4f16_1-MLC", {"mlc-chat-config.json": json.dumps(config).encode(), "params_shard_0.bin": b"1"})
    code, out = run("org/m-q4f16_1-MLC", "--board", "orin-nx-16gb", "--json")
    assert (code, json.loads(out)["runtime"], json.loads(out)["quantization"]) == (0, "mlc", "q4f16_1")


@pytest.mark.parametrize(
    ("target", "runtime"),
    [("agx-orin-64gb,r36.4.3", "vllm"), ("agx-thor", "vllm"), ("agx-orin-32gb,r35.4.1", "lmdeploy")],
)
def test_fit_and_chat_take_the_same_runtime_for_a_quantized_checkpoint(
    hub: HubServer, capsys: pytest.CaptureFixture[str], target: str, runtime: str
) -> None:
    """AWQ weights go to what reads them on the board; what needs another package in its image is not offered."""
    config = {**dict(LLAMA), "quantization_config": AWQ}
    hub.add("org/awq", {"config.json": json.dumps(config).encode(), "model.safetensors": b"1"})
    assert main.main(["--target", target, "--json", "llm", "fit", "org/awq"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["runtime"] == runtime
    reasons = {each["runtime"]: each["reason"] for each in answer["alternatives"]}
    assert "only in an image with gptqmodel" in reasons["transformers"]
    assert main.main(["--target", target, "--json", "llm", "chat", "org/awq", "--prompt", "hi", "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["runtime"] == runtime


def test_chat_names_a_runtime_that_loads_the_checkpoint_where_the_one_asked_for_is_missing(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hint of a runtime that the release lacks is about this model: llama.cpp does not read AWQ."""
    config = {**dict(LLAMA), "quantization_config": AWQ}
    hub.add("org/awq", {"config.json": json.dumps(config).encode(), "model.safetensors": b"1"})
    argv = ["--target", "r35.4.1", "llm", "chat", "org/awq", "--runtime", "vllm", "--prompt", "hi", "--dry-run"]
    assert main.main(argv) == 2
    assert "hint: possible: --runtime lmdeploy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "files", "words"),
    [
        ({"model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"]}, (), "an embedding model"),
        ({"architectures": ["LlamaForSequenceClassification"]}, (), "a reranker or classifier"),
        ({}, ("modules.json", "1_Pooling/config.json"), "an embedding model"),
    ],
)
def test_chat_refuses_and_fit_names_a_model_that_writes_no_text(
    hub: HubServer, capsys: pytest.CaptureFixture[str], config: dict[str, Any], files: tuple[str, ...], words: str
) -> None:
    """Embedding models and rerankers are weighed, but nobody can chat with them."""
    named = {"config.json": json.dumps({**SMALL, **config}).encode(), "model.safetensors": b"1" * 5000}
    hub.add("org/silent", {**named, **dict.fromkeys(files, b"[]")})
    assert main.main(["llm", "fit", "org/silent", "--board", "orin-nx-16gb"]) == 0
    assert words in " ".join(capsys.readouterr().out.split())
    argv = ["llm", "chat", "org/silent", "--prompt", "hi", "--dry-run", "--target", "r36.4.3"]
    assert main.main(argv) == 2
    assert f"silent is {words}, which writes no text" in capsys.readouterr().err
    assert main.main([*argv, "--anyway"]) == 0


@pytest.mark.parametrize("page", ["blob/main/config.json", "resolve/main/model.safetensors?download=true"])
def test_chat_takes_the_whole_repository_of_a_file_that_is_part_of_a_checkpoint(
    hub: HubServer, capsys: pytest.CaptureFixture[str], page: str
) -> None:
    """The address of one file of a checkpoint fetches all of them: one alone cannot be converted."""
    hub.add("org/plain", {"config.json": json.dumps(SMALL).encode(), "model.safetensors": b"1" * 5000})
    argv = [
        "llm",
        "chat",
        f"https://huggingface.co/org/plain/{page}",
        "--prompt",
        "hi",
        "--dry-run",
        "--json",
        "--anyway",
    ]
    assert main.main([*argv, "--target", "r36.4.3"]) == 0
    fetch = json.loads(capsys.readouterr().out)["steps"][0]["argv"]
    assert fetch[-1].partition("@")[0] == "org/plain"
    assert "/" not in fetch[-1].partition("@")[2]


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("org/tiny-GGUF:Q4_K_M", "tiny-Q4_K_M.gguf"),
        ("org/tiny-GGUF:UD-Q4_K_M", "UD/tiny-UD-Q4_K_M.gguf"),
        ("https://huggingface.co/org/tiny-GGUF/tree/main/UD", "UD/tiny-UD-Q4_K_M.gguf"),
    ],
)
def test_chat_takes_the_gguf_file_that_is_meant(
    hub: HubServer, capsys: pytest.CaptureFixture[str], name: str, taken: str
) -> None:
    """Of a plain and a dynamic file with a quantization each has its own name, and a folder means the file in it."""
    data = GGUF.read_bytes() + bytes(3 << 20)
    hub.add("org/tiny-GGUF", {"tiny-Q4_K_M.gguf": data, "UD/tiny-UD-Q4_K_M.gguf": data, "tiny-Q8_0.gguf": data})
    argv = ["llm", "chat", name, "--prompt", "hi", "--dry-run", "--json", "--target", "orin-nx-16gb,r36.4.3"]
    assert main.main(argv) == 0
    assert json.loads(capsys.readouterr().out)["steps"][0]["argv"][-1].endswith(f"/{taken}")
    assert main.main(["llm", "fit", name, "--board", "orin-nx-16gb"]) == 0


@pytest.mark.parametrize("header", [b"GGUF", b"PK" + bytes(5000), GGUF.read_bytes()[:300]])
def test_fit_of_a_damaged_gguf_file_on_the_hub_names_it(hub: HubServer, header: bytes) -> None:
    """A file on the hub that is none is named."""
    hub.add("org/files", {"model-Q4_K_M.gguf": header, "README.md": b"x"})
    with pytest.raises(UsageError, match=r"org/files/model-Q4_K_M\.gguf"):
        run("org/files", "--board", "orin-nx-16gb")


# Which machine -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "memory"), [("orin-nx-16gb-r36.4.0", None), ("xavier-nx-8gb-r35.4.1", None), ("x86_64-debian12-cpu", None)]
)
def test_fit_without_a_board_is_about_this_machine(host: str, memory: None) -> None:
    """Without a board the question is about this machine."""
    platform = detect.detect(HOSTS / host)
    machine = query.machine_for(FitQuestion(), lambda: platform, HOSTS / host)
    assert machine.memory == platform.memory
    assert machine.l4t == ((platform.l4t.major,) if platform.l4t else ())
    assert machine.notes == ()


def test_fit_target_is_a_machine_too() -> None:
    """A target is a machine too."""
    platform = detect.parse_target("orin-nano-8gb,r36.4.3")
    machine = query.machine_for(FitQuestion(), lambda: platform, Path("/nowhere"))
    assert (machine.id, machine.l4t, machine.memory) == ("orin-nano-8gb", (36,), 7475 << 20)


def test_fit_board_asks_nothing_of_this_machine() -> None:
    """A board asks nothing of this machine."""

    def forbidden() -> Platform:
        raise AssertionError("the platform was asked")

    machine = query.machine_for(FitQuestion(board="nano", swap=4), forbidden, Path("/"))
    assert (machine.id, machine.swap) == ("nano-4gb", 4 * GIB)


def test_fit_measures_a_graphics_card_by_its_own_memory() -> None:
    """A graphics card is measured by its own memory."""
    platform = detect.detect(HOSTS / "x86_64-nvidia")
    here = cards.Card(name="GeForce RTX 4090", memory=24 * GIB, bandwidth=1008e9)
    machine = query.machine_for(FitQuestion(), lambda: platform, Path("/nowhere"), lambda: here)
    assert (machine.discrete, machine.memory, machine.bandwidth) == (True, 24 * GIB, 1008e9)
    smaller = query.machine_for(FitQuestion(vram=8), lambda: platform, Path("/nowhere"), lambda: here)
    assert (smaller.memory, smaller.bandwidth) == (8 * GIB, 1008e9)
    alone = query.machine_for(FitQuestion(vram=8), lambda: platform, Path("/nowhere"), lambda: None)
    assert (alone.id, alone.memory, alone.bandwidth) == ("graphics card", 8 * GIB, None)
    with pytest.raises(UsageError, match="memory of the graphics card is unknown"):
        query.machine_for(FitQuestion(), lambda: platform, Path("/nowhere"), lambda: None)


def test_fit_target_without_a_board_has_no_memory() -> None:
    """A target without a board has no memory."""
    with pytest.raises(UsageError, match="does not specify a board"):
        query.machine_for(FitQuestion(), lambda: detect.parse_target("r36.4.3"), Path("/nowhere"))


def test_fit_counts_only_swap_on_a_disk(tmp_path: Path) -> None:
    """Only swap on a disk counts."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text(
        "Filename Type Size Used Priority\n/dev/zram0 partition 1000 0 5\n/swapfile file 2048 0 -2\n"
    )
    assert query.disk_swap(tmp_path) == 2048 * 1024
    assert query.disk_swap(tmp_path / "nowhere") == 0


def test_fit_baseline_can_be_what_is_in_use_now(tmp_path: Path) -> None:
    """What is in use now can be the baseline."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 12000000 kB\n")
    platform = detect.detect(HOSTS / "orin-nx-16gb-r36.4.0")
    question = FitQuestion(runtime="mlc", baseline="now")
    machine = query.machine_for(question, lambda: platform, tmp_path)
    answer = query.answer(lookup.find_shape("Llama-2-7b-chat-hf", no_hub), machine, question)
    assert answer.best.baseline_bytes == pytest.approx(4000000 * 1024, rel=0.001)
    with pytest.raises(UsageError, match="measures this machine"):
        ask("Llama-2-7b-chat-hf", baseline="now")


# The answer ----------------------------------------------------------------------------------------------------------


def test_fit_lists_all_runtimes_the_best_first() -> None:
    """All runtimes are listed, the best first."""
    answer = ask("Llama-2-7b-chat-hf")
    assert {each.runtime for each in answer.fits} == set(fit.advice.constants.runtimes())
    verdicts = [each.verdict for each in answer.fits]
    assert verdicts == sorted(verdicts, key=query._ORDER.index)
    assert answer.best.runtime == "llama_cpp"  # which `chat` takes
    fast = [each.decode_tokens_per_s or 0 for each in answer.fits[1:] if each.verdict is FitVerdict.FITS]
    assert fast == sorted(fast, reverse=True)


def test_fit_lists_all_quantizations_when_asked_for() -> None:
    """All quantizations are listed when asked for."""
    answer = ask("Llama-2-7b-chat-hf", runtime="llama_cpp", every_quantization=True)
    assert len(answer.fits) == 18
    named = ask("Llama-2-7b-chat-hf", quantization="int4")
    assert {each.runtime for each in named.fits} == {"gptq", "awq"}
    with pytest.raises(UsageError, match="no runtime has a quantization `q99`"):
        ask("Llama-2-7b-chat-hf", quantization="q99")


def test_fit_json_has_the_keys_that_scripts_rely_on() -> None:
    """The JSON has the keys that scripts rely on."""
    code, out = run("Llama-2-7b-chat-hf", "--board", "orin-nx-16gb", "--runtime", "transformers", "--json")
    data = json.loads(out)
    assert code == 0
    assert [key for key in KEYS if key not in data] == []
    assert (data["model"], data["fits"], data["context"]) == ("meta-llama/Llama-2-7b-chat-hf", False, 4096)
    assert data["advice"][0] == "--runtime lmdeploy"
    parts = ("weights_bytes", "kv_bytes", "activation_bytes", "runtime_bytes", "baseline_bytes")
    assert sum(data[part] for part in parts) == pytest.approx(data["total_bytes"], abs=8)


def test_fit_text_is_a_verdict_a_breakdown_and_options_to_type() -> None:
    """The text is a verdict, a breakdown and what to type."""
    code, out = run("Llama-2-7b-chat-hf", "--board", "orin-nano-8gb", "--runtime", "mlc", "--context", "4096")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == (
        "does not fit: Llama-2-7b-chat-hf with mlc q4f16_1, 4096 tokens on orin-nano-8gb: 7.8 GiB of 7.0 GiB, "
        "about 16 tokens/s"
    )
    assert [line.split()[0] for line in lines[2:7]] == ["weights", "KV", "buffers", "runtime", "system"]
    start = lines.index("what fits:")
    assert lines[start + 1].split()[:2] == ["--context", "2048"]


@pytest.mark.parametrize("model", ["Llama-2-7b-chat-hf", "Meta-Llama-3.1-8B-Instruct", "Phi-3.5-mini-instruct"])
@pytest.mark.parametrize("runtime", ["mlc", "llama_cpp", "vllm", "lmdeploy"])
def test_fit_advice_can_be_typed_and_then_fits(model: str, runtime: str) -> None:
    """Advice can be typed and then fits."""
    asked = ["--board", "orin-nano-8gb", "--runtime", runtime, "--context", "8192", "--json"]
    _, out = run(model, *asked)
    data = json.loads(out)
    assert data["advice"] or data["verdict"] == "fits"
    for advice in data["advice"]:
        _, again = run(model, *asked, *advice.split())
        assert json.loads(again)["fits"], advice


def test_fit_shows_a_table_without_a_runtime() -> None:
    """A table is shown without a runtime."""
    code, out = run("Qwen2.5-1.5B-Instruct", "--board", "xavier-nx-8gb")
    assert code == 0
    assert "impossible" in out
    asks = "details: `jetson-containers llm fit Qwen2.5-1.5B-Instruct --board xavier-nx-8gb --runtime "
    assert out.splitlines()[-1].startswith(asks)


@pytest.mark.parametrize("runtime", [(), ("--runtime", "llama_cpp")])
def test_fit_gives_no_speed_to_what_cannot_run(runtime: tuple[str, ...]) -> None:
    """What cannot run is given no speed."""
    _, out = run("Qwen2.5-1.5B-Instruct", "--board", "nano-4gb", *runtime)
    about_it, _, _ = out.partition("what fits:")
    assert about_it.startswith("impossible: ")
    assert not re.search(r"\d tokens/s", about_it)


def test_fit_of_a_gguf_file_of_an_unknown_mixture_keeps_its_name() -> None:
    """A GGUF file of an unknown mixture keeps its name."""
    source = replace(lookup.find_shape(str(GGUF), no_hub), quantization="Q9_X")
    answer = query.answer(source, of_board(board_named("orin-nx-16gb")), FitQuestion())
    assert (answer.best.quantization, answer.best.weights_bytes) == ("Q9_X", 28288)


def test_fit_of_a_gguf_file_counts_the_tensors_in_its_directory() -> None:
    """A GGUF file is predicted by its own directory of tensors."""
    answer = ask(str(GGUF))
    assert (answer.best.weights_bytes, answer.best.steps, answer.best.quantization) == (28288, (), "Q8_0")


@pytest.mark.parametrize("name", ["orin-nano-8gb", "Jetson Orin Nano 8GB", "ORIN_NANO_8GB", "orin nano 8 gb"])
def test_board_named_ignores_case_blanks_and_the_maker(name: str) -> None:
    """A board is found as people write it."""
    assert board_named(name).id == "orin-nano-8gb"


def test_fit_ranks_quality_before_speed_and_what_chat_takes_first() -> None:
    """Nobody is offered two bits first: the default of `chat` leads, then four bits and more, then fewer."""
    answer = ask("Llama-2-7b-chat-hf", every_quantization=True)
    assert (answer.best.runtime, answer.best.quantization) == ("llama_cpp", "Q4_K_M")
    fitting = [fit for fit in answer.fits if fit.verdict is FitVerdict.FITS]
    steps = [quality(fit.quantization) for fit in fitting]
    assert steps == sorted(steps)
    assert {0, 1, 2} <= set(steps)


def test_fit_that_does_not_fit_has_exit_code_two_and_three_for_all() -> None:
    """As `chat` and `serve`: 2; where no quantization of any runtime fits: 3."""
    codes = []
    for argv in (
        ["Llama-2-70b-chat-hf", "--board", "orin-nano-8gb"],
        ["Llama-2-70b-chat-hf", "--board", "orin-nano-8gb", "--all"],
        ["Llama-2-7b-chat-hf", "--board", "orin-nx-16gb", "--all"],
    ):
        done = CliRunner().invoke(llm_fit.fit, argv, obj=App(), catch_exceptions=False, standalone_mode=False)
        codes.append(done.return_value)
    assert codes == [2, 3, 0]


@pytest.mark.parametrize("command", ["fit", "chat"])
@pytest.mark.parametrize(
    "name", ["org/plain/absent.safetensors", "org/plain/absent.gguf", "hf://org/plain@main/absent"]
)
def test_fit_and_chat_refuse_a_file_that_the_repository_lacks(
    hub: HubServer, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    """A name of a file that is not there is no reason to weigh the repository."""
    hub.add("org/plain", {"config.json": json.dumps({**dict(LLAMA)}).encode(), "model.safetensors": b"1"})
    more = ["--board", "orin-nx-16gb"] if command == "fit" else ["--prompt", "x", "--dry-run", "--target", "r36.4.3"]
    assert main.main(["llm", command, name, *more]) == 2
    assert f"`org/plain` has no file `{name.rpartition('/')[2]}`" in capsys.readouterr().err


def test_fit_takes_a_file_that_the_repository_has(hub: HubServer) -> None:
    """A file of a checkpoint means the repository; the page that shows a GGUF file means that file."""
    hub.add("org/plain", {"config.json": json.dumps({**dict(LLAMA)}).encode(), "model.safetensors": b"1"})
    hub.add("org/plain-GGUF", {f"m-{name}.gguf": GGUF.read_bytes() for name in ("Q4_K_M", "Q6_K")})
    assert run("org/plain/model.safetensors", "--board", "orin-nx-16gb")[0] == 0
    page = "https://huggingface.co/org/plain-GGUF?show_file_info=m-Q6_K.gguf"
    assert run(page, "--board", "orin-nx-16gb", "--json")[0] == 0
    assert run("org/plain-GGUF:q6-k", "--board", "orin-nx-16gb")[0] == 0
    with pytest.raises(UsageError, match="no GGUF file with Q5_K_M"):
        run("org/plain-GGUF:q5-k-m", "--board", "orin-nx-16gb")


def test_fit_and_chat_show_the_same_memory(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Both say the least that is needed, and what a runtime takes that reserves more."""
    hub.add("org/plain", {"config.json": json.dumps({**dict(LLAMA)}).encode(), "model.safetensors": b"1"})
    where = ["--target", "agx-orin-64gb,r36.4.3", "llm"]
    assert main.main([*where, "fit", "org/plain", "--runtime", "vllm"]) == 0
    said = re.search(r"[0-9.]+ GiB of [0-9.]+ GiB \([0-9.]+ GiB with what vllm reserves\)", capsys.readouterr().out)
    assert said is not None
    assert main.main([*where, "chat", "org/plain", "--runtime", "vllm", "--prompt", "x", "--dry-run"]) == 0
    assert f"fit: {said.group()} on agx-orin-64gb" in capsys.readouterr().err
