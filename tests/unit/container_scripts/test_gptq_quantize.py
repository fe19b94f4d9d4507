"""GPTQModel and AutoGPTQ make checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.container_scripts.quantize_examples import torch
from tests.unit.driver_images import Images, Recorder, Tokenizer


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
