"""Jobs over HTTP: training, merging, their events and files, stopping, going on, and what a killed server leaves."""
import io
import json
import os
import signal
import subprocess
import threading
import time
import zipfile

import httpx
import pytest

from .conftest import BASE, PATIENCE, ROWS, SMALL

LONG = {**SMALL, "max-steps": 4000, "save-steps": 20}


def events(server, job):
    """All events of a job until they end: [(name, data)]."""
    found, name = [], None
    with httpx.stream("GET", f"{server.url}/api/jobs/{job['id']}/events", timeout=PATIENCE) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                found.append((name, json.loads(line[6:])))
    return found


def wait_for_step(server, job, step):
    deadline = time.monotonic() + PATIENCE
    while server.ask("GET", f"/api/jobs/{job['id']}/log").text.count("\n") < step:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(server, name, **settings):
    return server.ask("POST", "/api/jobs",
                      {"kind": "train", "name": name,
                       "settings": {"dataset": "reports", "validation": 0.2, "adapter": name, **settings}}, status=202)


@pytest.fixture(scope="module")
def trained(server):
    server.put_rows("reports", ROWS[:40])
    return server.job("train", "upbeat", {"dataset": "reports", "validation": 0.2, "adapter": "upbeat", **SMALL})


def test_a_training_makes_an_adapter(server, trained):
    assert trained["state"] == "done" and trained["progress"] == 1 and trained["error"] is None
    result = trained["result"]
    assert result["steps"] == 3 and result["output"] == "upbeat" and result["trainable_params"] > 0
    adapter = next(a for a in server.ask("GET", "/api/state")["adapters"] if a["name"] == "upbeat")
    assert (adapter["rank"], adapter["alpha"]) == (2, 4)
    assert "upbeat" in [m.id for m in server.client().models.list()]
    answer = server.client().chat.completions.create(model="upbeat", messages=[{"role": "user", "content": "Hello"}],
                                                     max_tokens=5)
    assert answer.model == "upbeat"


def test_its_events_are_told_again(server, trained):
    told = events(server, trained)
    steps = [data for name, data in told if name == "step"]
    assert [s["step"] for s in steps] == [1, 2, 3]
    assert {"step", "total_steps", "epoch", "loss", "learning_rate", "gradient_norm", "tokens_per_second",
            "eval_loss", "memory"} <= set(steps[0])
    assert told[-1][0] == "state" and told[-1][1]["state"] == "done"


def test_the_log_is_that_of_the_program(server, trained, tmp_path):
    """The same rows and settings through `lora train`: the same losses to the last digit."""
    rows = server.ask("GET", "/api/datasets/reports/download").content
    (tmp_path / "rows.jsonl").write_bytes(rows)
    words = [w for k, v in SMALL.items() for w in (f"--{k}", str(v))]
    subprocess.run([os.environ["LORA_PROGRAM"], "train", str(BASE), "--data", tmp_path / "rows.jsonl", "--validation",
                    "0.2", "--output", tmp_path / "out", "--log", tmp_path / "log", "--quiet", *words], check=True)
    wanted = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    got = [json.loads(line) for line in server.ask("GET", f"/api/jobs/{trained['id']}/log").text.splitlines()]
    assert [s["loss"] for s in got] == pytest.approx([s["loss"] for s in wanted if "loss" in s], rel=1e-8)


def test_an_adapter_goes_out_and_comes_back(server, trained):
    packed = server.ask("GET", "/api/adapters/upbeat/download").content
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(zipfile.ZipFile(io.BytesIO(packed)).namelist())
    server.ask("PUT", "/api/adapters/again", content=packed, status=201)
    ask = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 12, "temperature": 0}
    client = server.client()
    first, again = (client.chat.completions.create(model=name, **ask) for name in ("upbeat", "again"))
    assert again.choices[0].message.content == first.choices[0].message.content
    server.ask("PUT", "/api/adapters/again", content=packed, status=409)
    server.ask("DELETE", "/api/adapters/again")
    server.ask("GET", "/api/adapters/again/download", status=404)


def test_adapters_are_loaded_and_unloaded(server, trained):
    def loaded():
        return next(a for a in server.ask("GET", "/api/state")["adapters"] if a["name"] == "upbeat")["loaded"]
    server.ask("POST", "/api/adapters/upbeat/load", {})
    assert loaded()
    server.ask("POST", "/api/adapters/upbeat/unload", {})
    assert not loaded()


