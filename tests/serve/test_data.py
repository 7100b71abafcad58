"""Data sets over HTTP, against Python's own csv and json."""
import csv
import io
import json

import pytest

from .conftest import ROWS

SHEET = [{"question": f"What is {i}, please?", "answer": f"It is “{i}”; 这是 {i}。"} for i in range(30)]


def as_csv(rows, delimiter=","):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def put(server, name, type, content, status=201):
    return server.ask("PUT", f"/api/datasets/{name}?type={type}", content=content, status=status)


@pytest.mark.parametrize("name, type, content, rows", [
    ("csv", "csv", as_csv(SHEET).encode(), SHEET), ("gb", "csv", as_csv(SHEET, ";").encode("gb18030"), SHEET),
    ("utf16", "tsv", as_csv(SHEET, "\t").encode("utf-16"), SHEET),
    ("json", "json", json.dumps(ROWS[:9]).encode(), ROWS[:9]),
    ("jsonl", "jsonl", "\n".join(map(json.dumps, ROWS[:9])).encode(), ROWS[:9]),
    ("数据-集_1.x", "jsonl", "\n".join(map(json.dumps, ROWS[:9])).encode(), ROWS[:9]),
])
def test_what_goes_in_comes_out(server, name, type, content, rows):
    made = put(server, name, type, content)
    assert (made["name"], made["rows"], made["items"]) == (name, len(rows), [])
    assert server.ask("GET", f"/api/datasets/{name}?limit=1000")["items"] == rows
    assert [json.loads(line) for line in server.ask("GET", f"/api/datasets/{name}/download").text.splitlines()] == rows
    listed = next(d for d in server.ask("GET", "/api/state")["datasets"] if d["name"] == name)
    assert listed["rows"] == len(rows) and listed["columns"] == list(rows[0])
    put(server, name, type, content, 409)


def test_pages_of_rows(server):
    put(server, "pages", "csv", as_csv(SHEET))
    assert server.ask("GET", "/api/datasets/pages?offset=20&limit=4")["items"] == SHEET[20:24]
    assert server.ask("GET", "/api/datasets/pages?offset=28&limit=50")["items"] == SHEET[28:]
    assert server.ask("GET", "/api/datasets/pages?offset=99")["items"] == []
    for bad in ("offset=-1", "offset=x", "limit=1e3", "limit=99999999999999999999", "offset="):
        server.ask("GET", f"/api/datasets/pages?{bad}", status=400)


def test_rows_are_edited(server):
    put(server, "edit", "csv", as_csv(SHEET[:4]))
    rows = [dict(r) for r in SHEET[:4]]
    server.ask("POST", "/api/datasets/edit/rows",
               {"items": [{"question": "new\nline", "answer": "\u2028"}, {"question": "", "answer": "y"}]})
    rows += [{"question": "new\nline", "answer": "\u2028"}, {"question": "", "answer": "y"}]
    server.ask("PUT", "/api/datasets/edit/rows/1", {"question": "changed", "answer": {"deep": [1, 2.5, None]}})
    rows[1] = {"question": "changed", "answer": {"deep": [1, 2.5, None]}}
    server.ask("DELETE", "/api/datasets/edit/rows/0")
    del rows[0]
    assert server.ask("GET", "/api/datasets/edit")["items"] == rows
    for path in ("/api/datasets/edit/rows/99", "/api/datasets/none/rows/0"):
        server.ask("PUT", path, {"a": "b"}, status=404)
    server.ask("POST", "/api/datasets/edit/rows", {"items": ["text"]}, status=400)
    assert server.ask("GET", "/api/datasets/edit")["items"] == rows


def test_a_split_loses_nothing_and_is_the_same_for_a_seed(server):
    for name in ("whole", "twin"):
        put(server, name, "csv", as_csv(SHEET))
        assert server.ask("POST", f"/api/datasets/{name}/split", {"fraction": 0.2, "to": f"{name}-part", "seed": 7},
                          status=201)["rows"] == 6
    part, rest = (server.ask("GET", f"/api/datasets/{name}")["items"] for name in ("whole-part", "whole"))
    assert len(part) == 6 and sorted(part + rest, key=str) == sorted(SHEET, key=str)
    assert part == server.ask("GET", "/api/datasets/twin-part")["items"] and part != SHEET[:6]
    server.ask("POST", "/api/datasets/whole/split", {"fraction": 0.001, "to": "nothing"}, status=422)
    server.ask("POST", "/api/datasets/whole/split", {"fraction": 0.5, "to": "whole-part"}, status=409)
    server.ask("GET", "/api/datasets/nothing", status=404)


