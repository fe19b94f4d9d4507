"""The pages of `report` and `site` in a real browser: no errors, accessible, usable by keyboard and on a phone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from jetson_containers.cli import main
from jetson_containers.pages import build_report
from tests.real import browser as browsers
from tests.unit.pages.made_builds import usual

if TYPE_CHECKING:
    from pathlib import Path

    from selenium.webdriver.chrome.webdriver import WebDriver

PAGES = ("report.html", "index.html", "models.html", "package-llama_cpp.html")
TARGETS = ("r35.4.1", "r36.4.3", "r38.2.0", "x86_64-cpu")
MODELS = ("Llama-2-7b-chat-hf", "Qwen3-0.6B", "Qwen3-32B")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the built-in packages with a few models, and the report of a build."""
    place = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jetson_containers.pages.fit_grid.MODELS", MODELS)
        patch.setenv("JETSON_CONTAINERS_CACHE", str(place / "cache"))
        targets = [word for target in TARGETS for word in ("--target", target)]
        assert main.main(["site", "-o", str(place), *targets]) == 0
    (place / "report.html").write_text(build_report.text(usual(), None, {}))
    return place


def opened(browser: WebDriver, page: Path, **screen: Any) -> None:
    browsers.screen(browser, **{"width": 1100, "height": 900, **screen})
    browser.get("about:blank")  # else only the part behind # would change
    browser.get(page.as_uri())


def shown(browser: WebDriver) -> list[str]:
    """The families that the index shows."""
    return [link.text for link in browser.find_elements(By.CSS_SELECTOR, "#matrix tbody tr:not([hidden]) a")]


def focused(browser: WebDriver) -> str:
    text: str = browser.execute_script("return document.activeElement.textContent || document.activeElement.id")
    return text


def chosen(browser: WebDriver, name: str, text: str) -> None:
    Select(browser.find_element(By.ID, name)).select_by_visible_text(text)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_no_errors_and_fits_a_phone(browser: WebDriver, pages: Path, page: str, scheme: str) -> None:
    """Nothing is written to the console, nothing is loaded, and 360 pixels need no scrolling to the side."""
    opened(browser, pages / page, width=360, height=640, scheme=scheme, phone=True)
    assert browsers.complaints(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360
    assert browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)") == []


@pytest.mark.parametrize("page", PAGES)
def test_page_is_accessible(browser: WebDriver, pages: Path, axe: str, page: str) -> None:
    """Axe finds nothing on a wide screen in light colors, and nothing on a phone in dark ones."""
    for screen in ({"scheme": "light"}, {"scheme": "dark", "width": 360, "phone": True}):
        opened(browser, pages / page, **screen)
        browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        if page == "models.html":
            browser.find_element(By.CSS_SELECTOR, "#chart tbody button").click()
        browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
        found = browser.execute_async_script("axe.run().then(arguments[0])")
        problems = {each["id"]: [node["target"] for node in each["nodes"]][:5] for each in found["violations"]}
        assert problems == {}, (screen, json.dumps(problems))


def test_index_is_searched_and_filtered(browser: WebDriver, pages: Path) -> None:
    """Words are searched in names and texts, filters leave columns, and the address keeps what was chosen."""
    opened(browser, pages / "index.html")
    everything = len(shown(browser))
    search = browser.find_element(By.ID, "search")
    search.send_keys("GGUF llama")
    assert "llama_cpp" in shown(browser)
    assert len(shown(browser)) < everything
    search.clear()
    search.send_keys("zzz")
    assert shown(browser) == []
    browser.find_element(By.ID, "clear").click()
    assert len(shown(browser)) == everything
    chosen(browser, "board", "Jetson Xavier NX 8GB")
    chosen(browser, "jetpack", "JetPack 5.1.2")
    heads = browser.find_elements(By.CSS_SELECTOR, "#matrix thead th:not([hidden])")
    assert [head.get_attribute("data-target") for head in heads] == [None, "r35.4.1"]
    assert 0 < len(shown(browser)) < everything
    assert browser.find_element(By.ID, "found").text == f"{len(shown(browser))} families on 1 platform"
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert Select(browser.find_element(By.ID, "board")).first_selected_option.text == "Jetson Xavier NX 8GB"
    assert browsers.complaints(browser) == []


