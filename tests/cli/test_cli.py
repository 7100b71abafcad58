"""What ../shared/CLI.md promises of the `lora` program: words, exit codes, JSON names, files, both languages."""
import csv
import gzip
import hashlib
import io
import json
import math
import os
import pty
import select
import shutil
import signal
import subprocess
import time
import unicodedata

import pytest

from .conftest import ROOT, ROWS, run, run_json

VERBS = ["check", "train", "generate", "chat", "eval", "compare", "ab", "merge", "inspect", "plan", "serve", "quantize",
         "tokenize"]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---- help and usage --------------------------------------------------------------------------------------------------

def width(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def test_help_fits_a_screen():
    lines = run("--help")[0].splitlines()
    assert len(lines) <= 24 and max(map(width, lines)) <= 80
    assert all(any(line.split()[:1] == [verb] for line in lines) for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_with_an_example(verb):
    text = run(verb, "--help")[0]
    assert text.startswith(f"lora {verb}") and "Example:" in text and f"lora {verb} " in text.split("Example:")[1]
    chinese = run(verb, "--help", "--lang", "zh")[0]
    assert "例如" in chinese
    for lines in (text.splitlines(), chinese.splitlines()):
        assert len(lines) <= 24 and max(map(width, lines)) <= 80


@pytest.mark.parametrize("verb", VERBS)
def test_help_all_adds_to_help(verb):
    """Every line of the short help but that of --help-all is in the long one."""
    short, long = (run(verb, option)[0].splitlines() for option in ("--help", "--help-all"))
    assert {line for line in short if "--help-all" not in line} <= set(long)
    assert len(long) > len(short) if any("--help-all" in line for line in short) else long == short


@pytest.mark.parametrize("words, part", [
    (["fly"], "there is no verb 'fly'"),
    (["train"], "usage: lora train"),
    (["train", "m"], "--data is missing"),
    (["train", "m", "--data", "d"], "--output is missing"),
    (["train", "m", "--data", "d", "--output", "o", "--rnk", "8"], "did you mean --rank?"),
    (["train", "m", "--data", "d", "--output", "o", "--rank", "eight"],
     "--rank eight: expected a whole number, like 8"),
    (["train", "m", "--data", "d", "--output", "o", "--rank", "99999999999"],
     "--rank 99999999999: expected a whole number"),
    (["train", "m", "--data", "d", "--output", "o", "--alpha", "x"], "--alpha x: expected a number, like 32"),
    (["train", "m", "--data", "d", "--output", "o", "--lang", "fr"], "--lang fr: choose en or zh"),
    (["train", "m", "--data", "d", "--output", "o", "--template", "alpca"],
     "--template alpca: expected alpaca, chat or a file"),
    (["train", "m", "--data", "d", "--output", "o", "--validation", "1.5"],
     "--validation 1.5: expected files, or a share"),
    (["train", "m", "--data", "d", "--output", "o", "--save-dtype", "f16"], "--save-dtype goes with --full"),
    (["train", "m", "--data", "d", "--output", "o", "--report", "r.pdf"], "choose a name that ends in .html"),
    (["eval", "m", "--data", "d", "--report", "r.pdf"], "choose a name that ends in .html"),
    (["eval", "m", "--data", "d", "--template", "alpca"], "--template alpca: expected alpaca, chat or a file"),
    (["tokenize", "m", "--text", "t", "--data", "d"], "give one of --text, --data and --decode"),
    (["train", "m", "--data", "d", "--output", "o", "--bias", "some"], "none, all, lora_only"),
    (["train", "m", "--data", "d", "--output", "o", "--quantize", "q3"], "--quantize q3: choose nf4, int8, q8_0"),
    (["train", "m", "--data", "d", "--output", "o", "--quantize", "nf4", "--dtype", "f32"], "exclude each other"),
    (["train", "m", "--data", "d", "--output", "o", "--quantize", "nf4", "--full"], "--full trains the weights"),
    (["train", "m", "--data", "d", "--output", "o", "--quantize", "q4_k", "--cache-quantized"],
     "--cache-quantized is for"),
    (["quantize", "m", "--output", "o"], "--type is missing"),
    (["quantize", "m", "--type", "nf4"], "--output is missing"),
    (["quantize", "m", "--type", "q3", "--output", "o"], "--type q3: choose nf4"),
    (["quantize", "m", "--type", "int8", "--output", "o", "--double-quant"], "--double-quant is for"),
    (["train", "m", "--data", "d", "--output", "o", "--use-dora"], "--use-dora is not available"),
    (["eval", "m", "--data", "d", "--metrics", "blue"], "there is no metric 'blue'"),
    (["eval", "m"], "--data is missing"),
    (["eval", "m", "--predictions", "p"], "usage"),
    (["eval", "--predictions", "p", "--data", "d"], "--predictions scores answers that are there"),
    (["eval", "--predictions", "p", "--baseline", "base"], "needs a model"),
    (["eval", "m", "--data", "d", "--classify", "guess"], "choose one of answer, likelihood"),
    (["eval", "m", "--data", "d", "--bleu-tokenizer", "moses"], "there is no tokenizer 'moses'"),
    (["generate", "m"], "--prompt is missing"),
    (["merge", "m", "--adapter", "a", "--output", "o", "--dtype", "f8"], "choose keep, f32, f16 or bf16"),
])
def test_wrong_usage_is_2(words, part):
    out, error = run(*words, code=2)
    assert part in error and out == ""


def test_a_missing_model_is_1():
    assert "nowhere" in run("inspect", "nowhere", code=1)[1]
    assert "config.json" in run("generate", "nowhere", "--prompt", "x", code=1)[1]


def test_a_missing_adapter_is_1(base):
    error = run("generate", base, "--adapter", "nowhere", "--prompt", "x", code=1)[1]
    assert "nowhere/adapter_config.json: there is no such file; an adapter is a directory" in error


def test_a_template_is_a_file_in_every_verb(base, tmp_path):
    (tmp_path / "t.jinja").write_text("{% for m in messages %}<{{ m.content }}>{% endfor %}")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "Where?", "completion": "Here."}))
    words = ["--data", tmp_path / "rows.jsonl", "--template", tmp_path / "t.jinja"]
    row = json.loads(run("tokenize", base, *words)[0])
    assert run("tokenize", base, "--decode", ",".join(map(str, row["input_ids"])))[0].startswith("<Where?><Here.>")
    lengths = json.loads(run("check", base, *words, "--json")[0])["lengths"]
    assert lengths["longest"] == len(row["input_ids"])
    assert (json.loads(run("eval", base, *words, "--metrics", "loss", "--json")[0])["label_tokens"] ==
            sum(i >= 0 for i in row["labels"]))


