"""The blind test: sides, verdicts, files, merging, and its statistics against math.comb and hand calculation."""
import json
import math
import os
import random
from fractions import Fraction

import pytest

import liblora
from liblora import LoraError, _c
from liblora._c import lib

PAIRS = [(f"Question {i}?", f"answer {i} of A", f"answer {i} of B") for i in range(21)]


@pytest.fixture(scope="module")
def context():
    return liblora.Context(threads=1)


def make(context, pairs=PAIRS, **settings):
    return liblora.BlindTest.create(context, pairs, **{"name_a": "base", "name_b": "tuned", **settings})


def judge_all(test, judge, wish):
    """Judges every pair; wish(index) is 'a', 'b' or 'tie', found by looking at the texts."""
    while (item := test.next(judge)) is not None:
        wanted = wish(item["index"])
        on_left = item["left"].endswith("A")
        test.verdict(judge, item["index"],
                     "tie" if wanted == "tie" else "left" if (wanted == "a") == on_left else "right")


# ---- statistics ------------------------------------------------------------------------------------------------------

def exact_p(wins, n):
    fewer = min(wins, n - wins)
    return float(min(1, 2 * Fraction(sum(math.comb(n, k) for k in range(fewer + 1)), 2 ** n)))


def test_binomial_test_is_exact():
    for n in [0, 1, 2, 3, 10, 31, 100, 1000, 2000]:
        for wins in {0, n // 3, n // 2, (n + 1) // 2, max(0, n - 2), n}:
            assert lib.lora_binomial_two_sided(wins, n) == pytest.approx(exact_p(wins, n) if n else 1,
                                                                         rel=1e-11), (wins, n)
    assert lib.lora_binomial_two_sided(9, 10) == pytest.approx(22 / 1024)  # 2 * (1 + 10) / 2^10


def test_interval_is_clopper_and_pearsons():
    """Its ends are where the exact tail is 2.5 %."""
    low, high = _c.DOUBLE(), _c.DOUBLE()

    def tail(n, ks, p):
        return math.fsum(math.comb(n, k) * p ** k * (1 - p) ** (n - k) for k in ks)

    for wins, n in [(0, 5), (5, 5), (1, 7), (14, 18), (50, 100), (3, 200)]:
        lib.lora_binomial_interval(wins, n, 0.95, low, high)
        assert low.value == 0 if wins == 0 else tail(n, range(wins, n + 1), low.value) == pytest.approx(0.025, rel=1e-9)
        assert high.value == 1 if wins == n else tail(n, range(wins + 1), high.value) == pytest.approx(0.025, rel=1e-9)
    lib.lora_binomial_interval(0, 0, 0.95, low, high)
    assert (low.value, high.value) == (0, 1)


def test_result_counts_wins_and_leaves_ties_out(context):
    test = make(context)
    judge_all(test, "me", lambda i: "b" if i < 14 else "a" if i < 18 else "tie")
    r = test.result
    assert (r["wins_a"], r["wins_b"], r["ties"], r["pairs"], r["judges"], r["verdicts"]) == (4, 14, 3, 21, 1, 21)
    assert r["share"] == pytest.approx(4 / 18) and r["p_value"] == pytest.approx(exact_p(4, 18))
    assert "tuned is preferred to base: it won 14 of 18" in r["sentence_en"] and "3 ties" in r["sentence_en"]
    assert "tuned 比 base 更受欢迎" in r["sentence_zh"]
    assert math.isnan(r["agreement"])
    document = test.document
    assert document["b"] == {"name": "tuned", "wins": 14} and document["pairs"][0]["winner"] == "b"
    assert document["pairs"][20]["winner"] == "tie" and document["judges"][0]["wins_a"] == 4


def test_no_clear_preference_and_nothing_decided(context):
    test = make(context)
    assert test.result["p_value"] == 1 and "Nothing is decided" in test.result["sentence_en"]
    judge_all(test, "me", lambda i: "ab"[i % 2])
    assert "No clear preference: base won 11 of 21" in test.result["sentence_en"]


def test_agreement_of_judges(context):
    """By hand: three pairs, two judges; choices (a,a), (a,b), (b,b). Coincidences: aa 2, ab 1, ba 1, bb 2, so n = 6,
    n_a = n_b = 3; alpha = 1 - (n - 1) * 2 / (2 * 3 * 3) = 1 - 5 * 2 / 18."""
    test = make(context, PAIRS[:3])
    judge_all(test, "one", lambda i: "aab"[i])
    judge_all(test, "two", lambda i: "abb"[i])
    r = test.result
    assert r["agreement"] == pytest.approx(2 / 3) and r["alpha"] == pytest.approx(1 - 10 / 18)
    # A pair counts once: the second is a draw of one against one
    assert (r["wins_a"], r["wins_b"], r["ties"]) == (1, 1, 1)


# ---- blindness -------------------------------------------------------------------------------------------------------

def sides(test, judge="j"):
    found = []
    while (item := test.next(judge)) is not None:
        found.append(item["left"].endswith("A"))
        test.verdict(judge, item["index"], "tie")
    return found


def test_sides_are_half_and_half_from_the_seed_alone(context):
    first = sides(make(context, seed=1))
    assert sum(first) in (10, 11)
    assert first == sides(make(context, seed=1)) == sides(make(context, seed=1), "someone else")
    assert first != sides(make(context, seed=2))
    swapped = [(q, a.replace("answer", "another text"), b) for q, a, b in PAIRS]
    assert first == sides(make(context, swapped, seed=1))  # the answers have no say
    ups = [sum(s) for s in zip(*[sides(make(context, seed=s)) for s in range(200)])]
    assert all(60 < up < 140 for up in ups)  # each pair: about half of the seeds


def test_file_does_not_show_whose_side_is_which(context, tmp_path):
    lefts = []
    for seed in range(40):
        test = make(context, [(q, "xxxx" + str(i), "yyyy" + str(i)) for i, (q, _, _) in enumerate(PAIRS)], seed=seed)
        test.save(tmp_path / f"{seed}.json")
        file = json.loads((tmp_path / f"{seed}.json").read_text())
        assert set(file["pairs"][0]) == {"prompt", "left", "right"} and list(file)[-1] == "key"
        lefts += [(p["left"].startswith("x"), bit == "1") for p, bit in zip(file["pairs"], file["key"]["sides"])]
    agree = sum(a == b for a, b in lefts) / len(lefts)
    assert 0.4 < agree < 0.6  # the masked bits tell nothing by themselves


def test_same_texts_are_ties_and_not_shown(context):
    test = make(context, [("q", "same", "same"), ("q", "of A", "of B")])
    assert test.next("me")["index"] == 1 and test.next("me")["total"] == 1
    with pytest.raises(LoraError, match="not shown"):
        test.verdict("me", 0, "left")
    assert (test.result["ties"], test.result["identical"], test.result["pairs"]) == (1, 1, 1)


# ---- judging ---------------------------------------------------------------------------------------------------------

def test_undo_and_second_thoughts(context):
    test = make(context, PAIRS[:4])
    assert test.undo("me") == -1
    test.verdict("me", 0, "left")
    test.verdict("me", 1, "tie")
    assert test.next("me")["index"] == 2 and test.undo("me") == 1 and test.next("me")["index"] == 1
    before = test.result
    test.verdict("me", 0, "right")
    assert test.result["verdicts"] == 1 and test.result["wins_a"] == before["wins_b"]


def test_mistakes_are_refused(context, tmp_path):
    test = make(context, PAIRS[:2])
    for arguments in [("", 0, 1), ("x" * 65, 0, 1), ("me", 2, 1), ("me", -1, 1), ("me", 0, 0), ("me", 0, 4)]:
        assert lib.lora_ab_verdict(test.handle, arguments[0].encode(), arguments[1], arguments[2]) == _c.ERROR_ARGUMENT
    with pytest.raises(LoraError, match="two names"):
        liblora.BlindTest.create(context, name_a="x", name_b="x")
    test.verdict("me", 0, "left")
    with pytest.raises(LoraError, match="judged"):
        _c.call("lora_ab_add", test.handle, b"q", b"a", b"b")


# ---- files -----------------------------------------------------------------------------------------------------------

def test_file_keeps_everything(context, tmp_path):
    path = tmp_path / "test.json"
    test = make(context, [("线上的问题？\n\"quoted\"", "emoji 🎉 A", "tab\t B")] + PAIRS, about="what was compared")
    judge_all(test, "小明", lambda i: "ab"[i % 2] if i % 5 else "tie")
    test.save(path)
    again = liblora.BlindTest.load(context, path)
    assert again.document == test.document and lib.lora_ab_about(again.handle) == b"what was compared"
    assert again.undo("小明") == 21
    with pytest.raises(LoraError) as error:
        test.save(path)
    assert error.value.status == _c.ERROR_EXISTS
    again.save(path, overwrite=True)
    assert os.listdir(tmp_path) == ["test.json"]


def test_merging_judges(context, tmp_path):
    make(context).save(tmp_path / "empty.json")
    copies = [liblora.BlindTest.load(context, tmp_path / "empty.json") for _ in range(2)]
    judge_all(copies[0], "one", lambda i: "a")
    judge_all(copies[1], "two", lambda i: "a" if i else "b")
    copies[0].merge(copies[1])
    copies[0].merge(copies[1])  # the same again adds nothing
    r = copies[0].result
    assert (r["judges"], r["verdicts"], r["wins_a"], r["ties"]) == (2, 42, 20, 1)
    assert r["agreement"] == pytest.approx(20 / 21)
    other = make(context, seed=3)
    with pytest.raises(LoraError, match="different tests"):
        copies[0].merge(other)
    rival = liblora.BlindTest.load(context, tmp_path / "empty.json")
    judge_all(rival, "one", lambda i: "b")
    with pytest.raises(LoraError, match="judge 'one'"):
        copies[0].merge(rival)
    assert copies[0].result["verdicts"] == 42


def test_damaged_files_are_refused(context, tmp_path):
    path = tmp_path / "good.json"
    test = make(context, PAIRS[:3])
    judge_all(test, "me", lambda i: "a")
    test.save(path)
    good = json.loads(path.read_text())
    rng = random.Random(1)
    for change in [{"version": 9}, {"pairs": 1}, {"pairs": [{}]}, {"key": {}}, {"key": {**good["key"], "sides": "01"}},
                   {"judges": [1]},
                   {"judges": [{"name": "x", "verdicts": [{"pair": 99, "choice": "left"}]}]},
                   {"judges": [{"name": "x", "verdicts": [{"pair": 0, "choice": "up"}]}]}]:
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(LoraError) as error:
            liblora.BlindTest.load(context, path)
        assert error.value.status == _c.ERROR_FORMAT and "good.json" in str(error.value)
    text = json.dumps(good)
    for _ in range(200):  # cut anywhere
        path.write_text(text[:rng.randrange(len(text))])
        with pytest.raises(LoraError):
            liblora.BlindTest.load(context, path)
