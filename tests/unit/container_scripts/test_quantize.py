"""The programs that quantize and convert inside images, with stand-ins for the libraries that only images hold.

What the real libraries make of the same calls is for `tests/real`.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.driver_images import OURS, PROGRAMS, SCRIPTS_DIR, Images, Recorder, Tokenizer, images, save
from tests.unit.llm import test_runtimes as commands

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def image(monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    yield from images(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    source = tmp_path / "model"
    source.mkdir()
    files = {
        "config.json": "{}", "tokenizer.json": "T", "tokenizer.model": "M", "chat_template.jinja": "J",
        "modeling_x.py": "P", "model.safetensors": "W", "pytorch_model.bin": "W", "README.md": "R",
        "model.safetensors.index.json": "I", "generation_config.json": "G",
    }  # fmt: skip
    for name, text in files.items():
        (source / name).write_text(text)
    return source


# All of them --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_drivers_are_python_3_8_and_import_libraries_late(name: str) -> None:
    """A driver is Python 3.8 and imports nothing heavy by itself."""
    tree = ast.parse((SCRIPTS_DIR / f"{name}.py").read_text(encoding="utf-8"), feature_version=(3, 8))
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    imported = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in imported} <= {*sys.stdlib_module_names, *OURS}


@pytest.mark.parametrize("name", PROGRAMS)
def test_drivers_print_help_without_their_library(
    name: str, image: Images, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver prints its help without its library."""
    words = ["--help", "--"] if name == "lmdeploy_awq" else ["--help"]
    with pytest.raises(SystemExit) as ended:
        sys.exit(image.driver(name).main(words))
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


class ParsedError(Exception):
    pass


def test_drivers_understand_each_command_of_the_runtimes(image: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the runtimes is understood by its driver."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        parse(self, *args, **kwargs)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    seen = set()
    for argv in all_commands():
        if argv[0] == "python3":
            seen.add(Path(argv[1]).stem)
            if Path(argv[1]).stem == "with_key":  # its words are the other program's
                assert argv[3] == "--"
                continue
            with pytest.raises(ParsedError):
                image.driver(Path(argv[1]).stem).main(list(argv[2:]))
    assert seen == set(PROGRAMS)


@cache
def all_commands() -> tuple[tuple[str, ...], ...]:
    key = commands.ServeOptions(port=8000, api_key=True, threads=2)
    old = commands.Target(platform=commands.board("orin-nx-jp6"), versions={"auto_awq": "0.2.9"})
    jobs = [commands.job(model, place) for model in list(commands.MODELS)[:3] for place in commands.BOARDS]
    found: list[tuple[str, ...]] = []
    for job in [*jobs, commands.job(target=old), commands.job(samples=9, calibration="/data/x.txt")]:
        for runtime in commands.RUNTIMES.values():
            if runtime.check(job).ok:
                found += [*(step.argv for step in runtime.steps(job)), runtime.serve(job, key).argv]
    return tuple(found)


# What their own `--help` lists (lmdeploy 0.2.5 and 0.16.0, vllm 0.19 to 0.28), as far as it is used.
OPTIONS = {
    ("lmdeploy", "lite", "auto_awq"): "--work-dir --calib-dataset --calib-samples --calib-seqlen --batch-size "
    "--search-scale --dtype --trust-remote-code --device --w-bits --w-sym --w-group-size --revision --download-dir",
    ("lmdeploy", "convert"): "--model-format --tp --tokenizer-path --dst-path --quant-path --group-size",
    ("lmdeploy", "serve", "api_server"): "--backend --model-format --model-name --server-name --server-port "
    "--session-len --cache-max-entry-count --max-batch-size --max-prefill-token-num --chat-template "
    "--trust-remote-code --api-keys",
    ("vllm", "serve"): "--served-model-name --host --port --gpu-memory-utilization --max-model-len --max-num-seqs "
    "--max-num-batched-tokens --dtype --quantization --enforce-eager --trust-remote-code",
}


def test_programs_of_images_get_only_options_they_document() -> None:
    """Programs of other projects get only options that they document."""
    seen = set()
    for argv in all_commands():
        words = argv[argv.index("--") + 1 :] if "--" in argv else argv
        for program, options in OPTIONS.items():
            if words[: len(program)] == program:
                seen.add(program)
                assert {word for word in words if word.startswith("--")} <= set(options.split()), words
    assert seen == set(OPTIONS)


# Calibration --------------------------------------------------------------------------------------------------------


def test_calibration_rows_of_the_builtin_text_never_change(image: Images) -> None:
    """The text that is always there gives rows that never change."""
    calibration = image.driver("calibration")
    rows = calibration.rows(Tokenizer(), "builtin", 5, 64)
    assert [len(row) for row in rows] == [64] * 5
    assert rows == calibration.rows(Tokenizer(), "builtin", 5, 64)
    assert len({tuple(row) for row in rows}) == 5
    assert len(calibration.read("builtin")) > 300_000


def test_calibration_text_may_be_a_file(image: Images, tmp_path: Path) -> None:
    """A text file replaces the built-in text."""
    calibration = image.driver("calibration")
    plain, lines = tmp_path / "a.txt", tmp_path / "a.jsonl"
    plain.write_text("one three five")
    lines.write_text('{"text": "one"}\n\n{"text": "three five"}\n')
    assert calibration.rows(Tokenizer(), str(plain), 2, 3) == [[3, 5, 4]] * 2
    assert calibration.rows(Tokenizer(), str(lines), 1, 3) == [[3, 5, 4]]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nothing", "no calibration text `nothing`"),
        ("{short}", "one sample needs 64"),
        ("wikitext2", "needs the package `datasets`"),
    ],
)
def test_calibration_text_that_is_missing_is_an_error(image: Images, tmp_path: Path, source: str, words: str) -> None:
    """A text that is missing or too short is an error."""
    short = tmp_path / "short.txt"
    short.write_text("too short")
    image.monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SystemExit, match=words):
        image.driver("calibration").rows(Tokenizer(), source.format(short=short), 1, 64)


