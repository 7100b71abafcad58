"""An evaluation's document: its scores are those of the metrics, its classes scikit-learn's, its answers the session's,
its label likelihoods those of transformers, and its hints stand where they should."""
import json
import math
import pathlib

import numpy
import pytest

import liblora
from liblora import _c

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = ROOT / "examples" / "base"
HELD_OUT = ROOT / "examples" / "data" / "weekly_report.heldout.jsonl"
QUICK = {"samples": 50, "trials": 50}
ROWS = [("the cat sat on the mat", ["a cat sat on the mat"], "the dog sat"),
        ("it is raining", ["it rains", "it is raining today"], "rain"), ("yes", ["yes"], "yes")]


@pytest.fixture(scope="module")
def context():
    with liblora.Context(threads=2) as made:
        yield made


@pytest.fixture(scope="module")
def model(context):
    return liblora.Model(context, BASE)


def evaluation(context, rows, **settings):
    made = liblora.Evaluation(context, resampling=QUICK, **settings)
    for row in rows:
        made.add(*row[:2], prompt=row[3] if len(row) > 3 else None)
    for row in rows:
        if len(row) > 2 and row[2] is not None:
            made.add(row[2], baseline=True)
    return made


def classify(context, pairs, **settings):
    return evaluation(context, pairs, metrics=["accuracy", "f1"], **settings).document()


# ---- scores ----------------------------------------------------------------------------------------------------------

METRICS = {"bleu": ("bleu", {}), "bleu4": ("bleu4", {}), "chrf": ("chrf", {}), "chrf++": ("chrf", {"word_order": 2}),
           "rouge1": ("rouge1", {}),
           "rouge2": ("rouge2", {}), "rougeL": ("rougeL", {}), "rougeLsum": ("rougeLsum", {}),
           "exact_match": ("exact_match", {})}


def test_scores_are_those_of_the_metrics(context):
    document = evaluation(context, ROWS).document()
    predictions, references, baseline = zip(*ROWS)
    for name, (kind, settings) in METRICS.items():
        metric = liblora.Metric(context, kind, **settings)
        own, other = metric.rows(predictions, references)[0], metric.rows(baseline, references)[0]
        assert document[name] == pytest.approx(metric.score(own), abs=1e-9)
        interval = metric.interval(own, **QUICK)
        assert document["intervals"][name] == pytest.approx([interval["low"], interval["high"]], abs=1e-9)
        assert document["baseline"]["scores"][name] == pytest.approx(metric.score(other), abs=1e-9)
        found = metric.compare(own, other, **QUICK)
        for key in ("difference", "low", "high", "p_bootstrap", "p_randomisation"):
            assert document["baseline"]["comparison"][name][key] == pytest.approx(found[key], abs=1e-9)
    assert document["distinct_1"] == pytest.approx(100 * liblora.distinct(context, predictions, 1))
    assert document["rows"] == 3 and "loss" not in document and "accuracy" not in document
    assert document["settings"]["signatures"]["bleu"].startswith("nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp")
    sentence = liblora.Metric(context, "bleu", effective_order=1).rows(predictions, references)[1]
    assert [e["bleu"] for e in document["examples"]] == pytest.approx(list(sentence))
    assert ([e.get("reference", e.get("references")) for e in document["examples"]] ==
            [r[0] if len(r) == 1 else r for r in references])
    assert [e["baseline"] for e in document["examples"]] == list(baseline)


def test_only_what_was_asked_for(context):
    document = evaluation(context, ROWS, metrics=["rouge", "exact_match"], checklist=0).document(examples=False)
    assert {"rouge1", "rouge2", "rougeL", "rougeLsum", "exact_match"} == set(document["intervals"])
    assert not {"bleu", "chrf", "repetition", "checklist", "examples"} & set(document)
    scores = evaluation(context, ROWS, metrics=["rougeL"]).scores()
    assert scores["rouge_l"] > 0 and math.isnan(scores["bleu"])


@pytest.mark.parametrize("references, tokenizer, words", [
    (["the weather is fine"], "13a", "latin"), (["今天天气很好"], "zh", "characters"),
    (["今天天气很好", "the weather is fine today"], "zh", "characters"),
    (["the café is near the old market hall, by the river"], "13a", "latin"),
    (["Погода хорошая"], "13a", "characters")])
def test_ways_follow_the_language(context, references, tokenizer, words):
    settings = evaluation(context, [(r, [r]) for r in references]).document()["settings"]
    assert (settings["bleu_tokenizer"], settings["words"]) == (tokenizer, words)


# ---- classes ---------------------------------------------------------------------------------------------------------

LABELS = ["正面", "负面"]
ANSWERS = [("正面", "正面"), (" 正面。\n", "正面"), ("负面", "正面"), ("我觉得是正面", "正面"), ("负面", "负面"), ("正面", "负面"),
           ("Negative", "负面"), ("负面！", "负面")]