def test_index_is_used_by_keyboard(browser: WebDriver, pages: Path) -> None:
    """The first stop skips to the content, / goes to the search, Escape empties it, and Enter opens a package."""
    opened(browser, pages / "index.html")
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert focused(browser) == "Skip to the content"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "main"
    browser.switch_to.active_element.send_keys("/")
    search = browser.switch_to.active_element
    assert search.get_attribute("id") == "search"
    search.send_keys("ollama")
    search.send_keys(Keys.ESCAPE)
    assert search.get_attribute("value") == ""
    search.send_keys("ollama")
    for _ in range(4):  # board, JetPack, the table, its first link
        browser.switch_to.active_element.send_keys(Keys.TAB)
    assert focused(browser) == "ollama"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.title.startswith("ollama")
    assert browsers.complaints(browser) == []


def test_chart_follows_what_is_chosen(browser: WebDriver, pages: Path) -> None:
    """Board, quantization and context change the rows; a row says its parts and the commands; both views agree."""
    opened(browser, pages / "models.html")

    def rows() -> dict[str, str]:
        found = browser.find_elements(By.CSS_SELECTOR, "#chart tbody tr")
        return {row.find_element(By.TAG_NAME, "button").text: row.text for row in found}

    assert len(rows()) == len(MODELS)
    small = rows()["Llama-2-7b-chat-hf"]
    assert "does not fit" in rows()["Qwen3-32B"]
    chosen(browser, "board", "Jetson AGX Orin 64GB")
    assert rows()["Qwen3-32B"].endswith("fits")
    assert rows()["Llama-2-7b-chat-hf"] != small
    chosen(browser, "setting", "llama_cpp F16")
    assert "does not fit" in rows()["Qwen3-32B"]
    chosen(browser, "context", "131072")
    assert "trained for shorter contexts" in rows()["Llama-2-7b-chat-hf"]
    chosen(browser, "context", "2048")
    browser.find_element(By.XPATH, "//button[text()='Qwen3-0.6B']").click()
    said = browser.find_element(By.ID, "detail").text
    assert "--context 2048 --board agx-orin-64gb" in said
    assert "KV cache for 2048 tokens" in said
    one = rows()["Qwen3-0.6B"].partition("\n")[2]
    chosen(browser, "view", "a model on all boards")
    chosen(browser, "model", next(text for text in options(browser, "model") if text.endswith("Qwen3-0.6B")))
    assert rows()["Jetson AGX Orin 64GB"].partition("\n")[2] == one
    assert browsers.complaints(browser) == []


def options(browser: WebDriver, name: str) -> list[str]:
    return [option.text for option in Select(browser.find_element(By.ID, name)).options]


def test_commands_are_copied(browser: WebDriver, pages: Path) -> None:
    """Each command has a button that copies or selects it."""
    opened(browser, pages / "package-llama_cpp.html")
    button = browser.find_element(By.CSS_SELECTOR, ".command button")
    assert button.get_attribute("aria-label") == "Copy ./build.sh llama_cpp"
    button.send_keys(Keys.ENTER)
    script = """const [button, done] = arguments;
        const look = () => button.textContent === "Copy" ? requestAnimationFrame(look) : done(button.textContent);
        look();"""
    done = browser.execute_async_script(script, button)
    assert done in {"Copied", "Selected"}


def test_report_opens_logs_and_layers(browser: WebDriver, pages: Path) -> None:
    """Folded parts open by keyboard, and the timeline has a bar for each time in which something ran."""
    opened(browser, pages / "report.html")
    summary = browser.find_element(By.CSS_SELECTOR, "#sizes ~ details summary")
    summary.send_keys(Keys.ENTER)
    assert browser.find_element(By.XPATH, "//code[text()='RUN pip install torch']").is_displayed()
    bars = browser.find_elements(By.CSS_SELECTOR, "svg.timeline rect")
    assert len(bars) == sum(len(stage.spans) for stage in usual().stages)
    assert all(bar.rect["width"] >= 2 for bar in bars)
    assert len(browser.find_elements(By.CSS_SELECTOR, "svg.timeline .critical")) == 3
