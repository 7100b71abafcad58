"""`lora check`: what it finds in rows made for it and in real data, and what --fix changes."""
import codecs
import json
import os
import pathlib
import random
import re
import subprocess
import unicodedata

import pytest
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("LIBLORA_SHARED", ROOT.parent / "shared")) / "data"
FACTORY = SHARED / "instruct" / "llamafactory"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data here: set LIBLORA_SHARED")

LONG = ("The committee met on Tuesday and decided, after a long discussion, to buy a new machine for the workshop; the "
        "old one goes to the school next door, where it will be used in lessons.")


def run(*words, code=0):
    done = subprocess.run([os.environ["LORA_PROGRAM"], "check", *map(str, words)], capture_output=True, text=True,
                          timeout=120, env={**os.environ, "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"})
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def check(rows, folder, *words, validation=None):
    def put(name, some):
        path = folder / name
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in some),
                        "utf-8")
        return path
    words = ["--data", put("data.jsonl", rows), *words]
    if validation:
        words += ["--validation", put("held.jsonl", validation)]
    report = json.loads(run(*words, "--json"))
    return report, {finding["kind"]: finding for finding in report["findings"]}


def rows_of(found, kind):
    return [row["row"] for row in found[kind]["rows"]] if kind in found else []


def pair(question, answer):
    return {"instruction": question, "output": answer}


def resident_id(first_17):
    """The check character of GB 11643 by its formula: sum of a_i * 2^(18-i) = 1 mod 11."""
    total = sum(int(digit) * 2 ** (17 - i) for i, digit in enumerate(first_17))
    return first_17 + "10X98765432"[total % 11]


def luhn(without_check):
    doubled = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(without_check))]
    return without_check + str(-sum(sum(map(int, str(d))) for d in doubled) % 10)


CARD, IDENTITY = luhn("622202100112345678"), resident_id("11010519491231002")
PERSONAL = {
    "phone": ["13812345678", "+86 138 1234 5678", "138-1234-5678", "010-62345678", "(212) 555-0147",
              "+44 20 7946 0958"],
    "resident_id": [IDENTITY, resident_id("44030819990110002")],
    "email": ["zhang.wei@example.com", "a_b+c@mail.example.co.uk"],
    "bank_card": [CARD, luhn("411111111111111"), "4111 1111 1111 1111"],
}
INNOCENT = ["11010519491231003", IDENTITY[:-1] + ("1" if IDENTITY[-1] != "1" else "2"),
            CARD[:-1] + str((int(CARD[-1]) + 1) % 10), "12345678901", "2023-11-27", "user@localhost",
            "3.14159265358979", "v1.13812345678.2", "1381234567", "@someone", "1 2 3 4"]


@pytest.mark.parametrize("kind", PERSONAL)
def test_personal_data(kind, tmp_path):
    rows = [pair(f"Where is it {i}?", f"It is here: {text}, as far as we know.")
            for i, text in enumerate(PERSONAL[kind])]
    _, found = check(rows + [pair(f"How many {i}?", f"There are {text} of them.") for i, text in enumerate(INNOCENT)],
                     tmp_path)
    assert rows_of(found, kind) == list(range(1, len(rows) + 1))
    for other in PERSONAL.keys() - {kind}:
        assert rows_of(found, other) == []
    assert not any(text in json.dumps(found) for text in PERSONAL[kind])


def test_personal_data_is_masked_only_when_asked(tmp_path):
    texts = [text for some in PERSONAL.values() for text in some]
    rows = [pair(f"Where is it {i}?", f"It is here: {text}, as far as we know.") for i, text in enumerate(texts)]
    report, _ = check(rows, tmp_path, "--fix", tmp_path / "kept.jsonl")
    assert report["fixed"]["kept_rows"] == len(rows) and report["fixed"]["changed_rows"] == 0
    check(rows, tmp_path, "--fix", tmp_path / "masked.jsonl", "--mask-personal")
    masked = (tmp_path / "masked.jsonl").read_text("utf-8")
    assert ([masked.count(mark) for mark in ("[PHONE]", "[ID]", "[EMAIL]", "[CARD]")] ==
            [len(some) for some in PERSONAL.values()])
    assert not any(text in masked + (tmp_path / "masked.jsonl.changes.jsonl").read_text("utf-8") for text in texts)


def mojibake(text):
    return "".join(bytes([b]).decode("cp1252", "replace").replace("\ufffd", chr(b)) for b in text.encode())