def test_calibration_reads_no_more_of_a_dataset_than_needed(image: Images) -> None:
    """Of a dataset no more is read than is needed."""
    read = []

    def entries() -> Iterator[dict[str, str]]:
        for number in range(1000):
            read.append(number)
            yield {"text": "word " * 100}

    calls = []
    image.holds("datasets", load_dataset=lambda *args, **kwargs: calls.append((args, kwargs)) or entries())
    rows = image.driver("calibration").rows(Tokenizer(), "wikitext2", 2, 50)
    assert len(rows) == 2
    assert len(read) <= 3
    assert calls[0][0] == ("Salesforce/wikitext", "wikitext-2-raw-v1")
    assert calls[0][1]["streaming"] is True


# Checkpoints --------------------------------------------------------------------------------------------------------


def test_checkpoint_gets_the_missing_files_of_its_source(image: Images, model: Path, tmp_path: Path) -> None:
    """All but weights and configuration is copied where it is missing."""
    output = tmp_path / "out"
    save(str(output), "gptq")
    (output / "tokenizer.json").write_text("its own")
    image.driver("checkpoint").complete(str(model), str(output))
    assert sorted(path.name for path in output.iterdir()) == [
        "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "modeling_x.py",
        "tokenizer.json", "tokenizer.model",
    ]  # fmt: skip
    assert (output / "tokenizer.json").read_text() == "its own"
    assert (output / "model.safetensors").read_bytes() == b"12345678"


@pytest.mark.parametrize(("method", "words"), [("", "nothing instead of gptq"), ("awq", "awq instead of gptq")])
def test_checkpoint_saved_unquantized_is_an_error(image: Images, tmp_path: Path, method: str, words: str) -> None:
    """A model that was saved as it was is an error."""
    save(str(tmp_path / "out"), method)
    with pytest.raises(SystemExit, match=words):
        image.driver("checkpoint").verify(str(tmp_path / "out"), "gptq")


@pytest.mark.parametrize(("version", "name"), [("4.46.3", "torch_dtype"), ("4.57.6", "dtype"), ("5.13.1", "dtype")])
def test_checkpoint_dtype_argument_follows_the_version_of_transformers(image: Images, version: str, name: str) -> None:
    """The argument for the type of the weights has the name of the version."""
    image.holds("transformers", __version__=version)
    assert image.driver("checkpoint").loaded_as("x") == {name: "x"}


# Quantizers ---------------------------------------------------------------------------------------------------------


