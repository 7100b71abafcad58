"""Data sets against transformers: the ids of a conversation are those of apply_chat_template, and what comes before the
first learnt id is what a session would be fed. Real files, real tokenizers, real templates."""
import csv
import functools
import json
import os
import pathlib
import subprocess

import pytest
import transformers

TOOL = os.environ.get("LIBLORA_DATA_TOOL", "data_tool")
SHARED = pathlib.Path(
    os.environ.get("LIBLORA_SHARED", pathlib.Path(__file__).resolve().parents[3] / "shared")
) / "data"
INSTRUCT = SHARED / "instruct"
FACTORY = INSTRUCT / "llamafactory"
QWEN = SHARED / "tokenizers" / "qwen2.5"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data here: set LIBLORA_SHARED")


def run(tokenizer, *files, max_length=100000, template=""):
    return subprocess.run(
        [TOOL, str(tokenizer), str(max_length), template, *map(str, files)],
        capture_output=True, text=True, timeout=120,
    )


def load(tokenizer, *files, **options):
    done = run(tokenizer, *files, **options)
    assert done.returncode == 0, done.stderr
    info, *rows = map(json.loads, done.stdout.splitlines())
    return info, rows


def head(path, count, target):
    """The first rows of a JSON file as a file of their own."""
    rows = json.loads(path.read_text(encoding="utf-8"))[:count]
    target.write_text(json.dumps(rows), encoding="utf-8")
    return rows


@functools.cache
def reference_of(path):
    return transformers.AutoTokenizer.from_pretrained(path)


def template_of(name):
    """Those that are laid out for reading say that line breaks and indentation are to be taken out before use."""
    source = (SHARED / "templates" / f"{name}.jinja").read_text(encoding="utf-8") if name else ""
    return source.replace("    ", "").replace("\n", "") if name in ("chatml", "vicuna") else source


def flat(ids):
    return ids["input_ids"] if hasattr(ids, "keys") else ids


def messages_of(row):
    user = row["instruction"] + ("\n" + row["input"] if row.get("input") else "")
    return [{"role": "user", "content": user}, {"role": "assistant", "content": row["output"]}]


@pytest.mark.parametrize("tokenizer, template", [
    ("qwen2.5", ""), ("qwen2.5", "chatml"), ("qwen2.5", "Qwen3"), ("qwen2.5", "meta-llama-Llama-3.1-8B-Instruct"),
    ("mistral-v0.3", "vicuna"), ("mistral-v0.3", "llama-2-chat"),
])
def test_ids_are_those_of_transformers(tokenizer, template, tmp_path):
    path = SHARED / "tokenizers" / tokenizer
    reference, source = reference_of(path), template_of(template)
    rows = head(FACTORY / "alpaca_en_demo.json", 25, tmp_path / "en.json")
    rows += head(FACTORY / "alpaca_zh_demo.json", 25, tmp_path / "zh.json")
    _, ours = load(path, tmp_path / "en.json", tmp_path / "zh.json", template=source)
    options = {"chat_template": source} if source else {}
    for row, got in zip(rows, ours, strict=True):
        chat = messages_of(row)
        prompt = flat(reference.apply_chat_template(chat[:1], add_generation_prompt=True, **options))
        text = reference.apply_chat_template(chat, tokenize=False, **options)
        assert got["prompt"] == reference.apply_chat_template(
            chat[:1], tokenize=False, add_generation_prompt=True, **options)
        assert got["answer"] == row["output"]
        learnt = [i for i, label in enumerate(got["labels"]) if label != -100]
        assert got["ids"][: learnt[0]] == prompt
        assert learnt == list(range(learnt[0], len(got["ids"])))
        assert all(got["labels"][i] == got["ids"][i] for i in learnt)
        # The text up to and with its terminator; what a template puts behind that is left out. Where the tokenizer
        # knows no token that ends the template's answers (Llama's, for Qwen), the end token does.
        whole = flat(reference.apply_chat_template(chat, **options))
        if not set(whole[len(prompt):]) & set(reference.all_special_ids):
            whole.append(reference.eos_token_id)
        assert got["ids"] == whole[: len(got["ids"])]
        assert not reference.decode(whole[len(got["ids"]):]).strip()
        assert got["ids"][-1] in reference.all_special_ids, text


def test_a_template_that_moves_the_system_message(tmp_path):
    """Mistral's puts it into the last message, if that is the user's: what is trained on is what is served."""
    tokenizer, source = SHARED / "tokenizers" / "mistral-v0.3", template_of("mistralai-Mistral-Nemo-Instruct-2407")
    reference = reference_of(tokenizer)
    row = {"system": "Be kind.", "history": [["Who?", "Me."]], "instruction": "Where?", "output": "Here it is."}
    (tmp_path / "rows.json").write_text(json.dumps([row]), encoding="utf-8")
    _, (got,) = load(tokenizer, tmp_path / "rows.json", template=source)
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": "Me."}, {"role": "user", "content": "Where?"}]
    prompt = flat(reference.apply_chat_template(chat, add_generation_prompt=True, chat_template=source))
    learnt = [i for i, label in enumerate(got["labels"]) if label != -100]
    assert got["ids"][: learnt[0]] == prompt
    assert reference.decode(got["ids"][learnt[0]:]) == "Here it is.</s>"