def test_garbled_text(tmp_path):
    garbled = ["你好，世界", "naïve café", "it’s fine", "😀 well"]
    lost = ["a \ufffd b", "锟斤拷", "烫烫烫烫"]
    sound = ["ÉTÉ à Paris, c'est « bien »", "Ângela cliché\u00a0»", "Ü–Boot", "naïve café", "你好，世界", "Â â Ậ ậ", "É”…"]
    rows = [pair(f"q{i}", mojibake(text)) for i, text in enumerate(garbled)]
    rows += [pair(f"r{i}", text) for i, text in enumerate(lost)] + [pair(f"s{i}", text) for i, text in enumerate(sound)]
    _, found = check(rows, tmp_path, "--fix", tmp_path / "clean.jsonl")
    assert rows_of(found, "encoding_damage") == list(range(1, 8))
    clean = [json.loads(line)["output"] for line in (tmp_path / "clean.jsonl").read_text("utf-8").splitlines()]
    assert clean == garbled + lost + sound


def read_as_gbk(text):
    """As Windows reads it: 0x80 is €, and what is no character ?."""
    codecs.register_error("windows", lambda error: ("€" if error.object[error.start] == 0x80 else "?", error.start + 1))
    return text.encode().decode("gb18030", "windows")


def test_chinese_that_was_read_as_gbk(tmp_path):
    whole = ["你们好！", "请介绍一下北京！", "用Python写一个函数，谢谢", "“好的”。见", "价格¥5，共三项。！"]
    lost = ["你们好吗？", "第一行\n第二行在这里"]  # an odd byte has no partner
    sound = ["浣熊和浒传", "飲氣獨居懷。", "猕猴桃是浆果的一种", "锂电池退烧：中场", "联通"]
    rows = [pair(f"q{i}", read_as_gbk(text)) for i, text in enumerate(whole + lost)]
    rows += [pair(f"s{i}", text) for i, text in enumerate(sound)]
    _, found = check(rows, tmp_path, "--fix", tmp_path / "clean.jsonl")
    assert rows_of(found, "encoding_damage") == list(range(1, len(whole + lost) + 1))
    clean = [json.loads(line)["output"] for line in (tmp_path / "clean.jsonl").read_text("utf-8").splitlines()]
    assert clean == whole + [row["output"] for row in rows[len(whole):]]


@needs_shared
def test_a_file_of_chinese_that_was_read_as_gbk(tmp_path):
    sound = json.loads((FACTORY / "alpaca_zh_demo.json").read_text("utf-8"))
    assert "encoding_damage" not in check(sound, tmp_path)[1]
    _, found = check([{key: read_as_gbk(text) for key, text in row.items()} for row in sound], tmp_path)
    chinese = [i + 1 for i, row in enumerate(sound) if len(re.findall("[\u4e00-\u9fff]", "".join(row.values()))) > 9]
    assert set(rows_of(found, "encoding_damage")) >= set(chinese) and len(chinese) > 900


def test_garbled_text_with_its_spaces_replaced(tmp_path):
    _, found = check([pair("q", mojibake("你好").replace("\u00a0", " "))], tmp_path)
    assert rows_of(found, "encoding_damage") == [1]


REMNANTS = [
    ("<|im_start|>assistant\nYes, it is.<|im_end|>", "Yes, it is."),
    ("Yes, it is.<|im_end|>\n<|im_start|>user\nAnd now?", "Yes, it is."),
    ("[INST] Is it? [/INST] Yes, it is. </s>", "Yes, it is."),
    ("### Response:\nYes, it is.", "Yes, it is."),
    ("### 回答：是的。", "是的。"),
    ("<s>Yes, it is.</s>", "Yes, it is."),
    ("Yes, it is.<|endoftext|>", "Yes, it is."),
    ("<|start_header_id|>assistant<|end_header_id|>\n\nYes, it is.<|eot_id|>", "Yes, it is."),
]


def test_template_remnants(tmp_path):
    sound = ["# Title\n\n### Section\nText <s>gone</s> stays.", "a < b | c > d <|", "The list [1] says so."]
    rows = ([pair(f"q{i}", text) for i, (text, _) in enumerate(REMNANTS)] +
            [pair(f"r{i}", text) for i, text in enumerate(sound)])
    rows.append(pair("### Instruction:\nSay so.", "So."))
    _, found = check(rows, tmp_path, "--fix", tmp_path / "clean.jsonl")
    count = len(REMNANTS)
    assert rows_of(found, "template_remnant") == [*range(1, count + 1), len(rows)]
    clean = [json.loads(line) for line in (tmp_path / "clean.jsonl").read_text("utf-8").splitlines()]
    assert [row["output"] for row in clean[:-1]] == [text for _, text in REMNANTS] + sound
    assert clean[-1] == pair("Say so.", "So.")


