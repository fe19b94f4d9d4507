"""bitsandbytes quantizes while loading."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.container_scripts.quantize_examples import torch
from tests.unit.driver_images import Images, Recorder

if TYPE_CHECKING:
    from pathlib import Path


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
