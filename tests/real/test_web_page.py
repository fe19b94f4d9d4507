"""The page of `llm serve --webui` in a real browser, beside a server that streams."""

from __future__ import annotations

import importlib
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.paths import ROOT_DIR
from tests.real import browser as browsers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver.chrome.webdriver import WebDriver

SCRIPTS = ROOT_DIR / "jetson_containers/container_scripts"
KEY = "sesame"


class Echo:
    """A model that says what it was asked, in pieces; `slow` waits before each."""

    model_id = "org/echo"
    slow = False
    seen: list[Any] = []  # noqa: RUF012

    def load(self) -> None:
        pass

    def count(self, text: str) -> int:
        return len(text.split())

    def generate(self, prompt: Any, _options: Any) -> Iterator[str]:
        Echo.seen.append(prompt)
        for word in [*str(prompt[-1]["content"]).split(), *["more"] * (100 if self.slow else 0)]:
            if self.slow:
                threading.Event().wait(0.1)
            yield word + " "


def running(server: Any) -> Iterator[str]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(params=["", KEY], ids=["open", "key"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the page is; the server asks for a key or not."""
    monkeypatch.syspath_prepend(str(SCRIPTS))  # inside an image these files stand alone
    openai_server, with_page = (importlib.import_module(name) for name in ("openai_server", "with_page"))
    page = (SCRIPTS / with_page.PAGE).read_text("utf-8")
    Echo.seen, Echo.slow = [], False
    model = openai_server.Server(Echo(), "127.0.0.1", 0, request.param)
    model.load()
    for upstream in running(model):
        yield from running(with_page.PageServer(page, "127.0.0.1", 0, upstream))


def opened(browser: WebDriver, address: str, **screen: Any) -> None:
    browsers.screen(browser, **{"width": 1000, "height": 800, **screen})
    browser.get(f"http://{address}/")
    until(browser, lambda: state(browser) not in {"", "connecting"})
    if "key" in state(browser):
        browser.find_element(By.ID, "key").send_keys(KEY + Keys.TAB)
        until(browser, lambda: state(browser) == "ready")


def state(browser: WebDriver) -> str:
    return browser.find_element(By.ID, "state").text


def until(browser: WebDriver, happened: Any) -> None:
    WebDriverWait(browser, 60).until(lambda _browser: happened())


def boxes(browser: WebDriver) -> list[str]:
    return [box.text.strip() for box in browser.find_elements(By.CSS_SELECTOR, "#talk article div")]


def answered(browser: WebDriver, count: int) -> None:
    until(browser, lambda: state(browser) == "ready" and len(browser.find_elements(By.TAG_NAME, "small")) == count)


def complaints(browser: WebDriver) -> list[str]:
    """What the console holds, but for the answer that asks for the key."""
    return [entry["message"] for entry in browsers.complaints(browser) if "401" not in entry["message"]]


def test_chat_page_talks_with_the_model_and_remembers(browser: WebDriver, address: str) -> None:
    """Typed questions are answered with what was said before; text is shown as text; the console stays empty."""
    opened(browser, address)
    assert browser.title == "echo"
    typed = browser.find_element(By.ID, "text")
    typed.send_keys("one <b>two</b>" + Keys.SHIFT + Keys.ENTER + Keys.NULL + "three" + Keys.ENTER)
    answered(browser, 1)
    assert boxes(browser) == ["one <b>two</b>\nthree", "one <b>two</b> three"]
    typed.send_keys("again")
    browser.find_element(By.ID, "send").click()
    answered(browser, 2)
    assert [message["role"] for message in Echo.seen[-1]] == ["user", "assistant", "user"]
    browser.find_element(By.ID, "clear").click()
    assert boxes(browser) == []
    typed.send_keys("new" + Keys.ENTER)
    answered(browser, 1)
    assert [message["content"] for message in Echo.seen[-1]] == ["new"]
    assert complaints(browser) == []


def test_chat_page_stops_an_answer_and_shows_errors(browser: WebDriver, address: str) -> None:
    """A long answer can be stopped and is kept as far as it came; a refused question says why."""
    opened(browser, address)
    Echo.slow = True
    browser.find_element(By.ID, "text").send_keys("go on" + Keys.ENTER)
    until(browser, lambda: boxes(browser)[1:] and "go" in boxes(browser)[1])
    browser.find_element(By.ID, "stop").click()
    answered(browser, 1)
    assert browser.find_element(By.TAG_NAME, "small").text == "stopped"
    Echo.slow = False
    browser.find_element(By.CSS_SELECTOR, "#settings:not([open]) summary, #settings[open] summary").click()
    browser.execute_script("document.getElementById('settings').open = true")
    browser.find_element(By.ID, "temperature").send_keys("9")
    browser.find_element(By.ID, "text").send_keys("hot" + Keys.ENTER)
    answered(browser, 2)
    small = browser.find_elements(By.TAG_NAME, "small")[1]
    assert "temperature" in small.text
    assert small.get_attribute("class") == "wrong"


@pytest.mark.parametrize("screen", [{"scheme": "light"}, {"scheme": "dark", "width": 360, "phone": True}])
def test_chat_page_is_accessible_and_fits_a_phone(
    browser: WebDriver, address: str, axe: str, screen: dict[str, Any]
) -> None:
    """Axe finds nothing, and 360 pixels need no scrolling to the side."""
    opened(browser, address, **screen)
    browser.execute_script("document.getElementById('settings').open = true")
    browser.find_element(By.ID, "text").send_keys("w" * 300 + Keys.ENTER)
    answered(browser, 1)
    width = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    found = browser.execute_async_script("axe.run().then(arguments[0])")
    problems = {each["id"]: [node["target"] for node in each["nodes"]][:5] for each in found["violations"]}
    assert problems == {}, json.dumps(problems)
