"""What a runtime loads: by our tables, each of a version and with a source, and by the list that its image prints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jetson_containers.core.facts import load_facts
from jetson_containers.llm.fit.machine import board_named
from jetson_containers.llm.fit.predict import predict
from jetson_containers.llm.fit.weights import parameters
from jetson_containers.llm.models import known
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.runtimes import limits, support
from jetson_containers.llm.runtimes.interface import Job, Target
from jetson_containers.llm.runtimes.llama_cpp import LlamaCpp
from jetson_containers.llm.runtimes.vllm import Vllm
from jetson_containers.platforms import detect

NAMES = [f"Family{number}ForCausalLM" for number in range(20)]
LISTED = "\n".join(f"  - {name}" for name in NAMES)
CONVERTER = f"INFO: loading\nSupported models:\nTEXT models:\n{LISTED}\nMMPROJ models:\n  - SeenModel\n"
REGISTRY = "\n".join(["INFO 11-29 [importing]", *(f"- {name}" for name in NAMES), "- not a name", ""])
SHAPE = {
    "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 1000,
}  # fmt: skip


def model(name: str, kind: str) -> Job:
    """A job for a model of a class and a type, on AGX Orin."""
    config = from_hf({**SHAPE, "model_type": kind, "architectures": [name]})
    where = Target(platform=detect.parse_target("agx-orin-64gb,r36.4.3"))
    return Job(source="/data/m", name="m", config=config, quantization="Q4_K_M", target=where, context=2048)


def asked(job: Job, runtime: str, printed: str) -> Job:
    """The job in an image whose runtime prints this list."""
    probed = {" ".join(support.LISTINGS[runtime]): printed}
    return replace(job, target=replace(job.target, probed=probed))


@pytest.mark.parametrize(("runtime", "printed"), [("llama_cpp", CONVERTER), ("vllm", REGISTRY)])
def test_support_reads_the_list_that_an_image_prints(runtime: str, printed: str) -> None:
    """The classes are read from what the image prints, without the encoders and what else is there."""
    where = {" ".join(support.LISTINGS[runtime]): printed}
    assert support.listed_by(runtime, where) == frozenset(NAMES)
    assert support.listed_by(runtime, {}) == frozenset()
    assert support.listed_by(runtime, {" ".join(support.LISTINGS[runtime]): "Traceback\n - line\n"}) == frozenset()
    assert support.listed_by("gptq", where) == frozenset()


def test_support_of_the_image_decides_over_the_table() -> None:
    """An image that lists an architecture loads it, whatever our table says, and the reverse."""
    new, old = model(NAMES[3], "x_new"), model("LlamaForCausalLM", "llama")
    assert (support.knows("llama_cpp", "gguf", _config(new)), support.knows("llama_cpp", "gguf", _config(old))) == (
        None,
        True,
    )
    runtime = LlamaCpp()
    here, gone = asked(new, "llama_cpp", CONVERTER), asked(old, "llama_cpp", CONVERTER)
    assert runtime.check(here).ok
    assert "not in our table" not in " ".join(runtime.notices(here))
    assert "not in our table" in " ".join(runtime.notices(new))
    verdict = runtime.check(gone)
    assert (verdict.ok, "of this image does not list `LlamaForCausalLM`" in verdict.reason) == (False, True)


def test_support_of_vllm_is_open_where_its_registry_lacks_a_class() -> None:
    """What vLLM's registry lacks may still load through transformers, so it is not refused."""
    lacking = asked(replace(model("OtherForCausalLM", "x_new"), quantization="fp16"), "vllm", REGISTRY)
    listed = asked(replace(model(NAMES[0], "x_new"), quantization="fp16"), "vllm", REGISTRY)
    assert support.knows("vllm", "new", _config(lacking), lacking.target.probed) is None
    assert support.knows("vllm", "new", _config(listed), listed.target.probed) is True
    assert Vllm().check(lacking).ok
    assert Vllm().check(listed).ok


def _config(job: Job):  # type: ignore[no-untyped-def]
    assert job.config is not None
    return job.config


