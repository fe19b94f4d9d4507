"""The table of class defaults is read from sources that are written as those of transformers are, and is not run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import yaml

from tests.paths import ROOT_DIR

sys.path.insert(0, str(ROOT_DIR / "tools"))

import class_defaults

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ENCODER = """
class SharpEyeConfig(PreTrainedConfig):
    model_type = "sharp_eye_vision"
    depth: int = 7
    hidden_act: str = "silu"
    mlp_ratio: float = 2.5
    dropout: float = 0.5
"""
MODEL = """
from ..sharp_eye import SharpEyeConfig

class BaseConfig(PreTrainedConfig):
    hidden_size: int = 96
    head_dim: int | None = None

class QwenLikeConfig(BaseConfig):
    model_type = "qwen3_5_text"
    hidden_size: int = 128
    intermediate_size: list[int] | int = (256, 512)
    tie_word_embeddings: bool = True
    rms_norm_eps: float = 1e-6
    vocab_size = unknown_name

class WholeConfig(PreTrainedConfig):
    model_type = "qwen3_5"
    sub_configs = {"text_config": QwenLikeConfig, "vision_config": SharpEyeConfig}

class OtherConfig(PreTrainedConfig):
    model_type = "no_runtime_has_it"
    hidden_size: int = 64
"""


def test_class_defaults_are_read_from_the_classes(tmp_path: Path) -> None:
    """Sizes of wanted classes are kept, with those of what is inside them, and nothing else."""
    for name, text in (("sharp_eye", ENCODER), ("qwen", MODEL)):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"configuration_{name}.py").write_text(text, encoding="utf-8")
    target = tmp_path / "table.yaml"
    assert class_defaults.main([str(tmp_path), "--version", "9.8.7", "--output", str(target)]) == 0
    table = yaml.safe_load(target.read_text(encoding="utf-8"))
    assert table["version"] == "9.8.7"
    assert table["sizes"] == {
        "qwen3_5_text": {"hidden_size": 128, "intermediate_size": [256, 512], "tie_word_embeddings": True},
        "sharp_eye_vision": {"depth": 7, "hidden_act": "silu", "mlp_ratio": 2.5},
    }
    assert table["parts"] == {"qwen3_5": {"text_config": "qwen3_5_text", "vision_config": "sharp_eye_vision"}}


def test_class_defaults_need_a_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory without classes is said."""
    assert class_defaults.main([str(tmp_path), "--version", "1"]) == 1
    assert "holds no configuration_*.py" in capsys.readouterr().err