def test_rows_made_for_each_kind(tmp_path):
    fill = [pair(f"What is number {i} of our long list of things?",
                 f"{LONG} It is thing number {i}, which costs {i * 7} euros, {i}.")
            for i in range(30)]
    cases = [
        ("empty_output", pair("Anything?", " \n")),
        ("short_output", pair("Is it so?", "Yes.")),
        ("unreadable_row", {"instruction": "Where is the answer?"}),
        ("unreadable_row", "{broken"),
        ("placeholder", pair("Who are you?", "I am {{name}}, glad to see you here today, my dear friend, and so on.")),
        ("assistant_phrase",
         pair("Do you feel?", "As an AI language model, I do not feel, but I can describe what people feel.")),
        ("control_character",
         pair("What is there?", "There is a bell \u0007 in this text that nobody can see on paper at all.")),
        ("language_mismatch",
         pair("请介绍一下北京这座城市的历史和文化。", "Beijing is the capital of the country and it has a long history.")),
        ("no_final_punctuation",
         pair("What did they do?", "They went to the market to buy bread and then they came back to the")),
        ("bad_answer", {"prompt": "What?", "completion": "Nothing that anybody would want to hear.", "label": False}),
    ]
    report, found = check(fill + [row for _, row in cases], tmp_path, "--fix", tmp_path / "clean.jsonl")
    for kind in {kind for kind, _ in cases}:
        assert rows_of(found, kind) == [31 + i for i, (own, _) in enumerate(cases) if own == kind], kind
    assert report["rows"] == 40 and report["errors"] == 2
    assert report["fixed"]["kept_rows"] == 37 and report["fixed"]["dropped_rows"] == 3
    changes = [json.loads(line) for line in (tmp_path / "clean.jsonl.changes.jsonl").read_text("utf-8").splitlines()]
    assert [(change["row"], change["action"], change["reasons"]) for change in changes] == [
        (31, "changed", ["whitespace"]), (31, "dropped", ["empty_output"]), (33, "dropped", ["unreadable_row"]),
        (34, "dropped", ["unreadable_row"]), (37, "changed", ["control_character"])]


def test_repeats_contradictions_and_leaks(tmp_path):
    rows = [pair("Where is the key?", "It is under the mat."), pair(" Where is  the key?\n", "It is under the mat."),
            pair("Where is the key?", "Nobody knows that."), pair("Where is the lamp?", LONG),
            pair("Where is the lamp ?", LONG.replace("Tuesday", "Monday"))]
    held = [pair("Where is the key?", "Under the mat."), pair("Where is the big lamp?", LONG),
            pair("How is the weather?", "It rains today.")]
    _, found = check(rows, tmp_path, "--fix", tmp_path / "clean.json", validation=held)
    assert [(row["row"], row["other_row"]) for row in found["duplicate"]["rows"]] == [(2, 1)]
    assert [(row["row"], row["other_row"]) for row in found["contradiction"]["rows"]] == [(3, 1)]
    assert [(row["set"], row["row"], row["other_row"]) for row in found["leak"]["rows"]] == [("validation", 1, 1)]
    assert [(row["set"], row["row"], row["other_row"]) for row in found["near_leak"]["rows"]] == [("validation", 2, 4)]
    clean = json.loads((tmp_path / "clean.json").read_text("utf-8"))
    assert clean == [rows[0], *rows[2:]]


def test_labels(tmp_path):
    rows = [{"text": f"Row {i} of the test.", "label": "good"} for i in range(40)]
    rows += ([{"text": f"Another {i}.", "label": "bad"} for i in range(20)] +
             [{"text": f"Third {i}.", "label": "odd"} for i in range(10)])
    report, found = check(rows, tmp_path)
    assert report["labels"] == {"good": 40, "bad": 20, "odd": 10}
    assert rows_of(found, "unbalanced_labels") == list(range(61, 71))
    _, found = check(rows + [{"text": "Row 3 of the test.", "label": "bad"}], tmp_path)
    assert rows_of(found, "contradiction") == [71]


def shingles(row):
    """Sets of three successive words, or characters in scripts without spaces: written anew, with regular
    expressions."""
    text = row["instruction"] + "\n" + row["input"] + "\n" + row["output"]
    wide = "\u2e80-\u2fff\u3040-\u9fff\uf900-\ufaff"
    text = text.replace("²", " ")  # a digit to Python's \w, none to Unicode's
    units = re.findall(f"(?=\\w)[{wide}]|[^\\W{wide}]+", re.sub("[A-Z]", lambda m: m.group().lower(), text))
    return {tuple(units[i: i + 3]) for i in range(max(1, len(units) - 2))}