def test_classes(context):
    sklearn = pytest.importorskip("sklearn.metrics")
    document = classify(context, ANSWERS)
    truth = [0] * 4 + [1] * 4
    predicted = [0, 0, 1, -1, 1, 0, -1, 1]
    assert document["classes"]["labels"] == LABELS and document["classes"]["unknown"] == 2
    assert document["classes"]["by"] == "answer"
    assert document["accuracy"] == sklearn.accuracy_score(truth, predicted)
    for mean in ("macro", "micro", "weighted"):
        assert document[f"f1_{mean}"] == pytest.approx(sklearn.f1_score(truth, predicted, labels=[0, 1], average=mean))
    assert document["classes"]["confusion"] == sklearn.confusion_matrix(truth, predicted, labels=[0, 1]).tolist()
    assert [e["predicted_label"] for e in document["examples"]] == [LABELS[p] if p >= 0 else None for p in predicted]
    assert document["intervals"]["accuracy"][0] <= document["accuracy"] <= document["intervals"]["accuracy"][1]


def test_what_looks_like_labels(context):
    few = [(f"answer {i}", f"answer {i}") for i in range(8)]  # eight different answers to eight rows
    assert "accuracy" not in classify(context, few)
    assert classify(context, few, classify=_c.CLASSIFY_BY_ANSWER)["accuracy"] == 1
    assert "accuracy" not in classify(context, ANSWERS, classify=_c.CLASSIFY_NONE)
    with_labels = classify(context, ANSWERS[:2], labels=LABELS)
    assert with_labels["accuracy"] == 1 and with_labels["classes"]["labels"] == LABELS


def test_labels_that_do_not_fit(context):
    with pytest.raises(liblora.LoraError, match="row 5: the expected answer '负面' is none of the labels") as error:
        classify(context, ANSWERS, labels=["正面", "中性"])
    assert error.value.status == _c.ERROR_DATA
    with pytest.raises(liblora.LoraError, match="no labels"):
        classify(context, [("a\nb", "a\nb")], classify=_c.CLASSIFY_BY_ANSWER)


# ---- a model ---------------------------------------------------------------------------------------------------------

def test_answers_and_loss_of_a_model(context, model):
    data = liblora.Dataset.load(context, HELD_OUT, model.tokenizer, max_rows=6)
    made = liblora.Evaluation(context, generation={"max_new_tokens": 24, "temperature": 0}, resampling=QUICK)
    told = []
    made.run(model, data,
             on_row=lambda progress: told.append((progress["phase"], progress["row"], progress["prediction"]))
             and False)
    document = made.document()
    expected = liblora.evaluate_loss(model, data, per_row=True)
    assert document["loss"] == pytest.approx(expected["loss"], abs=1e-9)
    assert document["perplexity"] == pytest.approx(math.exp(expected["loss"]), rel=1e-9)
    assert [(e["nll"], e["tokens"]) for e in document["examples"]] == expected["nll"]
    assert document["label_tokens"] == expected["label_tokens"] and document["tokens"] == expected["tokens"]
    session = liblora.Session(model)
    for example in document["examples"]:
        ids = model.tokenizer.encode(example["prompt"], add_special=False)
        session.reset()
        assert example["prediction"] == session.generate(ids, max_new_tokens=24, temperature=0)[1]
    assert told == ([(0, i, None) for i in range(6)] +
                    [(1, i, e["prediction"]) for i, e in enumerate(document["examples"])])


def test_stopping(context, model):
    data = liblora.Dataset.load(context, HELD_OUT, model.tokenizer, max_rows=6)
    made = liblora.Evaluation(context, metrics=["bleu"], resampling=QUICK,
                              generation={"max_new_tokens": 4, "temperature": 0})
    with pytest.raises(liblora.LoraError) as error:
        made.run(model, data, on_row=lambda progress: progress["row"] == 2)
    assert error.value.status == _c.ERROR_CANCELLED
    with pytest.raises(liblora.LoraError, match="no rows"):
        made.document()
    made.run(model, data)
    made.run(model, data, baseline=True)
    comparison = made.document()["baseline"]["comparison"]["bleu"]
    assert comparison["difference"] == 0 and comparison["p_randomisation"] == 1
    with pytest.raises(liblora.LoraError, match="has rows already"):
        made.run(model, data)
    fewer = liblora.Dataset.load(context, HELD_OUT, model.tokenizer, max_rows=5)
    again = liblora.Evaluation(context, metrics=["loss"], resampling=QUICK)
    again.run(model, data)
    with pytest.raises(liblora.LoraError, match="5 rows") as error:
        again.run(model, fewer, baseline=True)
    assert error.value.status == _c.ERROR_MISMATCH


