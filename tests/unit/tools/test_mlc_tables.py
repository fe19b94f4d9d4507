"""The tables of MLC are read from its sources: from small trees that are written as MLC's are, and not from it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from jetson_containers.core import facts
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.models import config
from jetson_containers.llm.runtimes import limits
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

TOOL = ROOT_DIR / "tools" / "mlc_tables.py"

QUANTIZATION = """
QUANTIZATION: Dict[str, Any] = {
    "q0f8": NoQuantize(name="q0f8", kind="no-quant", model_dtype="float16"),
    "q5f16_0": GroupQuantize(name="q5f16_0", kind="group-quant", group_size=24, linear_weight_layout="KN"),
    "q5f16_taken": AWQQuantize(name="q5f16_taken", kind="awq", group_size=96),
}
"""
FACTORY = """
def make_quantization_functions(model_cls, *, model_ctor=None, supports_group_quant: bool = True,
                                supports_awq: bool = False, awq_unsupported_message=None, shards: bool = True):
    def _group(model_config, quantization):
        if shards:
            settings["not a kind"] = 1
    functions = {"no-quant": None}
    if supports_group_quant:
        functions["group-quant"] = _group
    if supports_awq:
        functions["awq"] = _awq
    return functions
"""
MODEL = """
from .alpha import alpha_model
from .beta import beta_model as second
MODELS = {
    "alpha": Model(model=alpha_model.A, source={"awq": 1, "x": 2},
                   quantize=make_quantization_functions(alpha_model.A, supports_awq=True)),
    "beta": Model(model=second.B, source={"x": 2}, quantize=make_quantization_functions(second.B, supports_awq=True)),
    "gamma": Model(model=alpha_model.A, source={"awq": 1},
                   quantize=make_quantization_functions(alpha_model.A, supports_awq=True, supports_group_quant=False,
                                                        awq_unsupported_message="not yet")),
    "delta": Model(model=alpha_model.A, source={"x": 1}, quantize={"no-quant": a, "own-quant": b}),
}
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mlc_tables_tool", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def present(root: Path, **other: str) -> Path:
    package = "python/mlc_llm/"
    files = {
        "quantization/quantization.py": QUANTIZATION,
        "quantization/model_quantization.py": FACTORY,
        "model/model.py": MODEL,
        "model/alpha/alpha_model.py": "class A: ...",
        "model/beta/beta_model.py": "from nn.expert import MixtralExperts",
        "interface/gen_config.py": 'CONV_TEMPLATES = {"one", "listed_only", "two"}',
        "conversation_template/a.py": 'R.register(Conversation(name="one", roles=ROLES))\nConversation(name="hidden")',
        "conversation_template/b.py": 'R.register(Conversation(name="two"))',
        **{name.replace("__", "/") + ".py": text for name, text in other.items()},
    }
    return write(root, {package + name: text for name, text in files.items()})


def old(root: Path) -> Path:
    return write(
        root,
        {
            "mlc_llm/core.py": "",
            "mlc_llm/utils.py": (
                'supported_model_types = set(["llama", "gpt_x"])\n'
                'def conv(args):\n    model_conv_templates = {"b-": "bee", "bb": "two"}\n'
            ),
            "mlc_llm/quantization/__init__.py": (
                'quantization_schemes = {"autogptq_llama_q9": S(name="x", linear_weight=AutogptqQuantizationSpec('
                'group_size=-1)), "q0": S("q0", NoQuantizationSpec("float16"))}'
            ),
            "cpp/conv_templates.cc": '  static M factory = {\n      {"bee", Bee},\n      {"two", Two},\n  };\n',
        },
    )


def test_mlc_tables_reads_the_present_interface(tool: ModuleType, tmp_path: Path) -> None:
    """The present interface is read."""
    output = tmp_path / "out.yaml"
    assert tool.main([str(present(tmp_path / "mlc")), "--commit", "abc", "--output", str(output)]) == 0
    table = yaml.load(output.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)["new"]
    assert table == {
        "commit": "abc",
        "quantizations": {
            "q0f8": {"kind": "no-quant"},
            "q5f16_0": {"kind": "group-quant", "group": "24", "layout": "KN"},
            "q5f16_taken": {"kind": "awq", "group": "96"},
        },
        "models": {
            "alpha": ["no-quant", "group-quant", "awq"],
            "beta": ["no-quant", "group-quant"],  # no loader reads such weights for it
            "gamma": ["no-quant"],
            "delta": ["no-quant", "own-quant"],
        },
        "experts": ["beta"],
        "templates": ["one", "two"],
    }