def torch(image: Images, **members: object) -> ModuleType:
    return image.holds(
        "torch",
        float16="float16",
        bfloat16="bfloat16",
        long="long",
        tensor=lambda rows: rows,
        ones=lambda *_, **__: "ones",
        **members,
    )


@pytest.mark.parametrize(
    ("cores", "said", "expected"),
    [(1, None, "2"), (2, None, "2"), (3, None, None), (None, None, "2"), (2, "4", "4")],
    ids=["one core", "two", "three are enough", "unknown", "the user's word counts"],
)
def test_gptqmodel_has_at_least_two_workers(
    image: Images, monkeypatch: pytest.MonkeyPatch, cores: int | None, said: str | None, expected: str | None
) -> None:
    """GPTQModel has at least two workers."""
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setenv("GPTQMODEL_CPU_WORKERS", said or "")
    if said is None:
        monkeypatch.delenv("GPTQMODEL_CPU_WORKERS")
    image.driver("gptq_workers").enough()
    assert os.environ.get("GPTQMODEL_CPU_WORKERS") == expected


def test_gptqmodel_quantizes_on_text_and_removes_temporary_files(image: Images, model: Path, tmp_path: Path) -> None:
    """GPTQModel quantizes on text and leaves nothing behind."""
    library = Recorder("gptq")
    spare: list[Path] = []

    def config(**words: Any) -> dict[str, Any]:
        spare.append(Path(words.pop("offload_to_disk_path")))
        assert spare[0].is_dir()
        return words

    image.holds("transformers", AutoTokenizer=Tokenizer)
    image.holds(
        "gptqmodel",
        GPTQModel=SimpleNamespace(load=library.takes("load")),
        QuantizeConfig=config,
        AWQConfig=None,
        BACKEND=None,
    )
    output = str(tmp_path / "out")
    argv = [
        str(model),
        output,
        "--bits",
        "8",
        "--group-size",
        "32",
        "--samples",
        "3",
        "--length",
        "16",
        "--device",
        "cpu",
    ]
    assert image.driver("gptq_quantize").main(argv) == 0
    assert library.calls["load"][0][1] == {"bits": 8, "group_size": 32, "desc_act": False}
    assert library.calls["load"][1] == {"device": "cpu", "trust_remote_code": False}
    examples = library.calls["quantize"][0][0]
    assert [len(example["input_ids"]) for example in examples] == [16] * 3
    assert spare[0].parent == tmp_path  # the disk of the output, not /tmp of the container
    assert not spare[0].exists()
    assert (tmp_path / "out" / "tokenizer.json").read_text() == "T"