def test_conversations_learn_every_answer(tmp_path):
    reference = reference_of(QWEN)
    rows = head(FACTORY / "glaive_toolcall_en_demo.json", 40, tmp_path / "rows.json")
    info, ours = load(QWEN, tmp_path / "rows.json")
    assert info["terminated_rows"] == len(rows)
    for row, got in zip(rows, ours, strict=True):
        learnt = reference.decode([label for label in got["labels"] if label != -100])
        answers = [turn for turn in row["conversations"] if turn["from"] in ("gpt", "function_call")]
        assert learnt.count("<|im_end|>") == len(answers)
        place = 0
        for turn in answers:
            if turn["from"] == "gpt":
                place = learnt.index(turn["value"].strip() + "<|im_end|>", place)
            else:
                call = json.loads(turn["value"])
                place = learnt.index(f'{{"name": "{call["name"]}", "arguments": ', place)
        said = reference.decode(got["ids"])
        for turn in row["conversations"]:
            if turn["from"] in ("human", "observation"):
                assert turn["value"] in said and turn["value"] not in learnt.split("<|im_end|>")


@pytest.mark.parametrize("name, rows", [
    ("alpaca_en_demo.json", 999), ("alpaca_zh_demo.json", 1000), ("identity.json", 91), ("c4_demo.jsonl", 300),
    ("dpo_en_demo.json", 300), ("dpo_zh_demo.json", 300), ("v1_dpo_demo.jsonl", 10),
    ("glaive_toolcall_en_demo.json", 300), ("glaive_toolcall_zh_demo.json", 300), ("v1_sft_demo.jsonl", 500),
    ("reason_tool_use_demo_50.jsonl", 50),
])
def test_llamafactory_files_load(name, rows):
    info, ours = load(QWEN, FACTORY / name)
    assert info["rows"] == len(ours) == rows
    assert info["terminated_rows"] == rows and info["cut_rows"] == 0
    assert info["tokens"] == sum(len(row["ids"]) for row in ours)
    assert info["label_tokens"] == sum(label != -100 for row in ours for label in row["labels"][1:])
    short, _ = load(QWEN, FACTORY / name, max_length=64)
    assert short["longest_row"] <= 64


def test_text_is_split_without_loss():
    text = (FACTORY / "wiki_demo.txt").read_text(encoding="utf-8")
    reference = reference_of(QWEN)
    _, ours = load(QWEN, FACTORY / "wiki_demo.txt", max_length=512)
    ids = [token for row in ours for token in row["ids"]]
    assert ids == reference(text)["input_ids"] + [reference.eos_token_id]
    assert all(len(row["ids"]) == 512 for row in ours[:-1])


@pytest.mark.parametrize("name", ["v1_multimodal_demo.jsonl", "mllm_demo.json", "dataset_info.json:mllm_demo"])
def test_images_are_refused(name):
    done = run(QWEN, FACTORY / name)
    assert done.returncode == 1 and "only text can be learnt" in done.stderr


def answers_of(name, entry):
    """The last answers of a set that dataset_info.json declares, read as its documentation says."""
    text = (FACTORY / entry["file_name"]).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()] if name == "c4_demo" else json.loads(text)
    columns, tags = entry.get("columns", {}), entry.get("tags", {})
    if "kto_tag" in columns:
        rows = [row for row in rows if row[columns["kto_tag"]]]
    if entry.get("formatting") != "sharegpt":
        return [row.get(columns.get("response", "output")) for row in rows]
    content, role = tags.get("content_tag", "value"), tags.get("role_tag", "from")
    if entry.get("ranking"):
        return [row[columns["chosen"]][content] for row in rows]
    answers = []
    for row in rows:
        turns = row[columns.get("messages", "conversations")]
        last = [turn for turn in turns if turn[role] in (tags.get("assistant_tag", "gpt"), "function_call")][-1]
        answers.append("" if last[role] == "function_call" else last[content])
    return answers


INFO = json.loads((FACTORY / "dataset_info.json").read_text(encoding="utf-8")) if FACTORY.is_dir() else {}
SETS = [name for name, entry in INFO.items() if "file_name" in entry and not name.startswith("mllm")]


@pytest.mark.parametrize("name", SETS)
def test_sets_of_dataset_info(name):
    _, ours = load(QWEN, FACTORY / f"dataset_info.json:{name}")
    if name == "wiki_demo":
        text = (FACTORY / "wiki_demo.txt").read_text(encoding="utf-8")
        assert reference_of(QWEN).decode([token for row in ours for token in row["ids"]][:-1]) == text
        return
    assert [row["answer"] for row in ours] == answers_of(name, INFO[name])


