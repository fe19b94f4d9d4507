"""The browser that other tests look at pages with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.real import browser as browsers

if TYPE_CHECKING:
    from pathlib import Path

    from selenium.webdriver.chrome.webdriver import WebDriver

PAGE = """<!doctype html><html lang="en"><title>a page</title><style>
body { background: white } @media (prefers-color-scheme: dark) { body { background: black } }
</style><script>if (location.hash) throw new Error("broken")</script>"""


def test_browser_shows_a_file_as_the_screen_and_the_scheme_say(browser: WebDriver, tmp_path: Path) -> None:
    """The browser shows a file as the size of the screen and the wish for dark colors say."""
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    browsers.screen(browser, 360, 640, scheme="dark", phone=True)
    browser.get(page.as_uri())
    looks = "return [innerWidth, getComputedStyle(document.body).backgroundColor]"
    assert browser.execute_script(looks) == [980, "rgb(0, 0, 0)"]  # a page without a viewport of its own
    browsers.screen(browser, 800, 600)
    assert browser.execute_script(looks) == [800, "rgb(255, 255, 255)"]
    assert not browsers.complaints(browser)


def test_browser_reports_errors_of_scripts(browser: WebDriver, tmp_path: Path) -> None:
    """An error in a script of a page is reported."""
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    browser.get(page.as_uri() + "#now")
    assert ["broken" in entry["message"] for entry in browsers.complaints(browser)] == [True]