def test_a_share_of_the_data_is_held_out(base, tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"prompt": f"Where {i}?", "completion": "Here."})
                                                   for i in range(20)))
    for share in "10%", "0.1":
        words = ["--data", tmp_path / "rows.jsonl", "--output", tmp_path / share, "--max-steps", "1", "--validation",
                 share]
        assert "data: 18 rows" in run("train", base, *words)[1]


def test_languages(base):
    assert "缺少 --data" in run("train", base, "--lang", "zh", code=2)[1]
    assert "缺少 --data" in run("train", base, code=2, env={"LC_ALL": "", "LANG": "zh_CN.UTF-8"})[1]
    assert "--data is missing" in run("train", base, "--lang=en", code=2, env={"LC_ALL": "zh_CN.UTF-8"})[1]


# ---- train -----------------------------------------------------------------------------------------------------------

def test_train_summary_and_log(base, data, tmp_path):
    found = run_json("train", base, "--data", data, "--validation", "0.25", "--output", tmp_path / "a", "--max-steps",
                     6, f"--log={tmp_path / 'log'}", "--eval-steps=3")
    assert set(found) == {"steps", "loss", "eval_loss", "tokens", "tokens_per_second", "seconds", "ready_seconds",
                          "peak_memory_bytes",
                          "trainable_params", "all_params", "output", "diagnosis"}
    assert found["steps"] == 6 and found["tokens_per_second"] > 0 and found["peak_memory_bytes"] > 1 << 20
    # r (in + out) of q and v in two layers: 8 (32 + 32) + 8 (32 + 16), twice
    assert found["trainable_params"] == 2 * (8 * 64 + 8 * 48)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert set(steps[0]) == {"step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_second",
                             "seconds"}
    assert [line["step"] for line in lines if "eval_loss" in line] == [3, 6]
    assert sum(line["tokens"] for line in steps) == found["tokens"]


