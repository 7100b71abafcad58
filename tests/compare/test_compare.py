"""Comparing settings: figures against numpy and against single runs by the trainer, going on after a stop and after a
kill, refusals."""
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy
import pytest

import liblora
from liblora import LoraError, _c

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINER = {"max_steps": 12, "batch_size": 2, "learning_rate": 2e-2, "schedule": "constant", "eval_steps": 4,
           "save_steps": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    for path in (ROOT / "examples" / "base_model" / "config").iterdir():
        shutil.copy(path, folder)
    shape = json.loads((folder / "config.json").read_text())
    shape.update(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                 num_key_value_heads=1, head_dim=8, initializer_range=0.1)
    (folder / "config.json").write_text(json.dumps(shape))
    (folder / "rows.jsonl").write_text("\n".join(json.dumps({"prompt": f"Say number {i}.", "completion": f"It is {i}."})
                                                 for i in range(16)))
    (folder / "held.jsonl").write_text("\n".join(json.dumps({"prompt": f"Say number {i}.", "completion": f"It is {i}."})
                                                 for i in range(16, 24)))
    return folder


@pytest.fixture(scope="module")
def world(folder):
    model = liblora.Model(liblora.Context(threads=1), folder, initialize=1)
    load = lambda name: liblora.Dataset.load(model._keep, [folder / name], model.tokenizer)
    return model, load("rows.jsonl"), load("held.jsonl")


def make(world, output, ranks=(2, 4), full=True, trainer=TRAINER, **settings):
    model, rows, held = world
    comparison = liblora.Comparison(model, rows, output, held, answers=2, max_new_tokens=4, **settings)
    for r in ranks:
        comparison.add(f"r{r}", adapter={"r": r, "lora_alpha": 8}, trainer=trainer)
    if full:
        comparison.add("full", adapter={"full": 1}, trainer={**trainer, "learning_rate": 2e-3})
    return comparison


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    comparison = make(world, tmp_path_factory.mktemp("comparison") / "out")
    comparison.run_all()
    return comparison


def columns(document):
    """Row likelihoods of the base and of each setting."""
    return [numpy.array(document["base"]["nll"])] + [numpy.array(s["runs"][0]["nll"]) for s in document["settings"]]


# ---- figures ---------------------------------------------------------------------------------------------------------

def test_a_setting_is_what_the_trainer_alone_makes_of_it(finished, world):
    model, rows, held = world
    adapter = liblora.Adapter.create(model, r=4, lora_alpha=8)
    liblora.Trainer(adapter, rows, validation=held, **{k: v for k, v in TRAINER.items() if k != "save_steps"}).run()
    alone = liblora.evaluate_loss(model, held, [adapter], per_row=True)
    row = finished[1]
    assert row["name"] == "r4" and row["loss"] == pytest.approx(alone["loss"], rel=1e-12)
    assert columns(finished.document)[2] == pytest.approx([n for n, _ in alone["nll"]], rel=1e-12)
    saved = liblora.Adapter.load(model, row["path"])
    assert liblora.evaluate_loss(model, held, [saved])["loss"] == pytest.approx(alone["loss"], rel=1e-12)
    assert row["trainable_parameters"] == adapter.info["parameters"] and row["steps"] == 12
    assert row["parameter_share"] == pytest.approx(adapter.info["parameters"] / model.info["parameters"])
    files = list(pathlib.Path(row["path"]).glob("*.safetensors"))
    assert row["file_bytes"] == sum(f.stat().st_size for f in files) > 0
    assert 0 < row["seconds"] < 60 and 1 << 20 < row["peak_memory_bytes"] < 4 << 30
    assert finished.base["loss"] == pytest.approx(liblora.evaluate_loss(model, held)["loss"], rel=1e-12)


def test_full_fine_tuning_is_saved_as_a_model(finished, world):
    model, _, held = world
    row = finished[2]
    assert row["full"] == 1 and row["trainable_parameters"] == model.info["parameters"] and row["gain_share"] == 1
    again = liblora.Model(model._keep, row["path"])
    assert liblora.evaluate_loss(again, held)["loss"] == pytest.approx(row["loss"], rel=1e-3)


def test_shares_and_margins_are_those_of_the_losses(finished, world):
    tokens = numpy.array([n for _, n in liblora.evaluate_loss(world[0], world[2], per_row=True)["nll"]])
    base, r2, r4, full = [c.sum() / tokens.sum() for c in columns(finished.document)]
    assert finished[0]["gain_share"] == pytest.approx((base - r2) / (base - full))
    verdict = finished.verdict
    losses = [r2, r4, full]
    order = numpy.argsort(losses)
    assert (verdict["best"], verdict["runner_up"]) == (order[0], order[1])
    assert verdict["margin"] == pytest.approx(losses[order[1]] - losses[order[0]])


def test_intervals_are_those_of_a_bootstrap(finished, world):
    """Against numpy's own draws: two bootstraps of 2,000 and 20,000 draws agree to a few per cent of their width."""
    tokens = numpy.array([n for _, n in liblora.evaluate_loss(world[0], world[2], per_row=True)["nll"]])
    draws = numpy.random.default_rng(0).integers(0, len(tokens), (20_000, len(tokens)))
    for row, nll in zip([finished.base, *finished], columns(finished.document)):
        low, high = numpy.percentile(nll[draws].sum(1) / tokens[draws].sum(1), [2.5, 97.5])
        assert row["loss_low"] == pytest.approx(low, abs=0.06 * (high - low))
        assert row["loss_high"] == pytest.approx(high, abs=0.06 * (high - low))
        assert row["loss_low"] <= row["loss"] <= row["loss_high"]
    v = finished.verdict
    best, other = columns(finished.document)[1 + v["best"]], columns(finished.document)[1 + v["runner_up"]]
    low, high = numpy.percentile((other - best)[draws].sum(1) / tokens[draws].sum(1), [2.5, 97.5])
    assert v["margin_low"] == pytest.approx(low, abs=0.06 * (high - low))
    assert v["margin_high"] == pytest.approx(high, abs=0.06 * (high - low))


def test_two_equal_settings_have_no_clear_winner(world, tmp_path):
    comparison = make(world, tmp_path / "out", ranks=(), full=False)
    for name, r in [("large", 4), ("small", 2)]:
        comparison.add(name, adapter={"r": r, "lora_alpha": 8},
                       trainer={**TRAINER, "max_steps": 1, "learning_rate": 1e-7})
    comparison.run_all()
    v = comparison.verdict
    assert v["clear"] == 0 and v["margin_low"] <= 0 <= v["margin_high"]
    assert comparison[v["recommended"]]["name"] == "small" and "No clear winner" in v["sentence_en"]
    assert "没有明显的胜者" in v["sentence_zh"]
    assert v["claim"] == -1 and v["claim_sentence_en"] == ""


def test_seeds_are_averaged(world, tmp_path):
    comparison = make(world, tmp_path / "out", ranks=(2,), full=False, seeds=3)
    comparison.run_all()
    runs = [numpy.array(run["nll"]) for run in comparison.document["settings"][0]["runs"]]
    tokens = sum(n for _, n in liblora.evaluate_loss(world[0], world[2], per_row=True)["nll"])
    losses = [nll.sum() / tokens for nll in runs]
    assert len(set(losses)) == 3
    assert comparison[0]["loss"] == pytest.approx(numpy.mean(losses))
    assert comparison[0]["loss_spread"] == pytest.approx(numpy.std(losses, ddof=1))
    assert sorted(os.listdir(tmp_path / "out" / "adapters")) == ["r2", "r2-seed2", "r2-seed3"]


def test_scores_are_those_of_the_written_answers(finished):
    document = finished.document
    answers, references = document["settings"][0]["runs"][0]["answers"], [p["reference"] for p in document["prompts"]]
    assert len(answers) == 2 and references == ["It is 16.", "It is 17."]
    assert document["prompts"][0]["prompt"] == "Say number 16."
    metric = pytest.importorskip("sacrebleu").CHRF()
    assert finished[0]["chrf"] == pytest.approx(metric.corpus_score(answers, [references]).score)


def test_peak_is_of_the_run_alone(world, tmp_path):
    """A large block that the host gave back before the run is not in it."""
    comparison = make(world, tmp_path / "out", ranks=(2,), full=False)
    block = numpy.ones(400 << 20, dtype=numpy.uint8)
    del block
    comparison.run_all()
    if comparison[0]["peak_source"] == _c.PEAK_MEASURED:
        assert (comparison[0]["peak_memory_bytes"] < 400 << 20 or
                comparison[0]["peak_memory_bytes"] < resident() + (200 << 20))


def resident():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


# ---- going on --------------------------------------------------------------------------------------------------------

def test_cancelled_and_gone_on_gives_the_same_bits(world, finished, tmp_path):
    stopped_at = []

    def stop(progress):
        if (progress.phase == _c.COMPARISON_TRAIN and progress.done % 5 == 0 and
            (progress.name, progress.done) not in stopped_at):
            stopped_at.append((progress.name, progress.done))
            return True

    while True:
        comparison = make(world, tmp_path / "out")  # as a new process would
        try:
            comparison.run_all(stop)
            break
        except LoraError as error:
            assert error.status == _c.ERROR_CANCELLED
            comparison.close()
    assert len(stopped_at) == 6  # steps 5 and 10 of three settings
    assert [c.tolist() for c in columns(comparison.document)] == [c.tolist() for c in columns(finished.document)]
    curves = [[s["runs"][0]["curve"] for s in c.document["settings"]] for c in (comparison, finished)]
    assert curves[0] == curves[1]
    assert os.listdir(tmp_path / "out" / "runs") == []


def test_killed_and_gone_on_gives_the_same_result(folder, world, finished, tmp_path):
    child = (f"import sys; sys.path.insert(0, {str(ROOT / 'tests' / 'compare')!r}); "
             "import liblora, test_compare as t, time\n"
             f"model = liblora.Model(liblora.Context(threads=1), {str(folder)!r}, initialize=1)\n"
             f"load = lambda n: liblora.Dataset.load(model._keep, [{str(folder)!r} + '/' + n], model.tokenizer)\n"
             f"c = t.make((model, load('rows.jsonl'), load('held.jsonl')), {str(tmp_path / 'out')!r})\n"
             "c.run_all(lambda p: time.sleep(0.02))\nprint('whole')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for attempt in range(40):
        process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=environment, text=True)
        deadline = time.time() + 1.0 + 0.35 * attempt
        while process.poll() is None and time.time() < deadline:
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, err
    assert "whole" in out and attempt > 0
    again = make(world, tmp_path / "out")
    assert [c.tolist() for c in columns(again.document)] == [c.tolist() for c in columns(finished.document)]


def test_finished_settings_are_not_run_again_and_others_join(world, tmp_path):
    first = make(world, tmp_path / "out", ranks=(2,), full=False)
    first.run_all()
    before = columns(first.document)[1].tolist()
    first.close()
    second = make(world, tmp_path / "out", ranks=(4,), full=False)
    ran = []
    second.run_all(lambda progress: ran.append(progress.name))
    assert set(ran) == {b"r4"} and sorted(row["name"] for row in second) == ["r2", "r4"]
    assert before in [c.tolist() for c in columns(second.document)]
    assert second.run() is None


# ---- refusals --------------------------------------------------------------------------------------------------------

def test_another_comparison_is_not_overwritten(world, finished, tmp_path):
    model, rows, held = world
    make(world, tmp_path / "out", ranks=(2,), full=False).run()
    with pytest.raises(LoraError, match="'max_steps'") as error:
        make(world, tmp_path / "out", ranks=(2,), full=False, trainer={**TRAINER, "max_steps": 3}).run()
    assert error.value.status == _c.ERROR_MISMATCH
    with pytest.raises(LoraError, match="'data' differs") as error:
        other = liblora.Comparison(model, held, tmp_path / "out", rows, answers=2, max_new_tokens=4)
        other.run()
    assert error.value.status == _c.ERROR_EXISTS
    anew = make(world, tmp_path / "out", ranks=(2,), full=False, trainer={**TRAINER, "max_steps": 3}, overwrite=1)
    anew.run_all()
    assert anew[0]["steps"] == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(LoraError) as error:
        make(world, tmp_path / "mine").run()
    assert error.value.status == _c.ERROR_EXISTS and os.listdir(tmp_path / "mine") == ["letter.txt"]


def test_a_setting_that_fails_is_told_and_the_others_go_on(world, tmp_path):
    comparison = make(world, tmp_path / "out", ranks=(), full=False)
    comparison.add("wild", adapter={"r": 2}, trainer={**TRAINER, "learning_rate": 1e30, "max_grad_norm": 0})
    comparison.add("tight", adapter={"r": 2}, trainer={**TRAINER, "memory_budget": 1000})
    comparison.add("fine", adapter={"r": 2, "lora_alpha": 8}, trainer=TRAINER)
    comparison.run_all()
    assert [row["state"] for row in comparison] == [_c.SETTING_FAILED, _c.SETTING_FAILED, _c.SETTING_DONE]
    assert comparison[0]["failure"] and math.isnan(comparison[0]["loss"])
    assert "memory_budget" in comparison[1]["failure"]
    assert comparison.verdict["best"] == 2 and comparison.verdict["runner_up"] == -1


def test_damaged_file_is_refused(world, tmp_path):
    make(world, tmp_path / "out", ranks=(2,), full=False).run()
    path = tmp_path / "out" / "comparison.json"
    good = json.loads(path.read_text())
    for change in [{"version": 99}, {"settings": 3}, {"settings": [{}]}, {"base": {"nll": [1]}},
                   {"settings": [{**good["settings"][0], "runs": [{"nll": ["x"] * 8}]}]}]:
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(LoraError) as error:
            make(world, tmp_path / "out", ranks=(2,), full=False).run()
        assert error.value.status == _c.ERROR_FORMAT and "comparison.json" in str(error.value), change


def test_mistakes_are_refused(world, tmp_path):
    comparison = make(world, tmp_path / "out", ranks=(2,), full=False)
    for name in ["", "r2", "../r", "a/b", ".x", "x" * 65, "中"]:
        with pytest.raises(LoraError) as error:
            comparison.add(name)
        assert error.value.status == _c.ERROR_ARGUMENT, name
    with pytest.raises(LoraError) as error:
        make(world, tmp_path / "out", seeds=0)
    assert error.value.status == _c.ERROR_ARGUMENT
    comparison.run()
    with pytest.raises(LoraError, match="before the first run"):
        comparison.add("late")
    with pytest.raises(LoraError) as error:
        make(world, tmp_path / "out", ranks=(2,), full=False).run()
    assert error.value.status == _c.ERROR_BUSY
