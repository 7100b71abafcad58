"""Scores equal to the reference packages: sacrebleu, rouge_score, NLTK, scikit-learn, live, on random pairs and on
their data."""
import collections
import json
import logging
import os
import pathlib
import random
import re

import numpy
import pytest
import regex

import liblora
from liblora import _c
from reference_texts import pairs

SHARED = pathlib.Path(os.environ["LIBLORA_SHARED"]) / "data" / "metrics"
ROWS = 5000
TOLERANCE = 1e-9
logging.getLogger("sacrebleu").setLevel(logging.ERROR)
sacrebleu_bleu = pytest.importorskip("sacrebleu.metrics").BLEU
sacrebleu_chrf = pytest.importorskip("sacrebleu.metrics").CHRF


@pytest.fixture(scope="module")
def context():
    with liblora.Context(threads=1) as made:
        yield made


@pytest.fixture(scope="module")
def single():
    return pairs(ROWS)


@pytest.fixture(scope="module")
def multiple():
    """Two or three references; the third is missing now and then."""
    predictions, references = pairs(1000, seed=2, references=3)
    return predictions, [own if i % 3 else own[:2] for i, own in enumerate(references)]


def by_column(references):
    most = max(map(len, references))
    return [[own[k] if k < len(own) else None for own in references] for k in range(most)]


def close(found, expected, rows=None):
    found, expected = numpy.asarray(found), numpy.asarray(expected)
    worst = int(numpy.argmax(numpy.abs(found - expected))) if found.ndim else 0
    assert numpy.allclose(found, expected, rtol=0, atol=TOLERANCE), (
        worst, found.flat[worst], expected.flat[worst], rows and (rows[0][worst], rows[1][worst]))


# ---- BLEU ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("tokenizer", ["13a", "zh", "intl", "char", "none"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_bleu(context, single, tokenizer, lowercase):
    theirs = sacrebleu_bleu(tokenize=tokenizer, lowercase=lowercase)
    metric = liblora.Metric(context, "bleu", tokenizer=tokenizer, lowercase=lowercase)
    statistics, _ = metric.rows(*single)
    expected = numpy.array(theirs._extract_corpus_statistics(single[0], by_column(single[1])))
    differ = numpy.nonzero((statistics != expected).any(1))[0]
    assert len(differ) == 0, [(single[0][i], single[1][i], statistics[i], expected[i]) for i in differ[:3]]
    close(metric.score(statistics), theirs.corpus_score(single[0], by_column(single[1])).score)


@pytest.mark.parametrize("smoothing, value", [("exp", None), ("floor", None), ("floor", 0.02), ("add-k", None),
                                              ("add-k", 0.5), ("none", None)])
@pytest.mark.parametrize("effective", [False, True])
@pytest.mark.parametrize("order", [4, 2])
def test_bleu_of_sentences(context, multiple, smoothing, value, effective, order):
    theirs = sacrebleu_bleu(smooth_method=smoothing, smooth_value=value, effective_order=effective,
                            max_ngram_order=order)
    metric = liblora.Metric(context, "bleu", smoothing=smoothing, smoothing_value=-1 if value is None else value,
                            effective_order=effective, order=order)
    close(metric.rows(*multiple)[1], [theirs.sentence_score(p, r).score for p, r in zip(*multiple)], multiple)


def test_bleu_of_several_references(context, multiple):
    theirs = sacrebleu_bleu()
    expected = theirs.corpus_score(multiple[0], by_column(multiple[1])).score
    metric = liblora.Metric(context, "bleu")
    close(metric.corpus(*multiple), expected)
    assert metric.signature(0).rsplit("|", 1)[0] == str(theirs.get_signature()).rsplit("|", 1)[0]


@pytest.mark.parametrize("settings, ours", [
    ({}, {}), ({"tokenize": "zh", "lowercase": True}, {"tokenizer": "zh", "lowercase": 1}),
    ({"smooth_method": "floor"}, {"smoothing": "floor"}),
    ({"smooth_method": "add-k", "smooth_value": 2}, {"smoothing": "add-k", "smoothing_value": 2}),
    ({"effective_order": True, "tokenize": "none"}, {"effective_order": 1, "tokenizer": "none"})])
