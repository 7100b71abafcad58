"""The report: well-formed HTML5, nothing from outside, no script, every foreign text escaped, tolerant of what is
missing."""
import json
import re

import html5lib
import pytest

import liblora
from liblora import LoraError, _c

HOSTILE = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "</title></style><svg onload=alert(1)>",
           "javascript:alert(1)", "&lt;&amp;", "</textarea><!--", "\u202e\u0007\ufffe", "]]><![CDATA[", "{{7*7}}",
           "`${x}`", "😀 中文 \n\t line"]


@pytest.fixture(scope="module")
def context():
    return liblora.Context(threads=1)


def page(context, *parts, **settings):
    report = liblora.Report(context, **settings)
    for kind, document in parts:
        report.add(kind, document)
    return report.html


def parse(html):
    """Strict: any parse error of the HTML5 algorithm raises."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)


def log(steps=30):
    return ([{"step": i, "epoch": i / 10, "loss": 3 / i, "learning_rate": 1e-3 * (1 - i / 40), "grad_norm": 1.5,
              "tokens": 90, "tokens_per_second": 400 + i, "memory": 10 ** 8} for i in range(1, steps)] +
            [{"step": i, "epoch": i / 10, "eval_loss": 3.2 / i} for i in range(10, steps, 10)])


def comparison(text="plain"):
    figures = {"state": "done", "full": False, "loss": 1.5, "loss_interval": [1.25, 1.75], "bleu": 20.25,
               "rougeL": None, "general_loss": 2.5, "gain_share": 0.91,
               "trainable_parameters": 30720, "parameter_share": 0.0087, "file_bytes": 126464,
               "peak_memory_bytes": 34 << 20, "seconds": 75}
    run = {"curve": [{"step": s, "loss": 4 / s, "eval_loss": 5 / s} for s in range(1, 9)], "answers": [text]}
    return {"kind": "comparison", "about": {"data": {"rows": 3}, "model": {"path": text}},
            "base": {"figures": {**figures, "loss": 4.0}, "answers": [text]},
            "prompts": [{"row": 0, "prompt": text, "reference": text}],
            "settings": [{"name": text, "figures": figures,
                          "options": {"adapter": {"r": 8, "target_modules": [text]}, "trainer": {text: 1.5}},
                          "runs": [run]},
                         {"name": "broken", "figures": {"state": "failed", "failure": text, "loss": None},
                          "options": {}, "runs": []}],
            "verdict": {"recommended": text, "sentence": {"en": text, "zh": text},
                        "claim": {"sentence": {"en": text, "zh": text}}}}


def evaluation(text="plain"):
    return {"bleu": 42.5, "loss": 1.25, "accuracy": 0.75, "rows": 4, "intervals": {"bleu": [40, 45]},
            "settings": {"tokenizer": text},
            "baseline": {"scores": {"bleu": 30.0},
                         "comparison": {"bleu": {"difference": 12.5, "p_randomisation": 0.0123}}},
            "classes": {"labels": [text, "b"], "confusion": [[7, 1], [2, 6]]},
            "checklist": {"questions": [{"id": "follows", "en": text, "zh": text}]},
            "examples": [{"row": 0, "prompt": text, "prediction": text, "reference": text, "baseline": text,
                          "checklist": {"follows": {"verdict": False, "note": text,
                                                    "hints": [{"id": "empty", "en": text, "zh": text}]},
                                        text: {"verdict": None}}}]}


def blind_test(text="plain"):
    return {"kind": "ab", "a": {"name": text, "wins": 14}, "b": {"name": "base", "wins": 4}, "ties": 2,
            "p_value": 0.0309, "agreement": 0.8,
            "judges": [{"name": text, "count": 20, "wins_a": 14, "wins_b": 4, "ties": 2}],
            "pairs": [{"prompt": text, "a": text, "b": text, "winner": "a"}],
            "sentence": {"en": text, "zh": text}}


def check(text="plain"):
    return {"rows": 10, "errors": 1, "warnings": 1, "findings": [
        {"kind": "leak", "severity": "error", "count": 2, "title": {"en": text, "zh": text},
         "explanation": {"en": text, "zh": text}, "cure": {"en": text, "zh": text},
         "example": text, "rows": [{"place": text}] * 30}], "lengths": {"unit": text, "p50": 40},
            "languages": {text: 7}, "labels": {"b": 3}}


def train(text="plain"):
    return {"steps": 30, "loss": 0.5, "eval_loss": 0.625, "seconds": 75, "tokens_per_second": 412.4,
            "peak_memory_bytes": 34 << 20, "output": text,
            "diagnosis": {"fit": "good", "en": text, "zh": text}, "general_loss_before": 2.5,
            "general_loss_after": 2.75, "settings": {text: text, "rank": 8},
            "samples": [{"prompt": text, "reference": text, "before": "", "after": text}]}


def everything(text="plain"):
    return [("train", train(text)), ("log", log()), ("samples", [{"prompt": text, "after": text}]),
            ("evaluate", evaluation(text)), ("compare", comparison(text)), ("ab", blind_test(text)),
            ("check", check(text))]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_page_is_html5_and_stands_alone(context, language):
    html = page(context, *everything(), language=language)
    tree = parse(html)
    assert tree.get("lang") == {"en": "en", "zh": "zh-CN"}[language]
    tags = {element.tag.split("}")[-1] for element in tree.iter() if isinstance(element.tag, str)}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "video", "audio", "use",
                       "image", "foreignObject"}
    for element in tree.iter():
        for name, value in element.attrib.items():
            name = name if isinstance(name, str) else name[-1]
            assert not name.startswith("on") and name not in ("src", "href", "xlink:href",
                                                              "srcset", "action"), (element.tag, name)
    style = "".join(element.text for element in tree.iter("style"))
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme:dark" in style
    assert "@media print" in style
    assert "://" not in html
    assert len(html.encode()) < 300_000


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_texts(context, text):
    plain, hostile = (parse(page(context, *everything(), title="plain")),
                      parse(page(context, *everything(text), title=text)))
    tags = [[e.tag for e in tree.iter() if isinstance(e.tag, str)] for tree in (plain, hostile)]
    assert tags[0] == tags[1]  # the same elements in the same order, whatever the texts are
    shown = "".join(hostile.itertext())
    wanted = re.sub(r"[\x00-\x08\x0b-\x1f\ufffe]", "\ufffd", text)
    assert shown.count(wanted) >= 30 and wanted in hostile.find(".//title").text


def test_figures_are_shown(context):
    shown = " ".join("".join(parse(page(context, *everything())).itertext()).split())
    for figure in ["0.6250", "1:15", "34.0 MB", "0.0123", "42.50", "40.00 – 45.00", "0.0309", "30,720", "0.87%", "91%",
                   "1.5000", "123.5 KB", "2.7500"]:
        assert figure in shown, figure


def test_charts_have_axes_and_say_their_values(context):
    svgs = parse(page(context, ("log", log())))
    charts = [e for e in svgs.iter() if isinstance(e.tag, str) and e.tag.endswith("svg")]
    assert len(charts) == 5  # loss, learning rate, gradient norm, tokens/s, memory
    for chart in charts:
        assert chart.get("role") == "img" and chart.get("aria-labelledby")
        texts = [e.text for e in chart.iter() if isinstance(e.tag, str) and e.tag.endswith("}text") or e.tag == "text"]
        assert "step" in texts and len(texts) > 6
        titles = [e.text for e in chart.iter() if isinstance(e.tag, str) and e.tag.split("}")[-1] == "title"]
        assert len(titles) > 20
    loss = [e for e in charts[0].iter() if isinstance(e.tag, str) and e.tag.endswith("polyline")]
    assert len(loss) == 2
    points = [tuple(map(float, p.split(","))) for p in loss[0].get("points").split()]
    assert len(points) == 29 and all(a[0] < b[0] for a, b in zip(points, points[1:]))
    assert all(a[1] <= b[1] for a, b in zip(points, points[1:]))  # the loss falls: down the drawing
    assert all(0 <= x <= 720 and 0 <= y <= 280 for x, y in points)


def test_strange_numbers_draw_inside_the_picture(context):
    lines = "\n".join('{"step": %d, "loss": %s}' % (i, v)
                      for i, v in enumerate(["1e300", "-5", "0", "1e-300", "7", "null", "\"x\"", "true", "1e308"]))
    for element in parse(page(context, ("log", lines))).iter():
        if isinstance(element.tag, str) and element.tag.endswith("polyline"):
            assert all(0 <= float(v) <= 720 for p in element.get("points").split() for v in p.split(","))


def test_what_is_missing_is_left_out(context):
    for kind, whole in [("train", train()), ("evaluate", evaluation()), ("compare", comparison()), ("ab", blind_test()),
                        ("check", check())]:
        parse(page(context, (kind, {})))
        for key in whole:
            for other in (None, 5, "text", [], {}, [1, None, "x", {}], {"en": 1}):
                parse(page(context, (kind, {**whole, key: other})))
    parse(page(context, ("log", ""), ("samples", [1, {}, None])))
    assert "polyline" in page(context, ("log", json.dumps({"step": 1, "loss": 2}) + "\n" +
                                        json.dumps({"step": 2, "loss": 1}) + '\n{"step": 3, "lo'))


def test_long_logs_stay_small(context):
    assert len(page(context, ("log", log(50_000)))) < 300_000


def test_mistakes_are_refused(context, tmp_path):
    report = liblora.Report(context)
    with pytest.raises(LoraError) as error:
        report.html
    assert error.value.status == _c.ERROR_STATE
    for kind, text, status in [("novel", "{}", _c.ERROR_ARGUMENT), ("train", "[]", _c.ERROR_FORMAT),
                               ("train", "{", _c.ERROR_FORMAT), ("samples", "{}", _c.ERROR_FORMAT)]:
        with pytest.raises(LoraError) as error:
            report.add(kind, text)
        assert error.value.status == status
    with pytest.raises(LoraError):
        liblora.Report(context, language="fr")
    report.add("train", train())
    report.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == report.html
    with pytest.raises(LoraError) as error:
        report.save(tmp_path / "page.html")
    assert error.value.status == _c.ERROR_EXISTS
