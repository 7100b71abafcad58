"""Everybody can use it: axe-core's rules, the keyboard alone, a narrow screen, both languages."""
import re

import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver.common.keys import Keys

from .conftest import PAGES, addresses


# Colours do not depend on the language
@pytest.mark.parametrize("language, themes", [("en", ["light", "dark"]), ("zh", ["dark"])])
def test_axe_finds_nothing_serious(server, furnished, reader, language, themes):
    me, axe = reader(language=language), Axe()
    found = []
    for address in addresses(furnished):
        me.open(address)
        for theme in themes:
            me.script("document.documentElement.dataset.theme = arguments[0]", theme)
            for rule in axe.run(me.driver)["violations"]:
                if rule["impact"] in ("serious", "critical"):
                    found.append((address, theme, rule["id"], [node["html"][:120] for node in rule["nodes"]][:3]))
    assert found == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_follows_the_system(server, reader, theme):
    me = reader(theme=theme)
    me.open("")
    assert me.script("return document.documentElement.dataset.theme") == theme


def test_axe_sees_what_is_wrong(server, reader):
    me = reader()
    me.open("settings")
    me.script("const i = document.createElement('input'); document.querySelector('main').append(i)")
    assert "label" in [rule["id"] for rule in Axe().run(me.driver)["violations"]]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_sideways_scrolling_on_a_phone(server, furnished, reader, language):
    me = reader(width=360, language=language)
    wide = {}
    for address in addresses(furnished):
        me.open(address)
        extra = me.script("return document.documentElement.scrollWidth - innerWidth")
        if extra > 0:
            wide[address] = extra
    assert wide == {}


def test_chinese_pages_are_chinese(server, furnished, reader):
    me = reader(language="zh-CN")
    english = {}
    for address in PAGES:
        me.open(address)
        assert me.script("return document.documentElement.lang") == "zh"
        # a run of four plain English words is a sentence that was not translated; names, code and options are not
        text = me.script("const m = document.querySelector('main').cloneNode(true);"
                         "m.querySelectorAll('pre, code, option, .model-name, article').forEach(e => e.remove());"
                         "return m.textContent")
        if left := re.findall(r"[A-Za-z]{2,}(?: [a-z]{2,}){3,}", text):
            english[address] = left
    assert english == {}


def test_the_language_is_kept(server, reader):
    me = reader(language="en")
    me.open("settings")
    me.find("input[value=zh]").click()
    me.wait(lambda: me.text("h1") == "设置")
    me.open("data")
    assert me.text("h1") == "数据"


def test_the_theme_can_be_chosen(server, reader):
    me = reader(theme="light")
    me.open("settings")
    me.find("input[value=dark]").click()
    me.open("")
    dark = me.script("return getComputedStyle(document.body).backgroundColor")
    assert me.script("return document.documentElement.dataset.theme") == "dark"
    assert max(map(int, re.findall(r"\d+", dark)[:3])) < 60


def test_a_blind_test_by_keyboard_alone(server, furnished, reader):
    me = reader()
    me.open("")
    me.keys(Keys.TAB)
    assert me.driver.switch_to.active_element.text == "Skip to the content"
    me.tab_to("Blind test")
    me.keys(Keys.ENTER)
    me.wait(lambda: me.text("h1") == "Blind test")
    assert me.script("return document.activeElement.tagName") == "H1"  # a screen reader begins at the heading
    me.tab_to("upbeat-test")
    me.keys(Keys.ENTER)
    me.wait(lambda: me.all("form"))
    me.tab_to("Begin")
    me.keys(Keys.ENTER)
    # Pairs of the same text are not shown
    total = server.ask("GET", f"/api/ab/{furnished['ab']['id']}/next?judge=nobody")["total"]
    assert total == 4
    me.wait(lambda: "Question 1 of 4" in me.text())
    me.keys("1")
    me.wait(lambda: "Question 2 of 4" in me.text())
    me.keys("u")
    me.wait(lambda: "Question 1 of 4" in me.text())
    me.wait(lambda: "Question 1 of 4" in me.script("return document.getElementById('announcer').textContent"))
    me.tab_to("Right is better")
    outline = me.script("const s = getComputedStyle(document.activeElement); "
                        "return [s.outlineStyle, parseFloat(s.outlineWidth)]")
    assert outline[0] == "solid" and outline[1] >= 2
    me.keys(Keys.ENTER)
    for i in (2, 3):
        me.wait(lambda: f"Question {i} of 4" in me.text())
        me.keys("=")
    me.wait(lambda: "Question 4 of 4" in me.text())
    me.keys("2")
    me.wait(lambda: me.all(".share-bar"))
    result = server.ask("GET", f"/api/ab/{furnished['ab']['id']}/result")
    assert result["ties"] == 2 and result["a"]["wins"] + result["b"]["wins"] == 2


def test_dialogs_keep_the_focus_and_give_it_back(server, furnished, reader):
    me = reader()
    me.open("data/reports")
    edit = me.find("button[aria-label='Edit row 1']")
    edit.click()
    for _ in range(12):
        me.keys(Keys.TAB)
        # The body: the browser's own bar.
        assert me.script("const a = document.activeElement; return a === document.body || !!a.closest('dialog')")
    me.keys(Keys.ESCAPE)
    me.wait(lambda: not me.all("dialog"))
    assert me.script("return document.activeElement.getAttribute('aria-label')") == "Edit row 1"