@pytest.mark.parametrize("type, content, status", [
    ("jsonl", b'{"a": 1}\n{"a": \n', 422), ("jsonl", b"[1, 2]\n", 422), ("json", b"[]", 422), ("csv", b"", 422),
    ("json", b'{"a": ', 422), ("jsonl", b"\xff\xfe\xff\xff\x00", 422), ("exe", b"x", 400), ("", b"x", 400),
])
def test_what_is_no_data_is_refused(server, type, content, status):
    message = put(server, "refused", type, content, status)["error"]["message"]
    assert message and str(server.workspace) not in message
    server.ask("GET", "/api/datasets/refused", status=404)


def test_the_check_finds_what_was_put_in(server):
    rows = [dict(r) for r in ROWS[:20]]
    rows[3] = dict(rows[0])
    rows[5]["output"] = ""
    server.put_rows("dirty", rows)
    server.put_rows("held", [ROWS[1], ROWS[50]])
    report = server.ask("POST", "/api/datasets/dirty/check", {"max_length": 512, "validation": "held"})
    found = {f["kind"]: [r["row"] for r in f["rows"] if r["set"] == "data"] for f in report["findings"]}
    assert report["rows"] == 20 and 6 in found["empty_output"] and 4 in found["duplicate"] and "leak" in found
    fixed = server.ask("POST", "/api/datasets/dirty/fix", {"to": "clean"}, status=201)
    assert fixed["dataset"] == {"name": "clean", "rows": 18} and len(fixed["changes"]) == 2
    assert all(c["text"]["en"] and c["text"]["zh"] for c in fixed["changes"])
    assert server.ask("GET", "/api/datasets/clean")["items"] == [r for i, r in enumerate(rows) if i not in (3, 5)]
    assert [d["name"] for d in server.ask("GET", "/api/state")["datasets"]
            if d["name"].startswith("clean")] == ["clean"]
    server.ask("POST", "/api/datasets/dirty/fix", {"to": "held"}, status=409)
    server.ask("POST", "/api/datasets/dirty/check", {"validation": "nowhere"}, status=404)


def test_conversations_are_kept(server):
    kept = {"title": "你好",
            "messages": [{"role": "user", "content": "hi"},
                         {"role": "assistant", "content": "<b>", "other": {"content": "x"}}],
            "adapters": [{"name": "a", "weight": 0.5}]}
    server.ask("PUT", "/api/conversations/c-1", kept)
    assert server.ask("GET", "/api/conversations/c-1") == {**kept, "id": "c-1"}
    assert [c["title"] for c in server.ask("GET", "/api/conversations")] == ["你好"]
    server.ask("PUT", "/api/conversations/c-1", {"messages": "x"}, status=400)
    server.ask("DELETE", "/api/conversations/c-1")
    server.ask("GET", "/api/conversations/c-1", status=404)


def test_options_say_what_the_program_says(server):
    options = server.ask("GET", "/api/options")
    train = {o["name"]: o for o in options["train"]}
    assert (train["rank"]["value"], train["alpha"]["value"], train["dropout"]["value"],
            train["epochs"]["value"]) == (8, 32, 0.1, 3)
    assert train["lr-schedule"]["kind"] == "choice"
    assert set(train["lr-schedule"]["choices"]) == {"linear", "cosine", "constant"}
    assert all(o["en"] and o["zh"] for options_ in options.values() for o in options_)
    assert train["quantize"]["choices"] == ["none", "int8", "nf4", "q8_0"]
    evaluate = {o["name"]: o for o in options["evaluate"]}
    assert (evaluate["max-new-tokens"]["value"], evaluate["max-length"]["value"],
            evaluate["temperature"]["value"]) == (256, 512, 0)
    assert evaluate["words"]["choices"] == ["latin", "characters", "spaces"]
    assert not {"adapter", "data", "output"} & set(evaluate)
    assert not {"data", "output", "log", "init-adapter", "template"} & set(train)  # no path comes over the network
    assert {o["name"] for o in options["generate"] if o["basic"]} == {"max-new-tokens", "temperature"}


def test_tutorials(server):
    tutorials = server.ask("GET", "/api/tutorials")
    assert len(tutorials) == 4 and all(t["title"]["en"] and t["title"]["zh"] for t in tutorials)
    for t in tutorials:
        english, chinese = (server.ask("GET", f"/api/tutorials/{t['id']}?lang={language}")["html"]
                            for language in ("en", "zh"))
        assert english.startswith("<h1>") and "<pre><code>" in english and english != chinese
        assert "```" not in english + chinese
    server.ask("GET", "/api/tutorials/none", status=404)