def test_signature_of_bleu(context, settings, ours):
    theirs = sacrebleu_bleu(**settings)
    theirs.corpus_score(["a"], [["a"]])
    found = liblora.Metric(context, "bleu", **ours).signature()
    assert found.rsplit("|", 1)[0] == str(theirs.get_signature()).rsplit("|", 1)[0]
    assert found.rsplit("|", 1)[1] == f"version:liblora-{liblora.__version__}"


def test_bleu_of_nlg_eval(context):
    """The figures that nlg-eval states, to the six places given; its tiny constants change the last."""
    folder = SHARED / "nlg-eval"
    if not folder.exists():
        pytest.skip("needs the shared data")
    expected = json.loads((folder / "expected.json").read_text())
    lines = [(folder / name).read_text().splitlines() for name in ("hyp.txt", "ref1.txt", "ref2.txt")]
    for order in (1, 2, 3, 4):
        metric = liblora.Metric(context, "bleu", tokenizer="none", smoothing="none", order=order)
        assert abs(metric.corpus(lines[0], list(zip(*lines[1:]))) / 100 - expected[f"Bleu_{order}"]) < 2e-6


@pytest.mark.filterwarnings("ignore")
def test_bleu4_of_llama_factory(context, single, multiple):
    """sentence_bleu([list(label)], list(prediction), smoothing_function=SmoothingFunction().method3), times 100."""
    nltk = pytest.importorskip("nltk.translate.bleu_score")
    smoothing = nltk.SmoothingFunction().method3
    metric = liblora.Metric(context, "bleu4")
    for predictions, references in (single, multiple):
        scores = metric.rows(predictions, references)[1]
        close(scores, [100 * nltk.sentence_bleu([list(r) for r in own], list(p), smoothing_function=smoothing)
                       for p, own in zip(predictions, references)], (predictions, references))
        close(metric.corpus(predictions, references), numpy.mean(scores))


# ---- chrF ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("settings, ours", [
    ({}, {}), ({"word_order": 2}, {"word_order": 2}), ({"lowercase": True, "whitespace": True},
                                                       {"lowercase": 1, "whitespace": 1}),
    ({"char_order": 3, "beta": 1, "eps_smoothing": True, "word_order": 1},
     {"order": 3, "beta": 1, "epsilon": 1, "word_order": 1})])
def test_chrf(context, single, multiple, settings, ours):
    theirs, metric = sacrebleu_chrf(**settings), liblora.Metric(context, "chrf", **ours)
    for rows in (single, multiple):
        statistics, scores = metric.rows(*rows)
        close(metric.score(statistics), theirs.corpus_score(rows[0], by_column(rows[1])).score)
        close(scores, [theirs.sentence_score(p, r).score for p, r in zip(*rows)], rows)
    theirs.corpus_score(["a"], [["a"]])
    assert metric.signature().rsplit("|", 1)[0] == str(theirs.get_signature()).rsplit("|", 1)[0]


# ---- ROUGE -----------------------------------------------------------------------------------------------------------

KINDS = ["rouge1", "rouge2", "rouge3", "rougeL", "rougeLsum"]


def check_rouge(context, rows, scorer, **settings):
    expected = [scorer.score_multi(own, p) for p, own in zip(*rows)]
    for kind in KINDS:
        statistics, scores = liblora.Metric(context, kind, **settings).rows(*rows)
        close(statistics[:, :3], [[e[kind].precision, e[kind].recall, e[kind].fmeasure] for e in expected])
        close(scores, [100 * e[kind].fmeasure for e in expected], rows)


@pytest.mark.parametrize("stem", [False, True])
def test_rouge(context, single, multiple, stem):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(KINDS, use_stemmer=stem)
    check_rouge(context, multiple, scorer, stem=stem)
    check_rouge(context, single, scorer, stem=stem)


class Cut:
    """A tokenizer for rouge_score that knows no more than the description in metrics.h."""

    def __init__(self, function):
        self.tokenize = function


def characters(text):
    return regex.findall(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}ー]|"
                         r"(?:(?![\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}ー])[\p{L}\p{M}\p{N}])+", text.lower())


