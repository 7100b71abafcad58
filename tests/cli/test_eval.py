"""lora eval: answers of a model and answers in a file, scored, compared, written."""
import json
import math

import pytest

from .conftest import ROWS, run, run_json

TEXT_SCORES = {"bleu", "bleu4", "chrf", "chrf++", "rouge1", "rouge2", "rougeL", "rougeLsum", "exact_match"}


def lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.fixture
def answers(tmp_path):
    return lines(tmp_path / "answers.jsonl", [
        {"prediction": "the cat sat on the mat", "references": ["a cat sat on the mat", "the cat was on the mat"]},
        {"prediction": "dogs bark at night", "reference": "dogs bark at the moon"},
        {"prediction": "yes", "reference": "no"}])


def test_model(base, adapter, data, tmp_path):
    """An adapter that has learnt the rows answers them; the base does not."""
    found = run_json("eval", base, "--adapter", adapter, "--data", data, "--baseline", "base", "--max-new-tokens", 16,
                     "--per-example", tmp_path / "rows", "--output", tmp_path / "all.json")
    assert TEXT_SCORES | {"loss", "perplexity"} <= set(found) and "examples" not in found
    assert set(found["intervals"]) == TEXT_SCORES | {"loss", "perplexity", "repetition"}
    assert found["baseline"]["scores"]["loss"] > found["loss"]
    assert math.isclose(found["baseline"]["comparison"]["loss"]["difference"],
                        found["loss"] - found["baseline"]["scores"]["loss"])
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert [row["reference"] for row in rows] == [row["output"] for row in ROWS]
    assert all({"row", "nll", "tokens", "prompt", "prediction", "bleu", "rougeL", "baseline"} <= set(row)
               and "checklist" not in row for row in rows)
    document = json.loads((tmp_path / "all.json").read_text())
    assert len(document["examples"]) == len(ROWS) and "follows_instruction" in document["examples"][0]["checklist"]
    for answer, row in zip(document["examples"], ROWS):
        prompt = row["instruction"]
        alone = run_json("generate", base, "--adapter", adapter, "--prompt", prompt, "--greedy", "--max-new-tokens", 16)
        assert alone["text"] == answer["prediction"]


def test_file_by_sacrebleu(answers):
    sacrebleu = pytest.importorskip("sacrebleu")
    found = run_json("eval", "--predictions", answers)
    predictions = ["the cat sat on the mat", "dogs bark at night", "yes"]
    references = [["a cat sat on the mat", "dogs bark at the moon", "no"], ["the cat was on the mat", None, None]]
    assert abs(found["bleu"] - sacrebleu.corpus_bleu(predictions, references).score) < 1e-9
    assert abs(found["chrf"] - sacrebleu.corpus_chrf(predictions, references).score) < 1e-9
    assert found["exact_match"] == 0 and found["rows"] == 3 and "loss" not in found
    char = run_json("eval", "--predictions", answers, "--bleu-tokenizer", "char", "--metrics", "bleu")
    assert abs(char["bleu"] - sacrebleu.corpus_bleu(predictions, references, tokenize="char").score) < 1e-9
    assert not {"chrf", "rouge1"} & set(char)


def test_two_files(answers, tmp_path):
    other = lines(tmp_path / "other.jsonl", [{"prediction": "a cat"}, {"prediction": "dogs"}, {"prediction": "yes"}])
    found = run_json("eval", "--predictions", answers, "--baseline", other, "--metrics", "rouge")
    assert found["baseline"]["comparison"]["rouge1"]["difference"] > 0
    out, _ = run("eval", "--predictions", answers, "--baseline", other)
    assert "ROUGE-L" in out and "baseline" in out and "p:" in out
    longer = lines(tmp_path / "longer.jsonl", [{"prediction": "a"}] * 4)
    assert "more rows" in run("eval", "--predictions", answers, "--baseline", longer, code=1)[1]
    shorter = lines(tmp_path / "shorter.jsonl", [{"prediction": "a"}])
    assert "the baseline has 1 rows, the system 3" in run("eval", "--predictions", answers,
                                                          "--baseline", shorter, code=1)[1]


def test_predictions_of_llama_factory(tmp_path):
    path = lines(tmp_path / "generated_predictions.jsonl",
                 [{"prompt": "q", "predict": "你好", "label": "你好"}, {"prompt": "q", "predict": "a", "label": "b"}])
    found = run_json("eval", "--predictions", path)
    assert found["exact_match"] == 50


def test_classes(tmp_path):
    path = lines(tmp_path / "classes.jsonl", [{"prediction": p, "reference": r} for p,
                                              r in ["AA", "AA", "BA", "AB", "BB", "BB", "BB", "CB"]])
    found = run_json("eval", "--predictions", path)
    assert found["accuracy"] == 5 / 8 and found["classes"]["unknown"] == 1 and found["classes"]["labels"] == ["A", "B"]
    assert found["classes"]["confusion"] == [[2, 1], [1, 3]]
    out, _ = run("eval", "--predictions", path, "--lang", "zh")
    assert "准确率" in out and "62.5 %" in out and "真实" in out and "BLEU" not in out
    out, _ = run("eval", "--predictions", path, "--labels", "A,B,C", "--metrics", "accuracy,bleu")
    assert "BLEU" in out


def test_labels_by_likelihood(base, tmp_path):
    rows = lines(tmp_path / "rows.jsonl",
                 [{"text": f"number {i}", "label": "odd" if i % 2 else "even"} for i in range(8)])
    found = run_json("eval", base, "--data", rows, "--classify", "likelihood", "--metrics", "accuracy,f1")
    assert found["classes"]["by"] == "likelihood" and found["classes"]["unknown"] == 0
    assert sum(map(sum, found["classes"]["confusion"])) == 8


def test_checklist(tmp_path):
    path = lines(tmp_path / "hints.jsonl", [{"prompt": "Answer in JSON.", "prediction": "name: x",
                                             "reference": '{"name": "x"}'},
                                           {"prediction": " ", "reference": "something"}])
    out, _ = run("eval", "--predictions", path, "--checklist", "--per-example", tmp_path / "rows")
    assert "row 1: JSON was asked for" in out and "row 2: the answer is empty" in out
    assert "checklist" in json.loads((tmp_path / "rows").read_text().splitlines()[0])


def test_trouble(answers, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert "is there already" in run("eval", "--predictions", answers, "--per-example", taken, code=1)[1]
    assert taken.read_text() == "mine"
    run("eval", "--predictions", answers, "--per-example", taken, "--force")
    assert len(taken.read_text().splitlines()) == 3
    assert "could not be written" in run("eval", "--predictions", answers,
                                         "--output", tmp_path / "no" / "where", code=1)[1]
    broken = lines(tmp_path / "broken.jsonl", [{"prediction": "a", "reference": "a"}, {"prediction": "a"}])
    assert f"{broken}:2: the row has no text under 'reference'" in run("eval", "--predictions", broken, code=1)[1]