def test_gptqmodel_makes_awq_checkpoints_too(
    image: Images, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GPTQModel makes AWQ checkpoints too."""
    library = Recorder("awq")
    image.holds("transformers", AutoTokenizer=Tokenizer)
    load = SimpleNamespace(load=library.takes("load"))
    kernels = SimpleNamespace(AWQ_TORCH="torch")
    config = lambda **words: sorted(words)  # noqa: E731
    image.holds("gptqmodel", GPTQModel=load, QuantizeConfig=None, AWQConfig=config, BACKEND=kernels)
    argv = [str(model), str(tmp_path / "out"), "--method", "awq", "--samples", "2", "--length", "8"]
    assert image.driver("gptq_quantize").main(argv) == 0
    assert library.calls["load"][0][1] == ["bits", "group_size", "offload_to_disk_path"]
    assert library.calls["quantize"][1] == {"batch_size": 1}
    assert image.driver("gptq_quantize").main([*argv, "--device", "cpu"]) == 0
    assert library.calls["quantize"][1] == {"batch_size": 1, "backend": "torch"}
    with pytest.raises(SystemExit):
        image.driver("gptq_quantize").main([*argv, "--bits", "8"])
    assert "AWQ has 4 bits" in capsys.readouterr().err


def test_auto_gptq_gets_examples_in_the_memory_of_the_host(image: Images, model: Path, tmp_path: Path) -> None:
    """AutoGPTQ gets examples which stay in the host's memory."""
    library = Recorder("gptq")
    torch(image)
    image.holds("transformers", AutoTokenizer=Tokenizer)
    made = SimpleNamespace(from_pretrained=library.takes("from_pretrained"))
    image.holds("auto_gptq", AutoGPTQForCausalLM=made, BaseQuantizeConfig=dict)
    argv = [str(model), str(tmp_path / "out"), "--library", "auto_gptq", "--samples", "2", "--length", "8"]
    assert image.driver("gptq_quantize").main(argv) == 0
    assert library.calls["from_pretrained"][0][1] == {"bits": 4, "group_size": 128, "desc_act": False}
    examples, words = library.calls["quantize"][0][0], library.calls["quantize"][1]
    assert [len(example["input_ids"][0]) for example in examples] == [8, 8]
    assert words == {"batch_size": 1, "use_triton": False, "cache_examples_on_gpu": False}
    assert library.calls["save"][1] == {"use_safetensors": True}


def test_autoawq_gets_its_configuration_and_rows_of_tokens(image: Images, model: Path, tmp_path: Path) -> None:
    """AutoAWQ gets its configuration and rows of tokens."""
    library = Recorder("awq")
    image.holds("transformers", AutoTokenizer=Tokenizer)
    image.holds("awq", AutoAWQForCausalLM=SimpleNamespace(from_pretrained=library.takes("from_pretrained")))
    argv = [str(model), str(tmp_path / "out"), "--samples", "2", "--length", "8", "--trust-remote-code"]
    assert image.driver("awq_quantize").main(argv) == 0
    words = library.calls["quantize"][1]
    assert words["quant_config"] == {"zero_point": True, "q_group_size": 128, "w_bit": 4, "version": "GEMM"}
    assert [len(row) for row in words["calib_data"]] == [8, 8]
    assert (words["max_calib_samples"], words["max_calib_seq_len"]) == (2, 8)
    assert library.calls["from_pretrained"][1] == {"trust_remote_code": True}


@pytest.mark.parametrize(("method", "modifiers"), [("awq", ["AWQ", "Quantization"]), ("gptq", ["GPTQ"])])
def test_llm_compressor_gets_the_modifiers_of_0_13(
    image: Images, model: Path, tmp_path: Path, method: str, modifiers: list[str]
) -> None:
    """LLM Compressor gets the modifiers of version 0.13."""
    library = Recorder("compressed-tensors")
    torch(image, cuda=SimpleNamespace(is_available=lambda: False))
    cache = SimpleNamespace(pin_memory="fails without a GPU")
    image.monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    auto = SimpleNamespace(from_pretrained=library.takes("from_pretrained"))
    image.holds("transformers", AutoTokenizer=Tokenizer, AutoModelForCausalLM=auto)
    image.holds("datasets", Dataset=SimpleNamespace(from_dict=dict))
    image.holds("llmcompressor", oneshot=library.quantize)
    image.holds("llmcompressor.pipelines.cache", IntermediatesCache=cache)
    image.holds(
        "llmcompressor.modifiers.quantization",
        GPTQModifier=lambda **words: ("GPTQ", words),
        QuantizationModifier=lambda **words: ("Quantization", words),
    )
    image.holds("llmcompressor.modifiers.transform.awq", AWQModifier=lambda **words: ("AWQ", words))
    argv = [str(model), str(tmp_path / "out"), "--method", method, "--device", "cpu", "--samples", "2", "--length", "8"]
    assert image.driver("llmcompressor_quantize").main(argv) == 0
    words = library.calls["quantize"][1]
    assert [name for name, _ in words["recipe"]] == modifiers
    assert all(made["ignore"] == ["lm_head"] for name, made in words["recipe"] if name != "AWQ")
    assert [len(row) for row in words["dataset"]["input_ids"]] == [8, 8]
    assert (words["max_seq_length"], words["num_calibration_samples"]) == (8, 2)
    assert library.calls["save"][1] == {"save_compressed": True}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert cache.pin_memory("anything", batch_index=1) is None  # type: ignore[operator]


@pytest.mark.parametrize(
    ("kind", "device", "config", "dtype"),
    [
        ("nf4", "cuda", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "float16"),
        ("fp4", "cpu", {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, "bfloat16"),
        ("int8", "cpu", {"load_in_8bit": True}, "float16"),
    ],
)
def test_bitsandbytes_quantizes_while_loading(
    image: Images, model: Path, tmp_path: Path, kind: str, device: str, config: dict[str, Any], dtype: str
) -> None:
    """Bitsandbytes quantizes while loading."""
    library = Recorder("bitsandbytes")
    library.made = True
    torch(image)
    auto = SimpleNamespace(from_pretrained=library.takes("from_pretrained"))
    image.holds("transformers", AutoModelForCausalLM=auto, BitsAndBytesConfig=dict, __version__="5.13.1")
    argv = [str(model), str(tmp_path / "out"), "--type", kind, "--device", device]
    assert image.driver("bnb_quantize").main(argv) == 0
    words = library.calls["from_pretrained"][1]
    assert config.items() <= words["quantization_config"].items()
    assert words["dtype"] == dtype
    assert words["device_map"] == {"": 0 if device == "cuda" else "cpu"}


# Programs of others -------------------------------------------------------------------------------------------------

SHOW = """
import json, os, sys
def main():
    with open("/proc/self/cmdline", "rb") as file:
        shown = file.read().decode()
    print(json.dumps([sys.argv[1:], shown, os.environ.get("API_KEY")]))
    return 3
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which `show` is an installed console script."""
    (tmp_path / "show.py").write_text(SHOW)
    info = tmp_path / "show-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: show\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nshow = show:main\n")
    script = tmp_path / "bin" / "show"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nimport sys, show\nsys.exit(show.main())\n")
    script.chmod(0o755)
    return {"PYTHONPATH": str(tmp_path), "PATH": f"{script.parent}:{os.environ['PATH']}", "API_KEY": "sekrit"}


@pytest.mark.parametrize("program", [["show"], ["python3", "{directory}/show.py"], ["python3", "-m", "show"]])
def test_with_key_shows_the_key_only_to_the_program(installed: dict[str, str], program: list[str]) -> None:
    """A key that must be a flag is seen by the program alone."""
    words = [word.format(directory=installed["PYTHONPATH"]) for word in program]
    done = with_key(installed, "--api-keys", "--", *words, "--port", "1")
    given, shown, inherited = json.loads(done.stdout)
    assert done.returncode == 3
    assert given == ["--port", "1", "--api-keys", "sekrit"]
    assert "sekrit" not in shown
    assert inherited is None  # nor is it left where a child would inherit it


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (("--x", "--", "no-such-program"), "k", "no program `no-such-program`"),
        (("--x", "--", "show"), "", "API_KEY is empty"),
        (("--x", "--"), "k", "usage: with_key.py FLAG"),
        (("--x", "show"), "k", "usage: with_key.py FLAG"),
    ],
)
def test_with_key_names_what_is_missing(installed: dict[str, str], words: tuple[str, ...], key: str, said: str) -> None:
    """What is missing is named: the program, the separator or the key."""
    done = with_key({**installed, "API_KEY": key}, *words)
    assert done.returncode in {1, 2}
    assert said in done.stderr


