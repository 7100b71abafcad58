"""lora_dataset_read_rows: rows as the file has them, against Python's own csv and json."""
import csv
import io
import json

import pytest

import liblora

ROWS = [{"问题": "几点开门？", "回答": "九点，\n“很早”"}, {"问题": "a, b", "回答": 'say "hi"'}]


@pytest.fixture(scope="module")
def context():
    return liblora.Context()


def table(delimiter):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue()


@pytest.mark.parametrize("name, data", [
    ("rows.csv", table(",").encode("gb18030")), ("rows.tsv", table("\t").encode("utf-16")),
    ("rows.csv", table(";").encode()), ("rows.jsonl", "\n".join(json.dumps(r) for r in ROWS).encode()),
    ("rows.json", json.dumps(ROWS, indent=1).encode("utf-8-sig")),
])
def test_rows_are_the_files_own(context, tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    got = [{k: v.replace("\r\n", "\n") for k, v in row.items()}
           for row in liblora.Dataset.read_rows(context, tmp_path / name)]
    assert got == ROWS


def test_nested_values_and_numbers_stay(context, tmp_path):
    rows = [{"messages": [{"role": "user", "content": "x"}], "score": 1.5, "n": 3, "none": None}]
    (tmp_path / "r.jsonl").write_text(json.dumps(rows[0]))
    assert liblora.Dataset.read_rows(context, tmp_path / "r.jsonl") == rows


def test_a_broken_line_is_named(context, tmp_path):
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(liblora.LoraError, match=r"r\.jsonl:2"):
        liblora.Dataset.read_rows(context, tmp_path / "r.jsonl")


@pytest.mark.parametrize("text, warned", [
    ("Where?\tHere.\nWho?\tMe.\n", True), ("Where?\tHere.\r\n\r\nWho?\tMe.", True), ("text\tlabel\nWho?\tMe.\n", False),
    ("Where?\tHere.\n", False), ("Where?\tHere.\nOnce upon a time\n", False), ("Once\nupon\n", False),
])
def test_a_table_without_names_of_columns(tmp_path, text, warned):
    lines = []
    (tmp_path / "rows.txt").write_bytes(text.encode())
    rows = liblora.Dataset.read_rows(liblora.Context(log=lambda level, line: lines.append(line)), tmp_path / "rows.txt")
    assert len(rows) == 1 and len(lines) == warned
    assert all("rows.txt: each line has 2 fields" in line and "text<TAB>label" in line for line in lines)