def test_likeliest_label_is_that_of_transformers(context, model, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    labels = ["good", "bad", "a little of both"]
    rows = [{"text": f"Review {i}: the room was {w}, the food {v}.", "label": labels[i % 2]}
            for i, (w, v) in enumerate((w, v) for w in ("clean", "dirty", "small", "quiet")
                                       for v in ("warm", "cold", "late"))]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    data = liblora.Dataset.load(context, path, model.tokenizer)
    made = liblora.Evaluation(context, metrics=["accuracy"], labels=labels, classify=_c.CLASSIFY_BY_LIKELIHOOD,
                              resampling=QUICK)
    made.run(model, data)
    document = made.document()
    reference = transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    end = tokenizer.apply_chat_template([{"role": "user", "content": "x"}, {"role": "assistant", "content": "good"}],
                                        tokenize=False).split("good")[-1]
    for example in document["examples"]:
        scores = []
        for label in labels:
            prompt = tokenizer(example["prompt"], add_special_tokens=False).input_ids
            # Only the end token of a turn is learnt, not what the template writes behind it.
            answer = (tokenizer(label, add_special_tokens=False).input_ids +
                      tokenizer(end.strip(), add_special_tokens=False).input_ids)
            with torch.no_grad():
                logits = reference(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
            scores.append(sum(logits[len(prompt) + i - 1, t].item() for i, t in enumerate(answer)))
        assert example["predicted_label"] == labels[int(numpy.argmax(scores))]
    assert document["classes"]["by"] == "likelihood" and "prediction" not in document["examples"][0]
    assert document["accuracy"] == numpy.mean([e["predicted_label"] == e["label"] for e in document["examples"]])


# ---- checklist -------------------------------------------------------------------------------------------------------

LONG = "we fixed the search page and met the data group on wednesday to plan the release"


@pytest.mark.parametrize("hint, row", [
    ("empty", (" \n", [LONG], None)),
    ("short", ("we did", [LONG], None)),
    ("language", ("今天我们修复了搜索页面的问题", [LONG], None)),
    ("copy", ("Write a report about the search page", [LONG], None,
              "user: Write a report about the search page\nassistant:")),
    ("no_list", (LONG, ["- a\n- b"], None, "Give a list of what was done")),
    ("no_list", (LONG, ["1. a\n2. b"], None, "请列出本周工作")),
    ("no_json", ("name: x", ['{"name": "x"}'], None, "Answer in JSON")),
    ("long", (LONG, [LONG], None, "Answer within 5 words, please")),
    ("long", ("今天我们修复了搜索页面的问题", ["今天我们修复了搜索页面的问题"], None, "请用10字以内回答")),
    ("repeats", ("the same again and again " * 8, [LONG], None)),
    ("damaged", ("fine <|im_end|> and more", [LONG], None)),
    ("few_words", ("purple monkeys eat green soup", [LONG], None)),
    ("like_base", ("the page is being looked at now", [LONG], "the page is being looked at now")),
])
def test_hints(context, hint, row):
    document = evaluation(context, [row]).document()
    found = {h["id"] for question in document["examples"][0]["checklist"].values() for h in question["hints"]}
    assert hint in found and document["checklist"]["hints"][hint] == 1


@pytest.mark.parametrize("row", [
    (LONG, [LONG], LONG, "Write a report"), ("- a\n- b", ["- c\n- d"], "x", "Give a list of two"),
    ('{"a": 1}', ['{"a": 1}'], "no", "Answer in JSON"), ("今天我们开会", ["今天我们开会"], "不知道", "用10字以内回答"),
    ("5 words", ["5 words"], "none", "Say 5 words")])
def test_good_answers_have_no_hints(context, row):
    document = evaluation(context, [row]).document()
    assert document["checklist"]["hints"] == {}
    form = document["examples"][0]["checklist"]
    assert list(form) == [q["id"] for q in document["checklist"]["questions"]] == [
        "follows_instruction", "coherent", "domain_flavour", "avoids_base_mistakes"]
    assert all(entry == {"verdict": None, "note": "", "hints": []} for entry in form.values())


def test_an_answer_cut_at_the_limit_says_so(context, model):
    data = liblora.Dataset.load(context, HELD_OUT, model.tokenizer, max_rows=2)
    made = liblora.Evaluation(context, metrics=["bleu"], resampling=QUICK,
                              generation={"max_new_tokens": 2, "temperature": 0})
    made.run(model, data)
    assert made.document()["checklist"]["hints"]["cut"] == 2


# ---- errors ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("settings, message", [
    ({"metrics": ["blue"]}, "there is no metric 'blue'"), ({"metrics": [""]}, "empty"),
    ({"bleu_tokenizer": "moses"}, "no tokenizer 'moses'"), ({"words": 9}, "LORA_WORDS_"),
    ({"classify": 9}, "LORA_CLASSIFY_"), ({"labels": [str(i) for i in range(300)]}, "256"),
    ({"resampling": {"confidence": 1.5}}, "confidence")])
def test_refusals(context, settings, message):
    with pytest.raises(liblora.LoraError, match=message) as error:
        liblora.Evaluation(context, **settings)
    assert error.value.status == _c.ERROR_ARGUMENT


def test_rows_that_do_not_fit(context):
    made = liblora.Evaluation(context)
    with pytest.raises(liblora.LoraError, match="no rows"):
        made.document()
    with pytest.raises(liblora.LoraError, match="no reference"):
        made.add("a", [])
    made.add("a", "a")
    made.add("b", "b")
    made.add("a", baseline=True)
    with pytest.raises(liblora.LoraError, match="the baseline has 1 rows, the system 2"):
        made.document()
    made.add("b", baseline=True)
    with pytest.raises(liblora.LoraError, match="already"):
        made.add("c", baseline=True)
    assert made.scores(baseline=True)["exact_match"] == 100