def test_mlc_tables_keeps_the_table_of_the_other_interface(tool: ModuleType, tmp_path: Path) -> None:
    """Each interface keeps the other one's table."""
    output = tmp_path / "out.yaml"
    for commit, root in (("1", present(tmp_path / "new")), ("2", old(tmp_path / "old")), ("3", tmp_path / "new")):
        assert tool.main([str(root), "--commit", commit, "--output", str(output)]) == 0
    found = yaml.load(output.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert (found["new"]["commit"], found["old"]["commit"]) == ("3", "2")
    assert found["old"]["quantizations"]["autogptq_llama_q9"] == {"kind": "autogptq", "group": "-1"}
    assert found["old"]["models"] == {"llama": ["no-quant", "autogptq"], "gpt_x": ["no-quant"]}
    assert found["old"]["prefixes"] == {"b-": "bee", "bb": "two"}
    assert found["old"]["templates"] == ["bee", "two"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("model__model", "MODELS = load()", "`MODELS` is not a dictionary"),
        ("model__model", 'MODELS = {"a": Model(name="a")}', "the model `a` has other fields"),
        ("quantization__model_quantization", "x = 1", "no make_quantization_functions"),
        ("interface__gen_config", "T = {}", "`CONV_TEMPLATES` is assigned nowhere"),
        ("quantization__quantization", "QUANTIZATION = {", "was never closed"),
    ],
)
def test_mlc_tables_refuses_sources_written_otherwise(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, words: str
) -> None:
    """Sources that are written otherwise are refused."""
    output = tmp_path / "out.yaml"
    root = present(tmp_path / "mlc", **{name: text})
    assert tool.main([str(root), "--commit", "1", "--output", str(output)]) == 1
    assert words in capsys.readouterr().err
    assert not output.exists()


def test_mlc_tables_refuses_a_directory_without_mlc(tool: ModuleType, tmp_path: Path) -> None:
    """A directory without MLC is refused."""
    assert tool.main([str(tmp_path), "--commit", "1", "--output", str(tmp_path / "x")]) == 1


def test_mlc_tables_file_is_as_the_tool_writes_it(tool: ModuleType) -> None:
    """The file of this project is as the tool writes it."""
    text = (facts.FACTS / "mlc_tables.yaml").read_text(encoding="utf-8")
    assert tool.render(yaml.load(text, Loader=yaml.BaseLoader)) == text


def test_mlc_tables_file_is_of_the_pinned_commits() -> None:
    """The tables are those of the pinned commits."""
    found = load_facts("mlc_tables")
    assert found["new"]["commit"].startswith("d1ea69a")
    assert found["old"]["commit"].startswith("51fb0f4")
    assert (len(found["new"]["models"]), len(found["old"]["models"])) == (47, 10)
    groups = {name: row.get("group") for name, row in found["old"]["quantizations"].items()}
    assert (groups["autogptq_llama_q4f16_0"], groups["autogptq_llama_q4f16_1"]) == ("128", "-1")


def shape(kind: str, **more: Any) -> config.ModelConfig:
    return config.from_hf(
        {"model_type": kind, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 100,
         "num_attention_heads": 4, **more}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "mode", "possible"),
    [
        ("gemma3_text", "q4f16_ft", False), ("chatglm", "q4f16_ft", False), ("rwkv6", "q4f16_ft", False),
        ("qwen3", "q4f16_ft", True), ("mistral", "q4f16_awq", False), ("nemotron", "q4f16_autoawq", False),
        ("mixtral", "q4f16_autoawq", False), ("olmo", "q4f16_autoawq", True), ("olmo2", "e5m2_e5m2_f16", True),
        ("qwen3_moe", "fp8_e4m3fn_bf16_block_scale", True), ("qwen2", "fp8_e4m3fn_bf16_block_scale", False),
        ("falcon", "q4f16_ft", True), ("llama", "q9f16_9", True),
    ],
)  # fmt: skip
def test_quantizes_reads_the_tables_of_mlc(kind: str, mode: str, *, possible: bool) -> None:
    """The tables tell to what a model can be quantized."""
    assert limits.quantizes("mlc", "new", mode, shape(kind)) is possible


def test_quantizes_to_4_bits_only_some_models_of_lmdeploy() -> None:
    """With LMDeploy only some models have 4 bits."""
    assert limits.quantizes("lmdeploy", "new", "w4a16", shape("qwen2"))
    assert not limits.quantizes("lmdeploy", "new", "w4a16", shape("gpt_oss"))
    assert limits.quantizes("lmdeploy", "new", "fp16", shape("gpt_oss"))
    assert limits.quantizes("lmdeploy", "new", "w4a16", shape("falcon"))  # not loaded at all, which is said instead