def test_train_says_how_it_fitted(base, data, tmp_path):
    """Hardly anything is learnt at a tiny rate; the program, its JSON and the log say so in both languages."""
    words = ["train", base, "--data", data, "--epochs", 4, "--learning-rate", "1e-7", "--force", "--output",
             tmp_path / "a"]
    found = run_json(*words, f"--log={tmp_path / 'log'}")
    assert found["diagnosis"]["fit"] == "underfitted"
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["diagnosis"] == "underfitted"
    assert found["diagnosis"]["en"] in run(*words, "--quiet")[0]
    assert found["diagnosis"]["zh"] in run(*words, "--quiet", "--lang", "zh")[0]


def test_overfitting_is_seen_and_the_best_is_kept(base, tmp_path):
    """Random labels can only be learnt by heart: held-out loss gets worse, training stops early, the best tensors
    stay."""
    def rows(first):
        return "\n".join(json.dumps({"text": f"Word {i} {i * 7919 % 101}", "label": str(i * 104729 % 97)})
                         for i in range(first, first + 8))
    (tmp_path / "train.jsonl").write_text(rows(0))
    (tmp_path / "held.jsonl").write_text(rows(1000))
    found = run_json("train", base, "--data", tmp_path / "train.jsonl", "--validation", tmp_path / "held.jsonl",
                     "--output", tmp_path / "a", "--epochs", 60, "--learning-rate", "1e-2", "--full", "--save-dtype",
                     "f32", "--early-stopping", 8, f"--log={tmp_path / 'log'}")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    held = [line["eval_loss"] for line in lines if "eval_loss" in line]
    assert len(held) < 60 and len(held) - 1 - held.index(min(held)) == 8
    assert found["diagnosis"]["fit"] == "overfitted"
    left = run_json("eval", tmp_path / "a", "--data", tmp_path / "held.jsonl")
    assert left["loss"] == pytest.approx(min(held), rel=1e-5)


def test_general_data_is_mixed_in_and_forgetting_measured(base, data, tmp_path):
    general = tmp_path / "general=1.jsonl"
    general.write_text("\n".join(json.dumps({"prompt": f"Colour {i}?", "completion": f"Blue {i * i}."})
                                 for i in range(40)))
    words = ["train", base, "--data", data, "--epochs", 2, "--learning-rate", "1e-2", "--output"]
    found = run_json(*words, tmp_path / "a", f"--mix={general}=25%", f"--log={tmp_path / 'log'}")
    assert found["mixed_rows"] == 4 and found["general_rows"] == 4  # 12 own rows are three quarters; a tenth of 40
    assert found["steps"] == 8  # 16 rows in batches of 4, twice
    last = json.loads((tmp_path / "log").read_text().splitlines()[-1])
    assert last["general_loss_after"] == pytest.approx(found["general_loss_after"])
    plain = run_json(*words, tmp_path / "b", "--mix", f"{general}=0")
    assert plain["mixed_rows"] == 0 and plain["steps"] == 6
    assert plain["general_loss_before"] == found["general_loss_before"] != plain["general_loss_after"]
    assert "general loss (4 held-out rows)" in run(*words, tmp_path / "c", "--mix", f"{general}=0.25")[0]
    assert "训练前" in run(*words, tmp_path / "d", "--mix", f"{general}=0.25", "--lang", "zh")[0]
    for wrong in ("200%", "x", "-1"):
        assert "expected FILE=10%" in run(*words, tmp_path / "e", "--mix", f"{general}={wrong}", code=2)[1]
    assert "must leave room" in run(*words, tmp_path / "e", "--mix", f"{general}=60%",
                                    f"--mix={general}=0.4", code=2)[1]