def with_key(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPTS_DIR / "with_key.py"), *words]
    return subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("version", "pair"), [("0.2.5", True), ("0.16.0", False)])
def test_lmdeploy_calibrates_on_the_builtin_text(image: Images, version: str, pair: bool) -> None:
    """LMDeploy calibrates on the built-in text."""
    torch(image)
    image.holds("lmdeploy", __version__=version)
    calibrate = image.holds("lmdeploy.lite.apis.calibrate", get_calib_loaders="of the hub")
    ran: list[list[str]] = []
    driver = image.driver("lmdeploy_awq")
    image.monkeypatch.setattr(driver.programs, "run", lambda argv: ran.append(argv) or 0)
    assert driver.main(["--calibration", "builtin", "--", "lmdeploy", "lite", "auto_awq", "/m"]) == 0
    assert ran == [["lmdeploy", "lite", "auto_awq", "/m"]]
    found = calibrate.get_calib_loaders("ptb", Tokenizer(), nsamples=3, seqlen=20)
    rows = found[0] if pair else found
    assert [len(row[0]) for row in rows] == [20] * 3


CONVERT = textwrap.dedent("""
    import pathlib, sys
    weights = pathlib.Path(sys.argv[1], "triton_models", "weights")
    weights.mkdir(parents=True)
    lines = ["[llama]", "model_name = x", "cache_max_entry_count = 0.8", "cache_chunk_size = -1", "", ""]
    (weights / "config.ini").write_text("\\n".join(lines))
""")


