"""`lora serve` on the example base model, and a Chromium that looks at its page."""
import json
import shutil
import socket

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from serve.conftest import ROOT, Server

TRAIN = [json.loads(line) for line in (ROOT / "examples/data/weekly_report.train.jsonl").read_text().splitlines()]
HELD_OUT = [json.loads(line) for line in (ROOT / "examples/data/weekly_report.heldout.jsonl").read_text().splitlines()]
PATIENCE = 120  # seconds that a wait may take on a busy machine; nothing is measured by it
PAGES = ["", "data", "train", "chat", "evaluate", "compare", "ab", "export", "learn", "settings"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_server(folder, *words):
    """On a port of its own, which it takes again when it is started again."""
    return Server(folder / "workspace", "--port", str(free_port()), *words).start()


class Reader:
    """One browser window, with the words that the tests speak in."""

    def __init__(self, url, width, language, theme):
        options = webdriver.ChromeOptions()
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     f"--window-size={width},900"):
            options.add_argument(word)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.url, self.driver = url, webdriver.Chrome(options=options,
                                                      service=webdriver.ChromeService(shutil.which("chromedriver")))
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": theme}, {"name": "prefers-reduced-motion", "value": "reduce"}]})

    def open(self, address):
        """Loads a page anew and waits until it is there."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/#/{address}")
        self.settle()

    def settle(self):
        self.wait(lambda: self.script("return performance.getEntriesByName('interactive').length > 0"
                                      " && !!document.querySelector('main h1') && !document.querySelector('.waiting')"))

    def wait(self, condition):
        replaced = [StaleElementReferenceException]  # between being found and being read: asked again
        return WebDriverWait(self.driver, PATIENCE, poll_frequency=0.1,
                             ignored_exceptions=replaced).until(lambda _: condition())

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector="main"):
        return self.script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def labelled(self, label):
        """The control that a label with these words belongs to."""
        labelling = self.driver.find_element(By.XPATH, f"//label[contains(normalize-space(), '{label}')]")
        return self.driver.find_element(By.ID, labelling.get_attribute("for"))

    def write(self, label, text):
        """As a paste: the whole text at once."""
        self.script("const [e, t] = arguments; e.focus(); e.value = t;"
                    "for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind, {bubbles: true}))",
                    self.labelled(label), text)

    def press(self, text):
        """Clicks the button or link with these words."""
        path = (f"//main//*[self::button or self::a][normalize-space()='{text}'] | "
                f"//dialog//button[normalize-space()='{text}']")
        control = self.wait(lambda: next((e for e in self.driver.find_elements(By.XPATH, path) if e.is_displayed()),
                                         None))
        self.script("arguments[0].scrollIntoView({block: 'center'})", control)
        control.click()

    def keys(self, *keys):
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def tab_to(self, text, most=80):
        """Walks on with Tab until the focus stands on these words."""
        for _ in range(most):
            self.keys(Keys.TAB)
            focused = self.driver.switch_to.active_element
            if text in (focused.text or focused.get_attribute("aria-label") or ""):
                return focused
        raise AssertionError(f"Tab does not reach '{text}'")

    def problems(self):
        """What the browser complained about, besides answers that a test asked to be wrong."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"
                and "Failed to load resource" not in entry["message"]]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = start_server(tmp_path_factory.mktemp("server"))
    yield one
    one.stop()


@pytest.fixture
def reader(server):
    """reader(width, language, theme) opens a window."""
    opened = []

    def make(width=1280, language="en", theme="light"):
        opened.append(Reader(server.url, width, language, theme))
        return opened[-1]
    yield make
    for one in opened:
        one.driver.quit()


# A skill that changes answers, in seconds
SMALL = {"epochs": 1, "learning-rate": 0.02, "rank": 4, "batch-size": 2, "max-length": 128}


@pytest.fixture(scope="module")
def furnished(server):
    """Something of everything: two data sets, a skill, a blind test, an evaluation, a comparison, a conversation."""
    server.put_rows("reports", TRAIN[:40])
    server.put_rows("held-out", HELD_OUT[:8])
    skill = [{"name": "upbeat", "weight": 1}]
    jobs = {"train": server.job("train", "upbeat", {"dataset": "reports", "validation": "held-out", "adapter": "upbeat",
                                                    **SMALL})}
    jobs["ab"] = server.job("ab", "upbeat-test", {"dataset": "held-out", "left": [], "right": skill, "count": 4,
                                                  "seed": 1})
    jobs["evaluate"] = server.job("evaluate", "upbeat-scores",
                                  {"dataset": "held-out", "adapters": skill, "baseline": True,
                                   "metrics": ["loss", "bleu", "rouge"], "max_new_tokens": 32})
    jobs["compare"] = server.job("compare", "ranks", {**SMALL, "dataset": "reports", "validation": "held-out",
                                                      "rank": [2, 4]})
    server.ask("PUT", "/api/conversations/c-1", {"title": "Hello", "adapters": [], "messages": [
        {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello to you.", "adapters": skill}]})
    return jobs


def addresses(furnished):
    return PAGES + ["data/reports", "data/reports/check", "data/reports/split", "chat/c-1",
                    "learn/1-first-inference"] + [f"{kind}/{job['id']}" for kind, job in furnished.items()]
