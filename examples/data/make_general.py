"""Writes general.jsonl: what the example base model could do before it was fine-tuned, but for weekly reports, as rows
of messages. They go in with `lora train --mix`, and show how much a fine-tuning forgets.

    python3 examples/data/make_general.py > examples/data/general.jsonl
"""
import json
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "base_model"))
import make_corpus  # noqa: E402

ROWS = 150


def turns_of(text):
    parts = [part.partition("\n") for part in text.split("<|im_start|>") if part]
    return [{"role": role, "content": content.removesuffix("<|im_end|>\n")} for role, _, content in parts]


def main():
    r = random.Random(3)
    makers = [make_corpus.conversation_en, make_corpus.conversation_zh,
              lambda r: make_corpus.copying(r, r.random() < .5)]
    seen = set()
    while len(seen) < ROWS:
        messages = turns_of(makers[len(seen) % 3](r))
        question = messages[0]["content"]
        reports = any(word in turn["content"] for turn in messages
                      for word in ("report", "sentences", "周报", "报告", "句子", "记录"))
        if not reports and question not in seen:
            seen.add(question)
            print(json.dumps({"messages": messages}, ensure_ascii=False))


if __name__ == "__main__":
    main()
