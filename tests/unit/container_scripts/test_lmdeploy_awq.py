"""LMDeploy's calibration."""

from __future__ import annotations

import pytest

from tests.unit.container_scripts.quantize_examples import torch
from tests.unit.driver_images import Images, Tokenizer


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
