"""What single pages do, seen from both ends: the browser and the server."""
from selenium.webdriver.common.keys import Keys

from .conftest import HELD_OUT


def conversations(server):
    return [server.ask("GET", f"/api/conversations/{c['id']}")
            for c in server.ask("GET", "/api/conversations") if c["id"] != "c-1"]


def ask(me, text):
    before = len(me.all(".message.user"))
    me.script("const [e, t] = arguments; e.value = t; e.dispatchEvent(new Event('input')); e.focus()",
              me.find(".composer textarea"), text)
    me.keys(Keys.ENTER)
    me.wait(lambda: len(me.all(".message.user")) == before + 1 and not me.all(".message[aria-busy], .pair[aria-busy]"))


def test_a_chinese_table_is_uploaded(server, reader, tmp_path):
    # a table as a Chinese spreadsheet saves it
    table = tmp_path / "客服.csv"
    table.write_bytes("问题,回答\n几点开门？,每天九点。\n哪里停车？,“房子”后面，免费。\n".replace("“房子”后面，免费。", "\"房子后面, 免费。\"").encode("gb18030"))
    me = reader(language="zh")
    me.open("data")
    me.find("input[value=upload]").click()
    me.find("input[type=file]").send_keys(str(table))
    me.wait(lambda: "/check" in me.driver.current_url)
    rows = server.ask("GET", "/api/datasets/客服?offset=0&limit=10")["items"]
    assert [list(row.values()) for row in rows] == [["几点开门？", "每天九点。"], ["哪里停车？", "房子后面, 免费。"]]
    me.open("data/客服")
    assert "房子后面, 免费。" in me.text("tbody")


def test_a_file_of_another_kind_is_refused_in_words(server, reader, tmp_path):
    other = tmp_path / "examples.xlsx"
    other.write_bytes(b"PK\x03\x04")
    me = reader()
    me.open("data")
    me.find("input[value=upload]").click()
    me.find("input[type=file]").send_keys(str(other))
    me.wait(lambda: "Save your table as CSV" in me.text(".error-place"))


def test_cleaning_makes_a_copy_without_the_repeated_row(server, reader):
    row = {"instruction": "When do you open?", "input": "", "output": "We open at nine every morning."}
    server.put_rows("twice", [row, HELD_OUT[0], row])
    me = reader()
    me.open("data/twice/check")
    me.wait(lambda: me.all(".finding"))
    assert [link.text for link in me.all(".finding .row-links a")][0] == "3"
    me.press("Make a cleaned copy")
    me.wait(lambda: any(d["name"] == "twice-clean" for d in server.ask("GET", "/api/state")["datasets"]))
    kept = server.ask("GET", "/api/datasets/twice-clean?offset=0&limit=10")["items"]
    assert [r["output"] for r in kept] == [row["output"], HELD_OUT[0]["output"]]


def test_side_by_side_answers_are_those_of_each_skill(server, furnished, reader):
    me = reader()
    me.open("chat?skill=upbeat")
    me.find("input[value=side]").click()
    question = f"{HELD_OUT[1]['instruction']}\n{HELD_OUT[1]['input']}"
    ask(me, question.replace("\n", " "))
    shown = [e.text for e in me.all(".message.assistant .text")]
    expected = [server.ask("POST", "/v1/chat/completions", {
        "model": model, "temperature": 0, "max_tokens": 256,
        "messages": [{"role": "user", "content": question.replace("\n", " ")}]})["choices"][0]["message"]["content"]
                for model in ("base", "upbeat")]
    assert len(shown) == 2 and [" ".join(t.split()) for t in shown] == [" ".join(t.split()) for t in expected]
    assert [e.text for e in me.all(".message.assistant .who")] == ["the model alone", "upbeat"]


