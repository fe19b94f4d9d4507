"""AutoAWQ makes checkpoints."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from tests.unit.driver_images import Images, Recorder, Tokenizer

if TYPE_CHECKING:
    from pathlib import Path


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