def test_unloading_does_not_disturb_who_answers(server, trained):
    client = server.client()
    ask = {"model": "upbeat", "messages": [{"role": "user", "content": "Write a long story about it."}],
           "max_tokens": 200, "temperature": 1.5, "seed": 3}
    whole = client.chat.completions.create(**ask).choices[0].message.content
    text = ""
    for i, event in enumerate(client.chat.completions.create(**ask, stream=True)):
        if i == 2:
            server.ask("POST", "/api/adapters/upbeat/unload", {})
        text += event.choices[0].delta.content or ""
    assert text == whole


def test_weights_of_adapters(server, trained):
    client = server.client()
    ask = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 12, "temperature": 0, "logprobs": True}

    def numbers(**more):
        return [e.logprob for e in client.chat.completions.create(**ask, **more).choices[0].logprobs.content]
    assert numbers(model="base", extra_body={"adapters": [{"name": "upbeat", "weight": 1}]}) == numbers(model="upbeat")
    assert (numbers(model="base", extra_body={"adapters": [{"name": "upbeat", "weight": 0}]}) ==
            pytest.approx(numbers(model="base"), abs=1e-5))
    assert numbers(model="upbeat") != numbers(model="base")


@pytest.mark.parametrize("form, kind", [("gguf", "file"), ("hf", "folder")])
def test_a_merge_makes_a_model(server, trained, tmp_path, form, kind):
    job = server.job("merge", f"merge-{form}", {"adapters": [{"name": "upbeat", "weight": 1}], "dtype": "f32",
                                                "format": form, "export": f"out-{form}"})
    name = "out-gguf.gguf" if form == "gguf" else "out-hf"
    assert job["result"]["export"] == name
    assert [e["name"] for e in server.ask("GET", "/api/state")["exports"] if e["name"] == name]
    content = server.ask("GET", f"/api/exports/{name}/download").content
    if form == "gguf":
        model = tmp_path / name
        model.write_bytes(content)
    else:
        model = tmp_path / "model"
        zipfile.ZipFile(io.BytesIO(content)).extractall(model)
    subprocess.run([os.environ["LORA_PROGRAM"], "inspect", str(model)], check=True, capture_output=True)
    server.ask("DELETE", f"/api/exports/{name}")
    server.ask("GET", f"/api/exports/{name}/download", status=404)


def test_a_plan(server, trained):
    plan = server.ask("POST", "/api/plan", {"dataset": "reports", "validation": 0.2, "rank": 8, "epochs": 3,
                                            "batch-size": 4})
    assert plan["fits"] is True and 0 < plan["adapter"] < plan["total"] < plan["available"]
    assert plan["steps"] == 24  # 32 rows, 4 at once, 3 times
    config = json.loads((BASE / "config.json").read_text())
    hidden, heads, groups = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    query, value = hidden, hidden // heads * groups
    assert plan["trainable_params"] == config["num_hidden_layers"] * 8 * ((hidden + query) + (hidden + value))


@pytest.mark.parametrize("settings, status", [
    ({}, 404), ({"dataset": "nowhere"}, 404), ({"dataset": 5}, 400), ({"rank": "eight"}, 400), ({"rank": -1}, 422),
    ({"colour": "red"}, 400), ({"full": True}, 400), ({"validation": 2}, 400), ({"adapter": "../x"}, 400),
    ({"adapter": "upbeat"}, 409), ({"init-adapter": "/etc"}, 400), ({"lr-schedule": "steep"}, 400),
    ({"output": "/tmp/x"}, 400), ({"template": "/etc/passwd"}, 400), ({"log": "/tmp/x"}, 400),
])
def test_settings_that_make_no_sense(server, trained, settings, status):
    if status == 422:
        job = server.job("train", "bad", {"dataset": "reports", "adapter": "bad", **SMALL, **settings}, "failed")
        assert job["error"]
        return
    base = {"adapter": "fresh", **({} if settings == {} else {"dataset": "reports"})}
    if settings == {}:
        status = 400
    error = server.ask("POST", "/api/jobs", {"kind": "train", "name": "x", "settings": {**base, **settings}},
                       status=status)["error"]
    assert error["message"]


