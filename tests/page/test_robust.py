"""What may go wrong for a reader: hostile texts, large data, a server that goes away, impatience, refusals."""
import json

from selenium.webdriver.common.keys import Keys

from .conftest import PAGES, TRAIN, Reader, start_server

HOSTILE = ["<script>window.pwned = 1</script>", "<img src=x onerror='window.pwned = 1'>",
           "\"><svg onload=window.pwned=1>", "javascript:window.pwned=1",
           "{{constructor.constructor('window.pwned=1')()}}", "\u202egnp.exe", "a" * 4000,
           "</textarea><script>window.pwned=1</script>"]


def harmless(me):
    assert me.script("return window.pwned") is None
    assert me.script("return document.querySelectorAll('main script, main img:not([src^=\"/assets/\"]), main [onload],"
                     " main [onerror]').length") == 0
    assert me.script("return document.documentElement.scrollWidth - innerWidth") <= 0


def test_hostile_rows_are_only_text(server, reader):
    server.put_rows("hostile", [{"instruction": text, "input": text, "output": text} for text in HOSTILE])
    me = reader()
    me.open("data/hostile")
    shown = me.script("return [...document.querySelectorAll('tbody tr')].map(r => r.children[1].textContent)")
    assert shown == HOSTILE
    harmless(me)
    me.find("button[aria-label='Edit row 8']").click()
    assert me.script("return document.querySelector('dialog textarea').value") == HOSTILE[7]
    harmless(me)
    me.open("data/hostile/check")
    harmless(me)


def test_hostile_conversations_are_only_text(server, reader):
    server.ask("PUT", "/api/conversations/c-h", {"title": HOSTILE[1],
                                                 "messages": [m for text in HOSTILE for m in (
                                                     {"role": "user", "content": text},
                                                     {"role": "assistant", "content": text,
                                                      "adapters": [{"name": text, "weight": 1}]})], "adapters": []})
    me = reader(width=360)
    me.open("chat/c-h")
    assert me.script("return [...document.querySelectorAll('.message.user .text')].map(e => e.textContent)") == HOSTILE
    harmless(me)
    me.open("chat")
    harmless(me)


def test_only_a_part_of_a_large_data_set_is_in_the_page(server, reader):
    server.put_rows("large", [{"instruction": f"Question {i}", "input": "", "output": f"Answer {i}. " * 20}
                              for i in range(1000)])
    me = reader()
    me.open("data/large")
    assert len(me.all("tbody tr")) == 50 and "of 1,000" in me.text(".pager")
    me.press("Later")
    me.wait(lambda: "Question 50" in me.text("tbody tr:first-child"))
    me.open("data/large?row=777")
    assert "Question 776" in me.text("tr.wanted")


def test_rows_are_edited_added_and_deleted(server, reader):
    server.put_rows("edited", [{"instruction": "One", "input": "", "output": "First."},
                               {"instruction": "Two", "input": "", "output": "Second."}])
    me = reader()
    me.open("data/edited")
    me.find("button[aria-label='Edit row 2']").click()
    me.write("Answer", "Second, better.")
    me.press("Save")
    me.wait(lambda: "Second, better." in me.text("tbody"))
    me.press("Add a row")
    me.write("Question or task", "Three")
    me.write("Answer", "Third.")
    me.press("Save")
    me.wait(lambda: len(me.all("tbody tr")) == 3)
    me.find("button[aria-label='Delete row 1']").click()
    me.wait(lambda: len(me.all("tbody tr")) == 2)
    rows = server.ask("GET", "/api/datasets/edited?offset=0&limit=10")["items"]
    assert [(r["instruction"], r["output"]) for r in rows] == [("Two", "Second, better."), ("Three", "Third.")]


def test_a_refusal_is_shown_where_it_belongs(server, reader):
    server.put_rows("taken", TRAIN[:3])
    me = reader()
    me.open("data")
    me.write("Name", "taken")
    me.write("Your examples", json.dumps(TRAIN[0]))
    me.press("Save as a data set")
    me.wait(lambda: me.all("main .error-place .notice.bad"))
    assert "taken" in me.text("main .error-place .notice.bad")
    # Nothing of the reader's is lost
    assert me.labelled("Your examples").get_attribute("value") == json.dumps(TRAIN[0])