def test_a_learning_rate_below_zero_is_refused(base, data, tmp_path):
    """It is no way to ask for the default."""
    error = run("train", base, "--data", data, "--output", tmp_path / "n", "--learning-rate", "-1", code=2)[1]
    assert "learning_rate is -1: expected a number of at least 0" in error


def test_an_exploding_loss_stops_the_run(base, data, tmp_path):
    """What was good before the first update is kept, and training can go on from it at a sane rate."""
    out, error = run("train", base, "--data", data, "--output", tmp_path / "a", "--learning-rate", "3e38", code=1)
    assert "learning_rate (now 3e+38) is too high" in error and "step 2" in error and "--warmup-steps 0.1" in error
    assert out == ""
    (kept,) = (tmp_path / "a").glob("checkpoint-*")
    assert str(kept) in error
    words = ["train", base, "--data", data, "--max-steps", 6]
    assert (run_json(*words, "--init-adapter", kept, "--output", tmp_path / "c")["loss"] ==
            run_json(*words, "--output", tmp_path / "d")["loss"])
    assert "损失超出了合理范围" in run("train", base, "--data", data, "--output", tmp_path / "b", "--learning-rate", "3e38",
                              "--lang", "zh",
                                code=1)[1]


def test_train_shows_what_it_will_do(base, data, tmp_path):
    error = run("train", base, "--data", data, "--output", tmp_path / "a", "--max-steps", 1)[1]
    assert "12 rows" in error and "12 end with a learnt end token" in error
    assert "[[The number is 0.<|im_end|>]]" in error
    assert "trainable params: 1,792 || all params: " in error and "|| trainable%: " in error
    assert "memory plan" in error


def test_nothing_is_overwritten(base, data, adapter, tmp_path):
    before = digest(adapter / "adapter_model.safetensors")
    assert "--force" in run("train", base, "--data", data, "--output", adapter, "--max-steps", 1, code=1)[1]
    assert digest(adapter / "adapter_model.safetensors") == before
    output = tmp_path / "mine"
    output.mkdir()
    (output / "notes.txt").write_text("keep me")
    run("train", base, "--data", data, "--output", output, "--max-steps", 1, code=1)
    run("train", base, "--data", data, "--output", output, "--max-steps", 1, "--force")
    assert (output / "notes.txt").read_text() == "keep me" and (output / "adapter_config.json").exists()
    (output / "checkpoint-notes").mkdir()
    run("train", base, "--data", data, "--output", output, "--max-steps", 2, "--force")  # over a run with checkpoints
    assert sorted(p.name for p in output.iterdir() if p.is_dir()) == ["checkpoint-2", "checkpoint-notes"]


def as_csv(delimiter):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["instruction", "input", "output"])
    writer.writerows([[r["instruction"], r["input"], r["output"]] for r in ROWS])
    return text.getvalue()


FORMATS = {"rows.json": json.dumps(ROWS), "rows.jsonl": "\n".join(map(json.dumps, ROWS)), "rows.csv": as_csv(","),
           "rows.tsv": as_csv("\t")}