def test_weights_of_mixed_skills_reach_the_answer(server, furnished, reader):
    me = reader()
    me.open("chat?skill=upbeat")
    me.find("input[value=mix]").click()
    me.wait(lambda: me.all(".weights input"))
    me.script("const e = arguments[0]; e.value = '0.5'; e.dispatchEvent(new Event('input'))", me.find(".weights input"))
    ask(me, "Hello")
    me.wait(lambda: any(m.get("adapters") == [{"name": "upbeat", "weight": 0.5}] for c in conversations(server)
                        for m in c["messages"]))
    assert "upbeat × 0.5" in me.text(".message.assistant .who")


def test_an_answer_is_stopped_and_what_came_is_kept(server, furnished, reader):
    me = reader()
    me.open("chat")
    me.script("[...document.querySelectorAll('details')].forEach(d => { d.open = true; })")
    me.write("Longest answer in tokens", "480")
    me.script("const e = arguments[0]; e.value = '1.5'; e.dispatchEvent(new Event('input'))", me.labelled("Freedom"))
    me.find(".skill").click()
    me.script("const [e, t] = arguments; e.value = t; e.dispatchEvent(new Event('input')); e.focus()",
              me.find(".composer textarea"), "Tell me a long story about the sea.")
    me.keys(Keys.ENTER)
    me.wait(lambda: me.text(".message.assistant .text"))
    me.script("[...document.querySelectorAll('.composer button')]"
              ".find(b => b.textContent === 'Stop' && !b.hidden)?.click()")
    me.wait(lambda: not me.all("[aria-busy]") and me.all(".message.assistant .actions button"))
    shown = me.script("return document.querySelector('.message.assistant .text').textContent")
    me.wait(lambda: any(shown == m["content"] for c in conversations(server) for m in c["messages"]))


def test_the_checklist_is_kept(server, furnished, reader):
    me = reader()
    address = f"evaluate/{furnished['evaluate']['id']}"
    me.open(address)
    document = server.ask("GET", f"/api/jobs/{furnished['evaluate']['id']}")["result"]
    assert f"{document['bleu']:.1f}" in me.text("table")
    assert f"{document['baseline']['scores']['bleu']:.1f}" in me.text("table")
    me.script("document.querySelector('.sample input[value=yes]').click()")
    me.write("Note", "Cheerful enough.")
    me.wait(lambda: server.ask("GET", f"/api/jobs/{furnished['evaluate']['id']}").get("checklist", {})
            .get("0", {}).get("note") == "Cheerful enough.")
    me.open(address)
    assert me.find(".sample input[value=yes]").is_selected()
    assert me.labelled("Note").get_attribute("value") == "Cheerful enough."
    assert server.ask("GET", f"/api/jobs/{furnished['evaluate']['id']}")["checklist"]["0"]["follows"] is True


def test_the_comparison_names_its_winner(server, furnished, reader):
    me = reader()
    me.open(f"compare/{furnished['compare']['id']}")
    result = server.ask("GET", f"/api/jobs/{furnished['compare']['id']}")["result"]
    assert me.text(".sentence") == result["sentence"]["en"] and result["winner"] in me.text("tr.winner")
    assert len(me.all("tbody tr")) >= 2


def test_a_merged_model_is_among_the_exports(server, furnished, reader):
    me = reader()
    me.open("export")
    me.find("input[value=gguf]").click()
    me.press("Merge")
    me.wait(lambda: me.all(".badge.done"))
    me.press("To the files")
    me.wait(lambda: "base-upbeat.gguf" in me.text())
    assert server.ask("GET", "/api/exports/base-upbeat.gguf/download").content[:4] == b"GGUF"


def test_the_menu_of_a_phone(server, reader):
    me = reader(width=360)
    me.open("")
    assert not me.find("#nav").is_displayed()
    me.find(".menu").click()
    assert me.find("#nav").is_displayed() and me.find(".menu").get_attribute("aria-expanded") == "true"
    me.find("#nav a[href='#/learn']").click()
    me.wait(lambda: me.text("h1") == "Learn")
    assert not me.find("#nav").is_displayed()