def test_two_clicks_start_one_job(server, reader):
    server.put_rows("clicks", TRAIN[:8])
    me = reader()
    me.open("train?data=clicks")
    me.wait(lambda: me.all(".plan-bar"))
    me.write("Times through", "1")
    me.script("const b = [...document.querySelectorAll('main button')].find(b => b.textContent === 'Start training');"
              "b.click(); b.click(); b.click()")
    me.wait(lambda: "/train/" in me.driver.current_url)
    assert len([job for job in server.ask("GET", "/api/state")["jobs"]
                if job["settings"].get("dataset") == "clicks"]) == 1
    me.wait(lambda: me.all(".badge.done"))


def a_run_under_way(server, reader, name):
    """The page of a run that lasts, with its curve begun."""
    server.put_rows(name, TRAIN[:40])
    me = reader()
    me.open(f"train?data={name}")
    me.wait(lambda: me.all(".plan-bar"))
    me.write("Times through", "12")
    me.press("Start training")
    me.wait(lambda: me.all(".chart path.series-1"))
    return me


def test_a_run_is_stopped_reloaded_and_goes_on(server, reader):
    me = a_run_under_way(server, reader, "long")
    me.driver.refresh()
    me.wait(lambda: me.all(".chart path.series-1"))
    me.press("Stop")
    me.wait(lambda: me.all(".badge.stopped"))
    me.press("Go on")
    me.wait(lambda: me.all(".badge.done"))
    # 36 rows (40 less 10 % held out), 4 at a time, twelve times through: the curve has every step once
    me.wait(lambda: "108 / 108" in me.text(".figures"))
    [job] = [job for job in server.ask("GET", "/api/state")["jobs"] if job["name"] == "long"]
    log = [json.loads(line) for line in server.ask("GET", f"/api/jobs/{job['id']}/log").text.splitlines()]
    assert [line["step"] for line in log if "loss" in line] == list(range(1, 109))


def test_a_late_answer_does_not_undo_what_the_events_told(server, reader):
    me = a_run_under_way(server, reader, "late")
    # the run has stopped, and the page knows, before the answer to the press arrives; the list of jobs is slow as well
    me.script("""window.late = {};
        const at_once = window.fetch, slow = {"/stop": 100, "/api/state": 500};
        window.fetch = async (path, ...more) => {
            const answer = await at_once(path, ...more), kind = Object.keys(slow).find(end => path.endsWith(end));
            if (kind) await new Promise(done => setTimeout(done, slow[kind]));
            window.late[kind] = true;
            return answer;
        };""")
    me.press("Stop")
    me.wait(lambda: me.script("return window.late['/stop'] && window.late['/api/state']"))
    me.wait(lambda: me.all(".badge.stopped"))


def test_a_server_that_goes_away_and_comes_back(server, reader):
    me = reader()
    me.open("data")
    me.write("Your examples", "half written")
    server.stop()
    me.wait(lambda: me.script("document.dispatchEvent(new Event('visibilitychange'));"
                              "return document.querySelector('#notices .notice') !== null"))
    assert "does not answer" in me.text("#notices")
    server.start()
    me.wait(lambda: not me.all("#notices .notice"))
    assert me.labelled("Your examples").get_attribute("value") == "half written"


def test_every_page_is_small(server, reader):
    me = reader()
    heavy = {}
    for address in PAGES:
        me.open(address)
        sizes = me.script("return performance.getEntries().filter(e => e.decodedBodySize && !e.name.includes('/api/'))"
                          ".map(e => [e.name, e.decodedBodySize])")
        assert len(sizes) > 5
        if (total := sum(size for _, size in sizes)) >= 300_000:
            heavy[address] = total
        assert all(name.startswith(server.url) for name, _ in sizes)
    assert heavy == {}


def test_a_locked_page_asks_for_its_token(tmp_path):
    locked = start_server(tmp_path, "--token", "a-secret-word-of-the-test")
    me = Reader(locked.url, 1280, "en", "light")
    try:
        me.driver.get(locked.url + "/#/data")
        me.wait(lambda: me.all("dialog input[type=password]"))
        me.keys("wrong", Keys.ENTER)
        me.wait(lambda: me.all("dialog input[type=password]")
                and not me.find("dialog input[type=password]").get_attribute("value"))
        me.keys("a-secret-word-of-the-test", Keys.ENTER)
        me.wait(lambda: "No examples yet" in me.text())
        # in the address it is taken and no longer shown
        me.script("sessionStorage.clear()")
        me.driver.get("about:blank")
        me.driver.get(locked.url + "/#token=a-secret-word-of-the-test")
        me.wait(lambda: "Bring examples" in me.text())
        assert "secret" not in me.driver.current_url
    finally:
        me.driver.quit()
        locked.stop()
