"""Which conversation template a model gets."""

from __future__ import annotations

import pytest

from jetson_containers.core.facts import load_facts
from jetson_containers.llm.runtimes.interface import Job, Target
from jetson_containers.llm.runtimes.mlc import conv_templates
from tests.unit import mlc_options
from tests.unit.llm.runtimes.mlc.helpers import LLAMA, MLC, RUNTIME, config, family, job, target

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
