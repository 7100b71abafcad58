"""A newcomer's whole way: from pasted examples to a skill, a conversation with it, and a finished blind test."""
import json

from .conftest import HELD_OUT, TRAIN


def test_from_pasted_examples_to_a_judged_skill(server, reader):
    me = reader()
    me.open("")
    assert "Bring examples" in me.text() and me.find(".step.next h2").text == "Bring examples"

    # 60 examples, pasted as JSON lines
    me.press("Add examples")
    me.wait(lambda: me.all("main textarea"))
    me.write("Name", "my-reports")
    me.write("Your examples", "\n".join(json.dumps(row, ensure_ascii=False) for row in TRAIN[:60]))
    assert "60 lines, looks like JSONL" in me.text()
    me.press("Save as a data set")
    me.wait(lambda: me.all(".figures"))
    assert me.find(".figures dd").text == "60"
    rows = server.ask("GET", "/api/datasets/my-reports?offset=0&limit=100")
    assert [row["output"] for row in rows["items"]] == [row["output"] for row in TRAIN[:60]]

    # training, with the settings that the little model needs
    me.press("Train with it")
    me.wait(lambda: me.all(".plan-bar"))
    assert me.labelled("How much it can learn").get_attribute("value") == "8"
    assert me.labelled("How strongly it speaks").get_attribute("value") == "32"
    assert me.labelled("Against rote learning").get_attribute("value") == "0.1"
    assert me.labelled("Times through").get_attribute("value") == "3"
    assert me.labelled("Where it learns").get_attribute("value") == "q_proj,v_proj"
    assert "It fits." in me.text()
    me.write("Name of the skill", "upbeat")
    me.write("Size of a step", "0.008")
    me.write("Times through", "2")
    me.press("Start training")
    me.wait(lambda: me.all(".badge.done"))
    me.wait(lambda: me.all(".chart path.series-1"))
    [job] = server.ask("GET", "/api/state")["jobs"]
    assert job["settings"]["rank"] == 8 and job["settings"]["learning-rate"] == 0.008
    assert job["settings"]["validation"] == 0.1

    # talking to it; the conversation outlives a reload
    me.press("Talk to it")
    me.wait(lambda: me.all(".skill[aria-pressed=true]"))
    assert "upbeat" in me.text(".skill[aria-pressed=true]")
    question = f"{HELD_OUT[0]['instruction']}\n{HELD_OUT[0]['input']}"
    box = me.find(".composer textarea")
    me.script("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", box, question)
    me.press("Send")
    me.wait(lambda: me.all(".message.assistant:not([aria-busy]) .actions button"))
    said = me.text(".message.assistant .text")
    assert said
    me.driver.refresh()
    me.wait(lambda: me.all(".message.assistant"))
    assert me.text(".message.assistant .text") == said and HELD_OUT[0]["input"] in me.text(".message.user .text")

    # the blind test: five questions, judged by keys
    server.put_rows("held-out", HELD_OUT[:10])
    me.open("ab?skill=upbeat")
    me.write("How many questions", "5")
    me.press("Prepare the answers")
    me.press("Begin")
    test = next(job for job in server.ask("GET", "/api/state")["jobs"] if job["kind"] == "ab")
    total = server.ask("GET", f"/api/ab/{test['id']}/next?judge=nobody")["total"] # pairs of the same text are not shown
    assert total >= 4
    for i, key in enumerate(["1", "2", "=", "1", "2"][:total]):
        me.wait(lambda: f"Question {i + 1} of {total}" in me.text())
        if i == 2:  # a reload in the middle comes back to the same question
            shown = me.text(".prompt-text")
            me.driver.refresh()
            me.wait(lambda: f"Question 3 of {total}" in me.text())
            assert me.text(".prompt-text") == shown
        me.keys(key)
    me.wait(lambda: me.all(".share-bar"))
    result = server.ask("GET", f"/api/ab/{test['id']}/result")
    assert (result["ties"], result["a"]["wins"] + result["b"]["wins"]) == (1 + 5 - total, total - 1)
    assert me.text(".sentence") == result["sentence"]["en"]
    me.open("")
    assert [mark.text for mark in me.all(".step.done h2")] == ["Bring examples", "Train", "Try and judge"]
    assert me.problems() == []