@needs_shared
@pytest.mark.parametrize("name", ["alpaca_en_demo.json", "alpaca_zh_demo.json"])
def test_near_duplicates_against_exact_similarity(name, tmp_path):
    """Rows with words taken out, so that similarities of all sizes come up: what is found against all pairs."""
    draw = random.Random(7)
    rows = [row for row in json.loads((FACTORY / name).read_text("utf-8"))[:250] if len(row["output"]) > 60]
    for row in list(rows):
        step = 1 if name == "alpaca_zh_demo.json" else 6
        place = draw.randrange(len(row["output"]) - 30)
        rows.append({**row, "output": row["output"][:place] + row["output"][place + step * draw.randrange(1, 5):]})
    _, found = check(rows, tmp_path)
    sets = [shingles(row) for row in rows]
    texts = [" ".join("\x01".join(row.values()).split()) for row in rows]
    near, edge = set(), set()
    for i in range(len(rows)):
        if texts[i] in texts[:i]:
            continue
        best = max((len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for j in range(i)), default=0)
        if best >= 0.8:
            near.add(i + 1)
        if abs(best - 0.8) < 1e-9:
            edge.add(i + 1)
    ours = set(rows_of(found, "near_duplicate"))
    assert len(near) > 50
    assert len(ours & near) >= 0.99 * len(near)
    assert ours - edge <= near
    for row in found["near_duplicate"]["rows"]:
        a, b = sets[row["row"] - 1], sets[row["other_row"] - 1]
        assert row["similarity"] == pytest.approx(len(a & b) / len(a | b), abs=1e-9)


@needs_shared
def test_lengths_with_a_tokenizer(tmp_path):
    path = SHARED / "tokenizers" / "qwen2.5"
    reference = transformers.AutoTokenizer.from_pretrained(path)
    rows = json.loads((FACTORY / "alpaca_zh_demo.json").read_text("utf-8"))[:200]
    lengths = []
    for row in rows:
        user = row["instruction"] + ("\n" + row["input"] if row["input"] else "")
        chat = [{"role": "user", "content": user}, {"role": "assistant", "content": row["output"]}]
        ids = reference.apply_chat_template(chat)
        # Without the line break behind the end
        lengths.append(len(ids["input_ids"] if hasattr(ids, "keys") else ids) - 1)
    report, found = check(rows, tmp_path, path, "--max-length", "200")
    ranked = sorted(lengths)
    assert report["lengths"]["estimated"] is False
    assert report["lengths"]["longest"] == ranked[-1] and report["lengths"]["p50"] == ranked[99]
    assert report["lengths"]["p95"] == ranked[189]
    assert report["lengths"]["mean"] == pytest.approx(sum(lengths) / 200)
    assert rows_of(found, "too_long") == [i + 1 for i, length in enumerate(lengths) if length > 200]
    assert report["lengths"]["cut_tokens"] == sum(max(0, length - 200) for length in lengths)
    estimated, _ = check(rows, tmp_path)
    assert estimated["lengths"]["estimated"] is True
    assert estimated["lengths"]["mean"] == pytest.approx(report["lengths"]["mean"], rel=0.25)


@needs_shared
def test_the_cleaned_copy_of_real_data(tmp_path):
    rows = json.loads((FACTORY / "alpaca_en_demo.json").read_text("utf-8"))
    run("--data", FACTORY / "alpaca_en_demo.json", "--fix", tmp_path / "clean.jsonl")
    clean = [json.loads(line) for line in (tmp_path / "clean.jsonl").read_text("utf-8").splitlines()]
    seen, expected = set(), []
    for row in rows:
        key = tuple(" ".join(value.split()) for value in row.values())
        if key not in seen:
            expected.append({name: value.strip() for name, value in row.items()})
        seen.add(key)
    assert [row for row in clean if row not in expected] == [] and len(clean) == len(expected)
    again = json.loads(run("--data", tmp_path / "clean.jsonl", "--json"))
    assert not any(finding["fixable"] for finding in again["findings"])
    assert (run("--data", tmp_path / "clean.jsonl", "--json") ==
            run("--data", tmp_path / "clean.jsonl", "--json", "--threads", "1"))


def width(line):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@needs_shared
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_table_fits_a_terminal(language):
    for name in ("alpaca_en_demo.json", "alpaca_zh_demo.json"):
        lines = run("--data", FACTORY / name, "--lang", language).splitlines()[1:]
        assert len(lines) > 20 and max(map(width, lines)) <= 80


def test_refusals(tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps(pair("Where?", "Here it is.")))
    assert "ends in .jsonl or .json" in run("--data", data, "--fix", tmp_path / "clean.csv", code=1)
    assert "exists" in run("--data", data, "--fix", data, code=1)
    assert "--data is missing" in run(code=2)
    assert "--mask-personal goes with" in run("--data", data, "--mask-personal", code=2)
    assert "near_duplicate is 3" in run("--data", data, "--near-duplicate", "3", code=2)
    (tmp_path / "empty.jsonl").write_text("\n")
    assert "no rows" in run("--data", tmp_path / "empty.jsonl", code=1)
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{broken")
    assert "no row is left" in run("--data", bad, "--fix", tmp_path / "clean.jsonl", code=1)
    assert not list(tmp_path.glob("clean*"))