def test_lmdeploy_config_is_edited_after_the_conversion(image: Images, tmp_path: Path) -> None:
    """The engine's configuration is edited after the conversion."""
    made = tmp_path / "made"
    argv = [str(made), "--set", "cache_max_entry_count=0.5", "cache_chunk_size=1", "--"]
    assert image.driver("lmdeploy_config").main([*argv, sys.executable, "-c", CONVERT, str(made)]) == 0
    text = (made / "triton_models" / "weights" / "config.ini").read_text()
    assert text.split("\n")[:4] == [
        "[llama]", "model_name = x", "cache_max_entry_count = 0.5", "cache_chunk_size = 1",
    ]  # fmt: skip


def test_lmdeploy_config_refuses_a_failed_or_foreign_conversion(image: Images, tmp_path: Path) -> None:
    """A conversion that failed or that is another program's is an error."""
    driver = image.driver("lmdeploy_config")
    made = str(tmp_path / "made")
    assert driver.main([made, "--set", "a=1", "--", sys.executable, "-c", "raise SystemExit(5)"]) == 5
    with pytest.raises(SystemExit, match="made no model"):
        driver.main([made, "--set", "a=1", "--", sys.executable, "-c", ""])
    with pytest.raises(SystemExit, match="has no `a`"):
        driver.main([made, "--set", "a=1", "--", sys.executable, "-c", CONVERT, made])


def test_exllama_convert_calls_the_module_of_exl3(image: Images, model: Path, tmp_path: Path) -> None:
    """EXL3 is made by the module behind the script."""
    wanted = argparse.ArgumentParser()
    for short in ("-i", "-o", "-w", "-b", "-hb", "-cr"):
        wanted.add_argument(short)
    ran = []

    def main(arguments: argparse.Namespace, state: str) -> None:
        ran.append((arguments, state))
        save(arguments.o, "exl3")

    image.holds(
        "exllamav3.conversion.convert_model",
        parser=wanted,
        prepare=lambda given: (given, "state", True, None),
        main=main,
    )
    argv = [str(model), str(tmp_path / "w"), "--bits", "3.5", "--samples", "9"]
    assert image.driver("exllama_convert").main(argv) == 0
    (arguments, state), *_ = ran
    assert (arguments.i, arguments.b, arguments.hb, arguments.cr, state) == (str(model), "3.5", "6", "9", "state")
    assert (tmp_path / "w" / "model" / "tokenizer.json").exists()


def test_exllama_convert_says_why_exl3_does_not_begin(image: Images, model: Path, tmp_path: Path) -> None:
    """EXL3 says why it does not begin."""
    wanted = SimpleNamespace(parse_args=lambda _: None)
    prepare = lambda _: (None, None, False, "no room")  # noqa: E731
    image.holds("exllamav3.conversion.convert_model", parser=wanted, prepare=prepare, main=None)
    with pytest.raises(SystemExit, match="exllamav3: no room"):
        image.driver("exllama_convert").main([str(model), str(tmp_path / "w")])


def test_exllama_convert_runs_the_script_of_exl2(image: Images, model: Path, tmp_path: Path) -> None:
    """EXL2 is a script that reads its own command line."""
    library = tmp_path / "lib" / "exllamav2" / "conversion"
    library.mkdir(parents=True)
    (library / "convert_exl2.py").write_text(
        "import json, pathlib, sys\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('-cf') + 1])\n"
        "(out / 'argv').write_text(json.dumps(sys.argv[1:]))\n"
        '(out / \'config.json\').write_text(\'{"quantization_config": {"quant_method": "exl2"}}\')\n'
        "(out / 'output.safetensors').write_text('weights')\n"
    )
    image.monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    image.monkeypatch.setattr(sys, "argv", ["before"])
    work = str(tmp_path / "w")
    assert image.driver("exllama_convert").main([str(model), work, "--generation", "2", "--bits", "4.0"]) == 0
    assert json.loads(Path(work, "model", "argv").read_text()) == [
        "-i", str(model), "-o", f"{work}/work", "-cf", f"{work}/model", "-nr", "-b", "4.0", "-hb", "6",
    ]  # fmt: skip