@pytest.mark.parametrize("words, cut", [(_c.WORDS_CHARACTERS, characters), (_c.WORDS_SPACES, str.split)])
def test_rouge_of_chinese(context, single, words, cut):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(KINDS, tokenizer=Cut(cut))
    check_rouge(context, single, scorer, words=words)


def test_rouge_of_words_that_jieba_cut(context):
    jieba, theirs = pytest.importorskip("jieba"), pytest.importorskip("rouge_chinese")
    jieba.setLogLevel(logging.ERROR)
    draw = random.Random(3)
    sentences = ["今天天气很好我们去公园玩", "模型训练需要很多数据", "他在北京大学学习计算机科学", "数据越多模型越好", "我们在公园看见很多人"]
    cut = [" ".join(jieba.cut("".join(draw.sample(sentences, 2)))) for _ in range(40)]
    predictions, references = cut[:20], cut[20:]
    expected = theirs.Rouge().get_scores(predictions, references)
    for kind, name, distinct in (("rouge1", "rouge-1", 1), ("rouge2", "rouge-2", 1), ("rougeL", "rouge-l", 0)):
        statistics, _ = liblora.Metric(context, kind, words=_c.WORDS_SPACES,
                                       distinct=distinct).rows(predictions, references)
        close(statistics[:, :2], [[e[name]["p"], e[name]["r"]] for e in expected])


def test_rouge_of_pltrdy(context):
    """rouge counts different n-grams, and adds 1e-8 to the divisor of F."""
    path = SHARED / "pltrdy-rouge" / "data.json"
    if not path.exists():
        pytest.skip("needs the shared data")
    rows = json.loads(path.read_text())
    for kind, name in (("rouge1", "rouge-1"), ("rouge2", "rouge-2")):
        metric = liblora.Metric(context, kind, words=_c.WORDS_SPACES, distinct=1)
        statistics, _ = metric.rows([r["hyp"] for r in rows], [r["ref"] for r in rows])
        expected = [r["scores"][name] for r in rows]
        close(statistics[:, :2], [[e["p"], e["r"]] for e in expected])
        p, r = statistics[:, 0], statistics[:, 1]
        close(2 * p * r / (p + r + 1e-8), [e["f"] for e in expected])


def test_stemmer(context):
    """A stem meets its word where it is its own stem; elsewhere it meets what NLTK makes of it."""
    stemmer = pytest.importorskip("nltk.stem.porter").PorterStemmer()
    starts = ["y", "yy", "sky", "tr", "tree", "oat", "troubl", "relat", "gener", "fall", "hiss", "hop", "fil",
              "controll", "ratio", "bbl", "syzyg", "archaeo", "geo", "enjo", "happ", "spie", "d", "ll", "s", "adopt",
              "a1b", "2024", "agr", "siz", "conflat", "toy"]
    ends = ("s es ies ied ed eed ing sses ss y ational tional enci anci izer bli abli alli entli eli ousli ization "
            "ation ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful "
            "ness al ance ence er ic able ible ant ement ment ent ion sion tion "
            "ou ism ate iti ous ive ize e ll lle").split()
    words = {s + e for s in starts for e in ends + [a + b for a in ends for b in ("ed", "ing", "s", "ly", "ness")]}
    words = sorted(w for w in words | set(stemmer.pool) if len(w) > 3)
    stems = [stemmer.stem(w) for w in words]
    again = [stemmer.stem(s) if len(s) > 3 else s for s in stems]
    found = liblora.Metric(context, "rouge1", stem=1).rows(words, stems)[1]
    assert len(words) > 5000
    assert [w for w, f, a, s in zip(words, found, again, stems) if (f == 100) != (a == s)] == []


# ---- exact match, diversity ------------------------------------------------------------------------------------------

def test_exact_match(context):
    metric = liblora.Metric(context, "exact_match")
    _, scores = metric.rows(["a", " a\n", "a b", "A", "", "好"],
                            [["b", "a"], ["a"], ["a  b"], ["a"], [" "], ["好\u3000"]])
    assert scores.tolist() == [100, 100, 0, 0, 100, 100]


def grams(words, n):
    return [tuple(words[i:i + n]) for i in range(len(words) - n + 1)]


def longest_repeat(words):
    for length in range(len(words) - 1, 0, -1):
        if max(collections.Counter(grams(words, length)).values()) > 1:
            return length
    return 0