def test_the_folder_stands_for_all_its_sets_of_text():
    info, _ = load(QWEN, FACTORY)
    wiki, _ = load(QWEN, FACTORY / "wiki_demo.txt")
    assert info["rows"] == wiki["rows"] + sum(len(answers_of(name, INFO[name])) for name in SETS if name != "wiki_demo")
    bad = sum(not row["label"] for row in json.loads((FACTORY / "kto_en_demo.json").read_text(encoding="utf-8")))
    assert info["skipped_rows"] == bad > 0


@pytest.mark.parametrize("name, message", [
    ("alpaca_en", "on a hub"), ("nothing", "no set 'nothing'"),
])
def test_sets_that_are_not_there(name, message):
    done = run(QWEN, f"{FACTORY}:{name}")
    assert done.returncode == 1 and message in done.stderr


def test_declared_columns_and_tags(tmp_path):
    """Columns, tags and num_samples of a set; a file outside the folder is refused."""
    info = {"mine": {"file_name": "mine.json",
                     "columns": {"prompt": "q", "response": "a", "query": "c", "system": "s"}},
            "talk": {"file_name": "talk.json", "formatting": "sharegpt", "num_samples": 1,
                     "tags": {"role_tag": "who", "content_tag": "said", "user_tag": "me", "assistant_tag": "you"}},
            "away": {"file_name": "../mine.json"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    (tmp_path / "mine.json").write_text(json.dumps([{"q": "Add", "c": "1 2", "a": "3", "s": "Be kind."}]))
    talk = [{"conversations": [{"who": "me", "said": "hi"}, {"who": "you", "said": "ho"}]}] * 2
    (tmp_path / "talk.json").write_text(json.dumps(talk))
    reference = reference_of(QWEN)
    _, (got,) = load(QWEN, f"{tmp_path}:mine")
    assert got["prompt"] == reference.apply_chat_template(
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Add\n1 2"}], tokenize=False,
        add_generation_prompt=True)
    _, rows = load(QWEN, f"{tmp_path}:talk")
    assert [row["answer"] for row in rows] == ["ho"]
    assert "outside the folder" in run(QWEN, f"{tmp_path}:away").stderr


def test_tools_reach_the_chat_template(tmp_path):
    reference = reference_of(QWEN)
    (row,) = head(FACTORY / "glaive_toolcall_zh_demo.json", 1, tmp_path / "rows.json")
    _, (got,) = load(QWEN, tmp_path / "rows.json")
    tools = [{"type": "function", "function": tool} for tool in json.loads(row["tools"])]
    messages = []
    for turn in row["conversations"]:
        role = {"human": "user", "gpt": "assistant", "observation": "tool", "function_call": "assistant"}[turn["from"]]
        messages.append({"role": role, "content": turn["value"]})
        if turn["from"] == "function_call":
            messages[-1] = {"role": role, "content": "", "tool_calls": [
                {"type": "function", "function": json.loads(turn["value"])}]}
    assert got["prompt"] == reference.apply_chat_template(
        messages[:-1], tools=tools, tokenize=False, add_generation_prompt=True)


def test_a_stray_zero_byte_is_no_utf16(tmp_path):
    (tmp_path / "a.txt").write_bytes("Die Käse\0n sind gut und frisch wie am ersten Tag im Mai!!".encode())
    done = run(QWEN, tmp_path / "a.txt")
    assert done.returncode == 1 and "zero character" in done.stderr


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030", "gbk"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_encodings(encoding, ending, tmp_path):
    rows = json.loads((FACTORY / "alpaca_zh_demo.json").read_text(encoding="utf-8"))[:200]
    if encoding == "gbk":
        rows = [row for row in rows if json.dumps(row, ensure_ascii=False).encode("gbk", "ignore").decode("gbk")
                == json.dumps(row, ensure_ascii=False)]
    path = tmp_path / f"rows{ending}"
    with open(path, "w", encoding=encoding, newline="") as file:
        if ending == ".json":
            json.dump(rows, file, ensure_ascii=False)
        else:
            table = csv.DictWriter(file, ["instruction", "input", "output"], delimiter=";")
            table.writeheader()
            table.writerows(rows)
    _, ours = load(QWEN, path)
    assert [row["answer"] for row in ours] == [row["output"] for row in rows]


def test_sentencepiece_answers_have_no_stray_space(tmp_path):
    """The answer is tokenised as it would go on from the prompt, not as a text of its own."""
    tokenizer = SHARED / "tokenizers" / "mistral-v0.3"
    reference = reference_of(tokenizer)
    rows = head(FACTORY / "alpaca_en_demo.json", 40, tmp_path / "rows.json")
    _, ours = load(tokenizer, tmp_path / "rows.json")
    for row, got in zip(rows, ours, strict=True):
        expected = flat(reference.apply_chat_template(messages_of(row)))
        assert got["ids"] == expected, row
