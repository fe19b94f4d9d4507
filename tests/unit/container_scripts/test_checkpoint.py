"""What a quantized checkpoint gets, and that it really is quantized."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.driver_images import Images, save

if TYPE_CHECKING:
    from pathlib import Path


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