@pytest.mark.parametrize("words, cut", [(_c.WORDS_CHARACTERS, characters), (_c.WORDS_SPACES, str.split)])
def test_diversity(context, single, words, cut):
    texts = single[0][:1500] + ["a " * 70, "ab cd ef " * 9 + "ab", "的" * 33]
    for n in (1, 2, 4):
        listed = [g for t in texts for g in grams(cut(t), n)]
        close(liblora.distinct(context, texts, n, words), len(set(listed)) / len(listed))
        for text in texts:
            found, own = liblora.repetition(context, text, n, words), cut(text)
            of_text = grams(own, n)
            assert found["words"] == len(own) and found["longest"] == longest_repeat(own), text
            close(found["share"], (len(of_text) - len(set(of_text))) / len(of_text) if of_text else 0)
    assert liblora.distinct(context, [], 1) == 0


# ---- classes ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("classes, seed", [(2, 0), (5, 1), (10, 2)])
def test_classes(context, classes, seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = numpy.random.default_rng(seed)
    truth = draw.integers(0, classes - 1, 300)  # the last class is never true
    predicted = numpy.where(draw.random(300) < 0.6, truth, draw.integers(-1, classes, 300))
    found = liblora.classify(context, truth, predicted, classes, samples=20)
    labels = sorted(set(truth) | set(predicted[predicted >= 0]))
    close(found["accuracy"], sklearn.accuracy_score(truth, predicted))
    assert found["unknown"] == (predicted == -1).sum() and found["rows"] == 300
    for mean in ("macro", "micro", "weighted"):
        p, r, f, _ = sklearn.precision_recall_fscore_support(truth, predicted, labels=labels, average=mean,
                                                             zero_division=0)
        close([found[f"precision_{mean}"], found[f"recall_{mean}"], found[f"f1_{mean}"]], [p, r, f])
    p, r, f, support = sklearn.precision_recall_fscore_support(truth, predicted, labels=range(classes), average=None,
                                                               zero_division=0)
    for i, one in enumerate(found["classes"]):
        close([one["precision"], one["recall"], one["f1"], one["support"]], [p[i], r[i], f[i], support[i]])
    assert (found["confusion"] == sklearn.confusion_matrix(truth, predicted, labels=range(classes))).all()


def test_classes_out_of_range(context):
    for truth, predicted in (([2], [0]), ([0], [2]), ([-1], [0]), ([0], [-2])):
        with pytest.raises(liblora.LoraError) as error:
            liblora.classify(context, truth, predicted, 2)
        assert error.value.status == _c.ERROR_ARGUMENT


# ---- how sure --------------------------------------------------------------------------------------------------------

def test_interval_of_a_mean(context):
    """Of rows that are right with share 0.7, the percentiles are the binomial's: mean 70, deviation sqrt(0.7 * 0.3 /
    400)."""
    metric = liblora.Metric(context, "exact_match")
    statistics, _ = metric.rows(["a"] * 280 + ["b"] * 120, ["a"] * 400)
    found = metric.interval(statistics, samples=4000)
    deviation = 100 * (0.7 * 0.3 / 400) ** 0.5
    assert found["score"] == 70 and abs(found["mean"] - 70) < 5 * deviation / 4000 ** 0.5
    assert abs(found["low"] - (70 - 1.96 * deviation)) < 0.15 * deviation
    assert abs(found["high"] - (70 + 1.96 * deviation)) < 0.15 * deviation
    assert metric.interval(statistics, samples=4000) == found
    assert metric.interval(statistics, samples=4000, seed=1) != found
    narrow = metric.interval(statistics, samples=4000, confidence=0.5)
    assert abs(narrow["high"] - narrow["low"] - 2 * 0.6745 * deviation) < 0.15 * deviation


def test_tests_on_one_row(context):
    """Every draw is that row: |d*| - mean|d*| = 0 is never as large as |d|, and both tosses of the coin are."""
    metric = liblora.Metric(context, "exact_match")
    right, wrong = metric.rows(["a"], ["a"])[0], metric.rows(["b"], ["a"])[0]
    found = metric.compare(right, wrong, samples=99, trials=199)
    assert (found["difference"], found["low"], found["high"]) == (100, 100, 100)
    assert found["p_bootstrap"] == 1 / 100 and found["p_randomisation"] == 1
    same = metric.compare(right, right, samples=99, trials=199)
    assert same["difference"] == 0 and same["p_bootstrap"] == 1 and same["p_randomisation"] == 1


@pytest.mark.parametrize("better, worse, share", [(3, 0, 2 / 8), (5, 0, 2 / 32), (4, 1, 12 / 32), (2, 1, 1)])
def test_randomisation_on_few_rows(context, better, worse, share):
    """Rows where one system alone is right are coins: the share of tosses whose difference is at least that found, by
    counting."""
    metric = liblora.Metric(context, "exact_match")
    rows = [(1, 0)] * better + [(0, 1)] * worse + [(1, 1)] * 2
    system, baseline = ([[float(row[k]), 1] for row in rows] for k in (0, 1))
    found = metric.compare(system, baseline, trials=20000)
    assert abs(found["difference"] - 100 * (better - worse) / len(rows)) < TOLERANCE
    assert abs(found["p_randomisation"] - share) <= 4 * (share * (1 - share) / 20000) ** 0.5 + 1e-4


@pytest.mark.parametrize("name, theirs", [("bleu", sacrebleu_bleu), ("chrf", sacrebleu_chrf)])
def test_significance_as_sacrebleu_finds_it(context, name, theirs):
    """The same tests with other random numbers: p within what two runs of theirs may differ by, intervals likewise."""
    paired = pytest.importorskip("sacrebleu.significance").PairedTest
    draw = random.Random(5)
    words = "the cat sat on a mat and saw many birds fly over green hills while it slept".split()
    references = [" ".join(draw.choices(words, k=12)) for _ in range(120)]

    def spoil(text, share):
        return " ".join(draw.choice(words) if draw.random() < share else w for w in text.split())

    baseline, system = [spoil(r, 0.32) for r in references], [spoil(r, 0.28) for r in references]
    metric = liblora.Metric(context, name)
    found = metric.compare(metric.rows(system, references)[0], metric.rows(baseline, references)[0], samples=2000,
                           trials=2000)
    for kind, key in (("bs", "p_bootstrap"), ("ar", "p_randomisation")):
        result = list(paired([("b", baseline), ("s", system)], {"m": theirs()}, [references],
                             test_type=kind, n_samples=2000)()[1].values())[1][1]
        assert abs(found["system"] - result.score) < TOLERANCE
        assert abs(found[key] - result.p_value) < 5 * (0.25 / 2000) ** 0.5
    interval = metric.interval(metric.rows(system, references)[0], samples=2000)
    score = theirs().corpus_score(system, [references], n_bootstrap=2000)
    assert abs((interval["high"] - interval["low"]) / 2 - score._ci) < 0.15 * score._ci
    assert abs(interval["mean"] - score._mean) < 0.1 * score._ci


# ---- errors ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, settings, message", [
    ("blue", {}, "there is no metric 'blue'"), ("rouge0", {}, "no metric"), ("bleu", {"tokenizer": "moses"}, "13a, zh"),
    ("bleu", {"smoothing": "much"}, "exp, floor"), ("chrf", {"order": 10}, "0 to 9"),
    ("rouge1", {"words": 7}, "LORA_WORDS_")])
def test_refusals(context, name, settings, message):
    with pytest.raises(liblora.LoraError, match=message) as error:
        liblora.Metric(context, name, **settings)
    assert error.value.status == _c.ERROR_ARGUMENT


def test_rows_without_texts(context):
    metric = liblora.Metric(context, "bleu")
    with pytest.raises(liblora.LoraError, match="row 1 has no reference"):
        metric.rows(["a", "b"], [["a"], []])
    assert metric.score(numpy.zeros((0, 10))) == 0
    with pytest.raises(liblora.LoraError, match="no rows"):
        metric.interval(numpy.zeros((0, 10)))


def test_bytes_that_are_no_text(context):
    for name in ("bleu", "bleu4", "chrf", "rouge1", "rougeLsum", "exact_match"):
        _, scores = liblora.Metric(context, name).rows([b"\xff\xfe a", b"\xe4\xbd"], [b"\xff\xfe a", "�"])
        assert numpy.isfinite(scores).all()
