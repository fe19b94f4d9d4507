"""A real browser without a window: Chromium or Chrome with its driver, as test.sh installs them from Debian."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver.chrome.webdriver import WebDriver


@contextlib.contextmanager
def started() -> Iterator[WebDriver]:
    """A browser with an empty profile that keeps what pages write to the console; skips where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("cannot run here: no browser with its driver: install chromium and chromium-driver")
    options = Options()
    options.binary_location = program
    for argument in ("--headless=new", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    if os.geteuid() == 0:  # root may not use Chromium's sandbox; only pages of our own are opened
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        browser.set_script_timeout(30)
        yield browser
    finally:
        browser.quit()


def screen(browser: WebDriver, width: int, height: int, *, scheme: str = "light", phone: bool = False) -> None:
    """Show pages as a screen of this many CSS pixels does; `scheme` is the user's wish for light or dark."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def complaints(browser: WebDriver) -> list[dict[str, Any]]:
    """Warnings and errors that pages wrote to the console since the last call."""
    return [entry for entry in browser.get_log("browser") if entry["level"] in {"WARNING", "SEVERE"}]
