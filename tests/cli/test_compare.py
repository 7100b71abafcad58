"""lora compare, lora ab and --report, as typed."""
import json
import re
import signal
import subprocess
import os
import time

import pytest

from .conftest import run, run_json

RUN = ["--epochs", "2", "--batch-size", "4", "--learning-rate", "1e-2", "--validation", "0.25", "--answers", "2",
       "--max-new-tokens", "4"]


def test_compare_prints_a_table_and_goes_on(base, data, tmp_path):
    out, err = run("compare", base, "--data", data, "--rank", "2,4", "--full", *RUN, "--output", tmp_path / "c")
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["setting", "loss"]
    assert [line.split()[0] for line in lines[1:5]] == ["base", "r2", "r4", "full"]
    assert "[1/3] training r2" in err and "lora chat" in out and ("inner" in out or "winner" in out)
    again, err = run("compare", base, "--data", data, "--rank", "2,4", "--full", *RUN, "--output", tmp_path / "c")
    assert again == out and "training" not in err
    document = run_json("compare", base, "--data", data, "--rank", "2,4", "--full", *RUN, "--output", tmp_path / "c")
    assert [s["name"] for s in document["settings"]] == ["r2", "r4", "full"] and document["verdict"]["best"]
    assert run_json("inspect", tmp_path / "c" / "adapters" / "r4")


def test_compare_makes_a_grid_and_mixes(base, data, tmp_path):
    document = run_json("compare", base, "--data", data, "--mix", f"{data}=25%", "--rank", "2", "--learning-rate",
                        "1e-3,1e-2", "--target-modules", "q_proj,v_proj;all-linear", "--epochs", "1", "--output",
                        tmp_path / "c", "--answers", "0")
    names = [s["name"] for s in document["settings"]]
    assert names[:2] == ["r2-lr0.001-q_proj-v_proj", "r2-lr0.001-q_proj-v_proj-mix"] and len(names) == 8
    assert names[-1] == "r2-lr0.01-all-linear-mix"
    plain, mixed = document["settings"][0], document["settings"][1]
    assert mixed["options"]["data"]["rows"] > plain["options"]["data"]["rows"] and plain["figures"]["general_loss"] > 0
    assert document["settings"][6]["options"]["adapter"]["target_modules"] == ["all-linear"]


def test_compare_interrupted_goes_on(base, data, tmp_path):
    words = [os.environ["LORA_PROGRAM"], "compare", base, "--data", data, "--rank", "2,4", "--epochs", "400",
             "--batch-size", "1", "--validation", "0.25", "--output", tmp_path / "c", "--answers", "0"]
    process = subprocess.Popen([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 60
    while not list((tmp_path / "c").glob("runs/*/checkpoint-*")) and time.time() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in err and out == ""


def test_compare_refuses(base, data, tmp_path):
    for words, text in [(["--rank", "4,x", "--output", tmp_path / "c"], "--rank x"), ([], "--output"),
                        (["--output", tmp_path / "c", "--seeds", "0"], "--seeds")]:
        assert text in run("compare", base, "--data", data, *words, code=2)[1]
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "letter").write_text("")
    assert "--force" in run("compare", base, "--data", data, "--output", tmp_path / "d", code=1)[1]


@pytest.fixture
def judged(base, data, adapter, tmp_path):
    path = tmp_path / "ab.json"
    words = ["ab", base, "--adapter", adapter, "--data", data, "--max-rows", "5", "--max-new-tokens", "6", "--judge",
             "one", "--output", path]
    run(*words, input="1=")
    return path, words


def test_ab_judges_stops_and_goes_on(judged):
    path, words = judged
    out, err = run(*words, input="u2\x1b[D12q")
    assert "going on" in err and "[1]" in out
    result = run_json("ab", path, "--judge", "one", input="")
    total = json.loads(path.read_text())["pairs"]
    assert len(total) == 5 and result["judges"][0]["count"] == 5 - result["identical"]
    out, _ = run("ab", path, "--judge", "one", "--lang", "zh", input="")
    assert re.search("没有明显的偏好|更受欢迎|还没有结论", out)


def test_ab_merges_judges(judged, tmp_path):
    path, words = judged
    other = tmp_path / "two.json"
    other.write_bytes(path.read_bytes())
    run("ab", other, "--judge", "two", input="11111")
    out, _ = run("ab", "--merge", path, other, "--output", tmp_path / "all.json")
    assert [j["name"] for j in json.loads((tmp_path / "all.json").read_text())["judges"]] == ["one", "two"]
    run("ab", "--merge", path, other, "--output", tmp_path / "all.json", code=1)


def test_ab_refuses_another_test_and_bad_words(judged, base, data, adapter, tmp_path):
    path, words = judged
    assert "another test" in run(*words[:-1], path, "--max-rows", "4", code=1)[1]
    assert "--adapter" in run("ab", base, "--data", data, "--output", tmp_path / "x.json", code=2)[1]
    assert "usage" in run("ab", code=2)[1]


def test_reports_are_pages(base, data, adapter, tmp_path):
    words = {"train": ["train", base, "--data", data, "--validation", "0.25", "--epochs", "2", "--output",
                       tmp_path / "a"],
             "eval": ["eval", base, "--adapter", adapter, "--data", data, "--max-new-tokens", "4"],
             "compare": ["compare", base, "--data", data, "--rank", "2", *RUN, "--output", tmp_path / "c"],
             "ab": ["ab", base, "--adapter", adapter, "--data", data, "--max-rows", "2", "--max-new-tokens", "4",
                    "--output", tmp_path / "ab.json"]}
    for name, command in words.items():
        page = tmp_path / f"{name}.html"
        run(*command, "--report", page, input="12")
        text = page.read_text()
        assert text.startswith("<!DOCTYPE html>") and "<script" not in text and len(text) > 5000
        assert name == "ab" or name == "eval" or "<polyline" in text
        assert "overwrites" in run(*command, "--report", page, code=1)[1] or name in ("train", "compare")
    assert "Say number" in (tmp_path / "train.html").read_text()