def test_every_format_gives_the_same_adapter(base, data, tmp_path):
    outputs = []

    def train(name, *words, input=None):
        run("train", base, "--data", *words, "--output", tmp_path / name, "--max-steps", 2, "--quiet", input=input)
        outputs.append(digest(tmp_path / name / "adapter_model.safetensors"))

    for name, text in FORMATS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / (name + ".gz")).write_bytes(gzip.compress(text.encode()))
        train("out-" + name, tmp_path / name)
        train("out-gz-" + name, tmp_path / (name + ".gz"))
    train("stdin", "-", input=FORMATS["rows.jsonl"])
    half = len(ROWS) // 2
    (tmp_path / "one.jsonl").write_text("\n".join(map(json.dumps, ROWS[:half])))
    (tmp_path / "two.jsonl").write_text("\n".join(map(json.dumps, ROWS[half:])))
    train("several", tmp_path / "one.jsonl", tmp_path / "two.jsonl")
    assert len(set(outputs)) == 1


def test_plain_text(base, tmp_path):
    (tmp_path / "text.txt").write_text("One line of text.\nAnother line of text.\n")
    assert run_json("train", base, "--data", tmp_path / "text.txt", "--output", tmp_path / "a",
                    "--max-steps", 2)["steps"] == 2


def interrupt_after(line_count, words):
    process = subprocess.Popen([os.environ["LORA_PROGRAM"], *map(str, words)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    log = words[words.index("--log") + 1]
    end = time.time() + 60
    while time.time() < end and (not os.path.exists(log) or len(open(log).readlines()) < line_count):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    return process.wait(60), process.stderr.read()


def test_interrupt_and_resume_give_the_same_bits(base, data, tmp_path):
    words = ["--data", data, "--max-steps", 120, "--dropout", "0.1", "--quiet", "--seed", 7, "--save-steps", 100]
    run("train", base, *words, "--output", tmp_path / "whole")
    stopped = ["train", base, *words, "--output", tmp_path / "stopped", "--log", str(tmp_path / "log")]
    code, error = interrupt_after(10, stopped)
    assert code == 130 and "--resume" in error
    assert any(p.name.startswith("checkpoint-") for p in (tmp_path / "stopped").iterdir())
    run(*stopped, "--resume")
    assert (digest(tmp_path / "stopped" / "adapter_model.safetensors") ==
            digest(tmp_path / "whole" / "adapter_model.safetensors"))
    lines = map(json.loads, (tmp_path / "log").read_text().splitlines())
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(1, 121))  # the log was gone on with


def test_resume_of_nothing_starts(base, data, tmp_path):
    words = ("train", base, "--data", data, "--output", tmp_path / "a", "--max-steps", 3, "--resume")
    first = run_json(*words)
    before = digest(tmp_path / "a" / "adapter_model.safetensors")
    again = run_json(*words)  # the run is over: nothing is left to do
    assert (first["steps"], again["steps"], again["loss"]) == (3, 3, None)
    assert "nothing is left to do" in run(*words)[1]
    assert digest(tmp_path / "a" / "adapter_model.safetensors") == before


def test_interrupt_before_the_first_step(base):
    process = subprocess.Popen([os.environ["LORA_PROGRAM"], "chat", str(base), "--quiet"], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_progress_on_a_terminal(base, data, tmp_path):
    master, slave = pty.openpty()
    process = subprocess.Popen([os.environ["LORA_PROGRAM"], "train", str(base), "--data", str(data), "--output",
                                str(tmp_path / "a"), "--max-steps", "8"], stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    shown = b""
    while select.select([master], [], [], 20)[0]:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert process.wait(20) == 0
    text = shown.decode()
    assert text.endswith("\n")
    assert "\r" in text and "█" in text and "8/8" in text and "loss" in text and "tokens/s" in text and "left" in text


def test_validation_file_and_best_adapter(base, data, tmp_path):
    held_out = tmp_path / "held.jsonl"
    held_out.write_text("\n".join(map(json.dumps, ROWS[:3])))
    words = ("train", base, "--data", data, "--validation", held_out, "--epochs", 2, "--output")
    found = run_json(*words, tmp_path / "a")
    assert math.isclose(found["eval_loss"],
                        run_json("eval", base, "--adapter", tmp_path / "a", "--data", held_out)["loss"], rel_tol=1e-5)
    error = run(*words, tmp_path / "b", "--lang", "zh")[1]
    assert "留出：3 行" in error and "留出损失" in error


def test_storage_of_the_base(base, data, tmp_path):
    losses = [run_json("train", base, "--data", data, "--max-steps", 2, "--dtype", dtype,
                       "--output", tmp_path / dtype)["loss"] for dtype in ("f32", "bf16")]
    assert losses[0] != losses[1] and abs(losses[0] - losses[1]) < 0.05


def test_going_on_from_an_adapter(base, data, adapter, tmp_path):
    fresh = run_json("train", base, "--data", data, "--output", tmp_path / "a", "--max-steps", 1, "--shuffle", "false")
    further = run_json("train", base, "--data", data, "--output", tmp_path / "b", "--max-steps", 1, "--shuffle",
                       "false", "--init-adapter", adapter)
    assert further["loss"] < fresh["loss"]


def test_paths_in_chinese_with_spaces(base, tmp_path):
    folder = tmp_path / "我的 数据"
    folder.mkdir()
    (folder / "周 报.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    run("train", base, "--data", folder / "周 报.jsonl", "--output", folder / "适配 器", "--max-steps", 2,
        "--log", folder / "日 志.jsonl", "--report", folder / "报 告.html")
    assert len((folder / "日 志.jsonl").read_text().splitlines()) > 2 and (folder / "报 告.html").stat().st_size > 1000
    words = ["--data", folder / "周 报.jsonl", "--metrics", "loss"]
    attached = run_json("eval", base, "--adapter", folder / "适配 器", *words)
    run("merge", base, "--adapter", folder / "适配 器", "--output", folder / "合 并.gguf")
    assert run_json("eval", folder / "合 并.gguf", *words)["loss"] == pytest.approx(attached["loss"], abs=1e-3)
    error = run("train", base, "--data", folder / "没 有.jsonl", "--output", folder / "x", code=1)[1]
    assert f"{folder / '没 有.jsonl'}: cannot open it" in error and not (folder / "x").exists()


# ---- using it --------------------------------------------------------------------------------------------------------

def test_generate(base, adapter):
    found = run_json("generate", base, "--adapter", adapter, "--prompt", "Say number 3.", "--greedy",
                     "--max-new-tokens", 12)
    assert set(found) == {"text", "ids", "prompt_tokens", "generated_tokens", "prefill_tokens_per_second",
                          "decode_tokens_per_second",
                          "ready_seconds", "peak_memory_bytes"}
    assert len(found["ids"]) == found["generated_tokens"] <= 12
    plain = run("generate", base, "--adapter", adapter, "--prompt", "Say number 3.", "--greedy",
                "--max-new-tokens", 12)[0]
    assert plain == found["text"] + "\n"
    without = run_json("generate", base, "--prompt", "Say number 3.", "--greedy", "--max-new-tokens", 12)
    nothing = run_json("generate", base, "--adapter", f"{adapter}=0", "--prompt", "Say number 3.", "--greedy",
                       "--max-new-tokens", 12)
    assert nothing["ids"] == without["ids"]
    ids = run_json("tokenize", base, "--text", "Say")["ids"]
    assert run_json("generate", base, "--prompt-ids", ",".join(map(str, ids)), "--greedy",
                    "--max-new-tokens", 3)["prompt_tokens"] == len(ids)


def test_many_ids(base):
    ids = ",".join(str(100 + i % 50) for i in range(200))
    assert run_json("generate", base, "--prompt-ids", ids, "--greedy", "--max-new-tokens", 2)["prompt_tokens"] == 200
    text = run("tokenize", base, "--decode", ids)[0]
    assert text[:-1] == run_json("tokenize", base, "--decode", ids)["text"]
    assert "x: expected token ids" in run("generate", base, "--prompt-ids", "1,x", code=2)[1]
    assert "outside the vocabulary" in run("generate", base, "--prompt-ids", "99999", code=2)[1]


def test_stop_text(base, adapter):
    words = ("generate", base, "--adapter", adapter, "--prompt", "Say number 3.", "--greedy", "--max-new-tokens", 12)
    text = run_json(*words)["text"]
    stop = text[4:7]
    assert run_json(*words, "--stop", stop)["text"] == text[:text.index(stop)]


def test_seed_repeats_a_sample(base):
    words = ("generate", base, "--prompt", "Hello!", "--temperature", "1", "--max-new-tokens", 20)
    first = run_json(*words, "--seed", 5)
    assert first["ids"] == run_json(*words, "--seed", 5)["ids"]
    assert first["ids"] != run_json(*words, "--seed", 6)["ids"]


def test_a_long_prompt_overflows_clearly(base):
    error = run("generate", base, "--prompt", "word " * 3000, code=1)[1]
    assert "context is full" in error and "512" in error


def test_eval(base, adapter, data, tmp_path):
    before = run_json("eval", base, "--data", data)
    after = run_json("eval", base, "--adapter", adapter, "--data", data, "--per-example", tmp_path / "rows")
    assert after["loss"] < before["loss"]
    assert math.isclose(after["perplexity"], math.exp(after["loss"]), rel_tol=1e-6)
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert len(rows) == len(ROWS)
    assert math.isclose(sum(r["nll"] for r in rows) / sum(r["tokens"] for r in rows), after["loss"], rel_tol=1e-6)


def test_merge(base, adapter, data, tmp_path):
    prompt = ("--prompt", "Say number 5.", "--greedy", "--max-new-tokens", 16)
    attached = run_json("generate", base, "--adapter", adapter, *prompt)["ids"]
    loss = run_json("eval", base, "--adapter", adapter, "--data", data)["loss"]
    for output in (tmp_path / "merged", tmp_path / "merged.gguf"):
        report = run_json("merge", base, "--adapter", adapter, "--output", output)
        assert report["merged_tensors"] == 4 and report["max_change"] > 0 and report["probe_max_difference"] < 1e-3
        assert run_json("generate", output, *prompt)["ids"] == attached
        assert abs(run_json("eval", output, "--data", data)["loss"] - loss) < 1e-5
        assert "--force" in run("merge", base, "--adapter", adapter, "--output", output, code=1)[1]


def test_two_adapters_add_up(base, adapter, data, tmp_path):
    run("merge", base, "--adapter", f"{adapter}=0.5", "--adapter", f"{adapter}=0.5", "--output", tmp_path / "halves")
    run("merge", base, "--adapter", adapter, "--output", tmp_path / "whole")
    losses = [run_json("eval", tmp_path / name, "--data", data)["loss"] for name in ("halves", "whole")]
    assert abs(losses[0] - losses[1]) < 1e-6


def test_chat_through_a_pipe(base, adapter):
    lines = "Say number 3.\n/base\n/reset\nSay number 3.\n/adapter\n/reset\nSay number 3.\n/quit\n"
    answers = run("chat", base, "--adapter", adapter, "--greedy", "--max-new-tokens", 10,
                  "--quiet", input=lines)[0].splitlines()
    expected = [run("generate", base, *extra, "--prompt", "Say number 3.", "--greedy",
                    "--max-new-tokens", 10)[0].splitlines()
                for extra in (("--adapter", adapter), (), ("--adapter", adapter))]
    assert answers == [line for answer in expected for line in answer]


def test_chat_as_json(base):
    found = run_json("chat", base, "--greedy", "--max-new-tokens", 3, input="Hello!\n/quit\n")
    assert [m["role"] for m in found["messages"]] == ["user", "assistant"]
    assert found["messages"][0]["content"] == "Hello!"


def test_inspect(base, adapter, data, tmp_path):
    model = run_json("inspect", base)
    assert (model["kind"], model["family"], model["layers"], model["vocabulary"]) == ("model", "llama", 2, 6144)
    found = run_json("inspect", adapter)
    assert (found["kind"], found["r"], found["parameters"], found["tensors"]) == ("adapter", 8, 1792, 8)
    rows = run_json("inspect", data)
    assert (rows["kind"], rows["rows"], rows["keys"]) == ("data", 12, ["instruction", "input", "output"])
    for name, text in FORMATS.items():
        (tmp_path / (name + ".gz")).write_bytes(gzip.compress(text.encode()))
        rows = run_json("inspect", tmp_path / (name + ".gz"))
        assert (rows["rows"], rows["keys"]) == (12, ["instruction", "input", "output"]), name
    (tmp_path / "gb.csv").write_bytes("问题;回答\n几点开门？;九点\n".encode("gb18030"))
    rows = run_json("inspect", tmp_path / "gb.csv")
    assert (rows["rows"], rows["keys"]) == (1, ["问题", "回答"])
    (tmp_path / "notes.docx").write_text("text")
    assert "notes.docx: a data file's name ends in .json" in run("inspect", tmp_path / "notes.docx", code=1)[1]
    checkpoint = next(p for p in adapter.iterdir() if p.name.startswith("checkpoint-"))
    assert run_json("inspect", checkpoint)["kind"] == "checkpoint"


def test_tokenize_and_back(base):
    for text in ("Hello, world! 123", "你好，世界。", "a\tb\n\nc  d", "emoji 👩‍👩‍👧 ok"):
        ids = run_json("tokenize", base, "--text", text)["ids"]
        assert run_json("tokenize", base, "--decode", ",".join(map(str, ids)))["text"] == text


def test_plan_is_near_what_a_run_takes(tmp_path):
    data, base = tmp_path / "rows.jsonl", ROOT / "examples" / "base"
    data.write_text("\n".join(json.dumps({"input_ids": [(7 * i + 31 * r) % 6000 for i in range(128)]})
                              for r in range(8)))
    planned = run_json("plan", base, "--data", data, "--batch-size", 8, "--max-steps", 1)
    assert planned["total"] == sum(planned[k] for k in ("weights", "adapter", "gradients", "optimizer", "activations",
                                                        "workspace", "other"))
    taken = run_json("train", base, "--data", data, "--batch-size", 8, "--max-steps", 1,
                     "--output", tmp_path / "a")["peak_memory_bytes"]
    assert 0.9 < planned["total"] / taken < 1.1


def test_peak_memory_is_that_of_the_program_alone(base):
    ballast = bytearray(b"x" * (300 << 20))  # this process is larger than a generation on a tiny model
    assert run_json("generate", base, "--prompt", "Hello!",
                    "--max-new-tokens", 2)["peak_memory_bytes"] < len(ballast) // 4


def test_prompt_without_a_chat_template(base, adapter, tmp_path):
    """With an adapter the prompt has the text that training gave it, Stanford's alpaca; the base alone goes on from the
    bare text."""
    from tokenizers import Tokenizer
    plain = tmp_path / "plain"
    shutil.copytree(base, plain)
    config = json.loads((plain / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (plain / "tokenizer_config.json").write_text(json.dumps(config))
    (plain / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer = Tokenizer.from_file(str(plain / "tokenizer.json"))
    alpaca = ("Below is an instruction that describes a task. Write a response that appropriately completes the "
              "request.\n\n### Instruction:\nSay number 3.\n\n### Response:\n")
    for options, text in ((["--adapter", adapter], alpaca), ([], "Say number 3."),
                          (["--adapter", adapter, "--raw"], "Say number 3.")):
        found = run_json("generate", plain, *options, "--prompt", "Say number 3.", "--max-new-tokens", 1)
        assert found["prompt_tokens"] == len(tokenizer.encode(text).ids)