def test_support_lists_each_have_a_version_and_a_source() -> None:
    """Every list of model types says of which version of what it is, and where that has it."""
    stated = load_facts("runtimes")["lists"]
    for runtime, interfaces in load_facts("architectures").items():
        if isinstance(interfaces, dict):
            assert set(stated[runtime]) == set(interfaces), runtime
    assert all(set(row) == {"of", "version", "source"} for rows in stated.values() for row in rows.values())


@pytest.mark.parametrize(
    ("outer", "inner", "runtime", "interface", "known"),
    [
        ("qwen3_vl", "qwen3_vl_text", "llama_cpp", "gguf", True),
        ("mistral3", "ministral3", "vllm", "new", True),
        ("gemma4_unified", "gemma4_unified_text", "llama_cpp", "gguf", True),
        ("x_robotics", "qwen3_5_text", "llama_cpp", "gguf", None),
        ("x_robotics", "llama", "lmdeploy", "new", False),
        ("interns2", "qwen3", "exllama", "v3", False),
    ],
)
def test_support_goes_by_the_outer_type(
    outer: str, inner: str, runtime: str, interface: str, known: bool | None
) -> None:
    """The type around the language model decides, and that inside does not help."""
    config = from_hf({"model_type": outer, "text_config": {**SHAPE, "model_type": inner, "head_dim": 64}})
    assert (config.model_type, config.text_type) == (outer, inner)
    assert support.knows(runtime, interface, config) is known


def test_support_knows_every_interface_that_is_listed() -> None:
    """All model types of all lists are known, those of remote code too, and no placeholder."""
    everything = support.listed()
    assert limits.families("mlc", limits.interfaces("mlc")[0]) <= everything
    assert {"llama", "baichuan", "qwen3_5"} <= everything
    assert limits.ANY not in everything


@pytest.mark.parametrize(("method", "usual"), [("mxfp4", "MXFP4_MOE"), ("gptq", "Q4_K_M"), ("", "Q4_K_M")])
def test_support_keeps_the_format_of_a_checkpoint_by_default(method: str, usual: str) -> None:
    """llama.cpp keeps experts that are stored in mxfp4 as they are, unless told otherwise."""
    sparse = {**SHAPE, "model_type": "gpt_oss", "num_local_experts": 8, "num_experts_per_tok": 2, "head_dim": 64}
    made = {"quantization_config": {"quant_method": method, "bits": 4}} if method else {}
    config = from_hf({**sparse, **made})
    told = predict(config, runtime="llama_cpp", board=board_named("orin-nx-16gb"))
    assert told.quantization == usual
    assert (support.kept("llama_cpp", config), support.kept("vllm", config)) == (usual if method == "mxfp4" else "", "")


def test_support_of_the_original_mxfp4_checkpoint_fits_where_its_file_does() -> None:
    """The usual file of a 20B model of experts in mxfp4 runs on 16 GB."""
    config = known.config("gpt-oss-20b")
    assert config is not None
    told = predict(config, runtime="llama_cpp", board=board_named("orin-nx-16gb"), context=4096)
    assert (told.quantization, told.fits, told.weights_bytes / 1e9) == ("MXFP4_MOE", True, pytest.approx(12.1, abs=0.2))


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (
            {
                "model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"], "hidden_size": 1024,
                "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096, "vocab_size": 250002,
                "max_position_embeddings": 8194, "type_vocab_size": 1,
            },
            567_754_752,
        ),
        (
            {
                "model_type": "modernbert", "architectures": ["ModernBertModel"], "hidden_size": 768,
                "num_hidden_layers": 22, "num_attention_heads": 12, "intermediate_size": 1152, "vocab_size": 50368,
                "max_position_embeddings": 8192,
            },
            149_014_272,
        ),
    ],
    ids=["bge-m3", "ModernBERT-base"],
)  # fmt: skip
def test_support_of_embedding_models_is_listed_and_they_are_weighed(config: dict[str, object], published: int) -> None:
    """llama.cpp's converter and vLLM's registry have both encoders; their weights are those of the publishers."""
    read = from_hf(config)
    assert parameters(read) == pytest.approx(published, rel=0.02)
    assert support.knows("llama_cpp", "gguf", read) is True
    assert support.knows("vllm", "new", read) is True