def test_stop_and_resume_end_as_if_never_stopped(serve):
    server = serve()
    server.put_rows("reports", ROWS[:40])
    settings = {**SMALL, "max-steps": 60, "save-steps": 1000}
    whole = server.job("train", "whole", {"dataset": "reports", "adapter": "whole", **settings})
    job = start(server, "parts", **{**settings, "validation": None})
    wait_for_step(server, job, 5)
    server.ask("POST", f"/api/jobs/{job['id']}/stop", {})
    stopped = server.wait(job, "stopped", "done")
    if stopped["state"] == "stopped":
        assert 0 < stopped["progress"] < 1
        server.ask("POST", f"/api/jobs/{job['id']}/resume", {}, status=202)
    server.wait(job, "done")
    logs = [[json.loads(line) for line in server.ask("GET", f"/api/jobs/{j['id']}/log").text.splitlines()]
            for j in (whole, job)]
    assert [(s["step"], s["loss"]) for s in logs[0]] == [(s["step"], s["loss"]) for s in logs[1]]


def test_a_killed_server_has_everything_again(serve):
    server = serve()
    server.put_rows("reports", ROWS[:40])
    server.ask("PUT", "/api/conversations/c-1", {"title": "Hello 你好", "messages": [{"role": "user", "content": "x"}],
                                                 "adapters": []})
    done = server.job("train", "first", {"dataset": "reports", "adapter": "first", **SMALL})
    job = start(server, "cut-off", **LONG)
    waiting = start(server, "waiting", **SMALL)
    wait_for_step(server, job, 45)
    server.stop(signal.SIGKILL)
    server.start()
    state = server.ask("GET", "/api/state")
    states = {j["name"]: j for j in state["jobs"]}
    assert states["first"] == {k: v for k, v in done.items() if k != "result"}
    assert states["cut-off"]["state"] == "stopped"
    assert [d["name"] for d in state["datasets"]] == ["reports"]
    assert [a["name"] for a in state["adapters"]][:1] == ["first"]
    assert server.ask("GET", "/api/conversations/c-1")["title"] == "Hello 你好"
    server.wait(waiting, "done")  # it had not begun: it takes its turn
    server.ask("POST", f"/api/jobs/{job['id']}/resume", {}, status=202)
    wait_for_step(server, job, 60)
    server.ask("POST", f"/api/jobs/{job['id']}/stop", {})
    server.wait(job, "stopped")
    steps = [json.loads(line)["step"] for line in server.ask("GET", f"/api/jobs/{job['id']}/log").text.splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    server.ask("DELETE", f"/api/jobs/{job['id']}")
    server.ask("GET", f"/api/jobs/{job['id']}", status=404)


def test_a_clean_end_leaves_a_checkpoint(serve):
    server = serve()
    server.put_rows("reports", ROWS[:40])
    job = start(server, "long", **{**LONG, "save-steps": 100000})
    wait_for_step(server, job, 5)
    status, errors = server.stop(signal.SIGINT)
    assert status == 130 and errors == ""
    server.start()
    assert server.ask("GET", f"/api/jobs/{job['id']}")["state"] == "stopped"
    assert list((server.workspace / "jobs" / job["id"] / "checkpoints").glob("checkpoint-*"))


def test_chat_goes_on_while_training(serve):
    server = serve()
    server.put_rows("reports", ROWS[:40])
    job = start(server, "long", **LONG)
    wait_for_step(server, job, 2)
    answer = server.client().chat.completions.create(model="base", messages=[{"role": "user", "content": "Hello"}],
                                                     max_tokens=20)
    assert answer.usage.completion_tokens > 0
    assert server.ask("GET", f"/api/jobs/{job['id']}")["state"] == "running"
    server.ask("DELETE", f"/api/jobs/{job['id']}", status=409)


def test_one_job_at_a_time(serve):
    server = serve()
    server.put_rows("reports", ROWS[:40])
    first, second = start(server, "a", **LONG), start(server, "b", **LONG)
    wait_for_step(server, first, 1)
    assert server.ask("GET", f"/api/jobs/{second['id']}")["state"] == "queued"
    server.ask("POST", "/api/jobs", {"kind": "train", "name": "c", "settings": {"dataset": "reports", "adapter": "b"}},
               status=409)
    assert server.ask("POST", f"/api/jobs/{second['id']}/stop", {})["state"] == "stopped"
    told = []
    listener = threading.Thread(target=lambda: told.extend(events(server, first)))
    listener.start()
    server.ask("POST", f"/api/jobs/{first['id']}/stop", {})
    listener.join(PATIENCE)
    assert told[-1][0] == "state" and told[-1][1]["state"] == "stopped"


def test_a_comparison(server, trained):
    job = server.job("compare", "ranks", {"dataset": "reports", "validation": 0.2, "rank": [2, 4],
                                          "learning_rate": [1e-3], "max-steps": 3, "batch-size": 2,
                                          "max-length": 96, "full": True, "max-new-tokens": 8})
    result = job["result"]
    assert ([(r["name"], r["rank"], r["full"]) for r in result["rows"]] ==
            [("r2", 2, False), ("r4", 4, False), ("full", None, True)])
    assert result["rows"][1]["trainable_params"] == 2 * result["rows"][0]["trainable_params"]
    assert result["winner"] in ("r2", "r4", "full") and result["sentence"]["en"] and result["sentence"]["zh"]
    assert result["claim"]["en"]
    assert all(r["eval_loss"] > 0 and r["seconds"] > 0 and r["failure"] is None for r in result["rows"])
    server.ask("POST", "/api/jobs",
               {"kind": "compare", "name": "x", "settings": {"dataset": "reports", "rank": ["many"]}}, status=400)


def test_an_evaluation_and_its_checklist(server, trained):
    server.put_rows("held-out", ROWS[40:46])
    settings = {"dataset": "held-out", "adapters": [{"name": "upbeat", "weight": 1}],
                "metrics": ["loss", "bleu", "rouge"], "max_new_tokens": 16, "baseline": True}
    job = server.job("evaluate", "scores", settings)
    result = job["result"]
    assert result["rows"] == 6 and len(result["examples"]) == 6 and result["baseline"]["scores"]["loss"] > 0
    assert "bleu" in result and "rougeL" in result
    said = subprocess.run([os.environ["LORA_PROGRAM"], "eval", str(BASE), "--adapter",
                           str(server.workspace / "adapters/upbeat"), "--data",
                           str(server.workspace / "datasets/held-out.jsonl"), "--json", "--quiet"],
                          capture_output=True, text=True, check=True).stdout
    assert result["loss"] == pytest.approx(json.loads(said)["loss"], rel=1e-7)
    sacrebleu = pytest.importorskip("sacrebleu")
    predictions, references = ([e[key] for e in result["examples"]] for key in ("prediction", "reference"))
    score = sacrebleu.corpus_bleu(predictions, [references], tokenize=result["settings"]["bleu_tokenizer"]).score
    assert result["bleu"] == pytest.approx(score, abs=1e-9)
    ticks = {"follows": True, "coherent": False, "domain": None, "avoids": None, "note": "好"}
    server.ask("PUT", f"/api/jobs/{job['id']}/checklist/2", ticks)
    assert server.ask("GET", f"/api/jobs/{job['id']}")["checklist"] == {"2": ticks}
    server.ask("PUT", f"/api/jobs/{job['id']}/checklist/2", {"follows": "yes"}, status=400)
    server.ask("PUT", f"/api/jobs/{trained['id']}/checklist/2", ticks, status=409)


def test_a_blind_test(server, trained):
    server.put_rows("questions", ROWS[46:54])
    job = server.job("ab", "blind", {"dataset": "questions", "left": [], "right": [{"name": "upbeat", "weight": 3}],
                                     "count": 6, "seed": 1})
    path = f"/api/ab/{job['id']}"
    first = server.ask("GET", f"{path}/next?judge=Anna%20B")
    total = first["total"]
    assert first["done"] == 0 and total > 0 and set(first["item"]) == {"id", "prompt", "left", "right"}
    server.ask("POST", f"{path}/verdicts", {"judge": "Anna B", "id": first["item"]["id"], "choice": "left"})
    assert server.ask("GET", f"{path}/next?judge=Anna%20B")["done"] == 1
    assert server.ask("POST", f"{path}/undo", {"judge": "Anna B"})["item"] == first["item"]
    for i in range(total):
        item = server.ask("GET", f"{path}/next?judge=Anna%20B")["item"]
        server.ask("POST", f"{path}/verdicts", {"judge": "Anna B", "id": item["id"],
                                                "choice": ["left", "right", "tie"][i % 3]})
    assert server.ask("GET", f"{path}/next?judge=Anna%20B") == {"done": total, "total": total, "item": None}
    result = server.ask("GET", f"{path}/result")
    assert (result["a"]["name"], result["b"]["name"]) == ("base", "upbeat × 3")
    assert result["a"]["wins"] + result["b"]["wins"] + result["ties"] == 6 and 0 < result["p_value"] <= 1
    assert [(j["name"], j["count"]) for j in result["judges"]] == [("Anna B", total)] and result["sentence"]["en"]
    assert result["sentence"]["zh"]
    kept = server.ask("GET", f"{path}/judges/Anna%20B")
    server.ask("POST", f"{path}/verdicts", {"judge": "二号", "id": first["item"]["id"], "choice": "tie"})
    kept["judges"][0]["name"] = "Carol"
    assert sorted(j["name"] for j in server.ask("POST", f"{path}/judges", kept)["judges"]) == ["Anna B", "Carol", "二号"]
    server.ask("POST", f"{path}/judges", {"kind": "nonsense"}, status=422)
    server.ask("POST", f"{path}/verdicts", {"judge": "x", "id": "999", "choice": "left"}, status=400)
    server.ask("POST", f"{path}/verdicts", {"judge": "x", "id": "0", "choice": "both"}, status=400)
    server.ask("GET", f"{path}/judges/nobody", status=404)
    server.ask("GET", f"/api/ab/{trained['id']}/next?judge=x", status=404)


def test_the_end_of_a_training_is_judged_and_forgetting_measured(server, trained):
    server.put_rows("general", ROWS[60:90])
    job = server.job("train", "mixed", {"dataset": "reports", "validation": 0.2, "adapter": "mixed",
                                        "mix": [{"dataset": "general", "fraction": 0.2}], **SMALL, "max-steps": 8})
    result = job["result"]
    assert result["diagnosis"]["fit"] in ("unknown", "good", "overfitted", "underfitted", "unstable")
    assert result["diagnosis"]["en"] and result["diagnosis"]["zh"]
    assert result["general_loss_before"] > 0 and result["general_loss_after"] > 0
    assert result["general_loss_before"] != result["general_loss_after"]
    for mix in ([{"dataset": "none", "fraction": 0.1}], [{"dataset": "general", "fraction": 1}],
                [{"dataset": "general"}], "general"):
        status = 404 if mix[0] == {"dataset": "none", "fraction": 0.1} else 400
        server.ask("POST", "/api/jobs",
                   {"kind": "train", "name": "x", "settings": {"dataset": "reports", "adapter": "x", "mix": mix}},
                   status=status)


@pytest.mark.parametrize("settings, word", [
    ({"metrics": ["beauty"]}, "beauty"), ({"metrics": {"bleu": True}}, "metrics"), ({"words": "english"}, "characters"),
    ({"colour": "red"}, "colour"), ({"max_new_tokens": 0}, "max_new_tokens"),
    ({"max_new_tokens": 1e9}, "max_new_tokens"), ({"baseline": 1}, "baseline"),
])
def test_an_evaluation_that_makes_no_sense(server, trained, settings, word):
    answer = server.ask("POST", "/api/jobs",
                        {"kind": "evaluate", "name": "x", "settings": {"dataset": "reports", **settings}}, status=400)
    assert word in answer["error"]["message"]


@pytest.mark.parametrize("kind", ["train", "evaluate", "compare", "ab"])
def test_each_kind_has_a_report(server, trained, kind):
    jobs = {j["kind"]: j for j in server.ask("GET", "/api/state")["jobs"] if j["state"] == "done"}
    if kind not in jobs:
        pytest.skip("its own test made none")
    assert jobs[kind]["report"] is True
    for language, word in (("en", b'lang="en"'), ("zh", b'lang="zh')):
        answer = server.ask("GET", f"/api/jobs/{jobs[kind]['id']}/report", headers={"Accept-Language": language})
        assert answer.content.startswith(b"<!") and word in answer.content[:200] and b"<script" not in answer.content
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "sandbox" in answer.headers["content-security-policy"]


def test_a_merge_has_no_report(server, trained):
    job = server.job("merge", "plain", {"adapters": [{"name": "upbeat"}], "export": "plain"})
    assert job["report"] is False
    server.ask("GET", f"/api/jobs/{job['id']}/report", status=409)
