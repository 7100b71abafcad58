"""A Chinese sentiment or topic task: accuracy and macro-F1 of the example model before and after fine-tuning, by the
written answer and by the likeliest label.

    python tests/bench/classify.py --data ChnSentiCorp_htl_all.csv                sentiment of hotel reviews
    python tests/bench/classify.py --data THUCNews/dev.txt --classes class.txt    topics of headlines

The first file has columns label and review, the second text and number, parted by tabs.
The data is not ours to ship. Rows are drawn with the seed, as many of each class; held-out rows are never trained
on."""
import argparse
import collections
import csv
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SENTIMENT = {"0": "负面", "1": "正面"}
TOPICS = {"finance": "财经", "realty": "房产", "stocks": "股票", "education": "教育", "science": "科技", "society": "社会",
          "politics": "时政", "sports": "体育", "game": "游戏", "entertainment": "娱乐"}
QUESTIONS = {"sentiment": "这条酒店评论是正面还是负面？", "topic": "这条新闻标题属于哪一类？"}


def read_reviews(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return [(row["review"].strip(), SENTIMENT[row["label"]])
                for row in csv.DictReader(file) if row["review"].strip()]


def read_headlines(path, classes):
    names = [TOPICS.get(name, name) for name in pathlib.Path(classes).read_text(encoding="utf-8").split()]
    lines = (line.rsplit("\t", 1) for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines()
             if "\t" in line)
    return [(text.strip(), names[int(number)]) for text, number in lines]


def draw(rows, train, held_out, longest, seed):
    """(train, held out): distinct texts, each class alike."""
    by_class = collections.defaultdict(list)
    for text, label in dict(rows).items():
        if len(text) <= longest:
            by_class[label].append((text, label))
    parts = [], []
    choose = random.Random(seed)
    for label in sorted(by_class):
        each = [n // len(by_class) for n in (train, held_out)]
        if sum(each) > len(by_class[label]):
            raise SystemExit(f"{label} has {len(by_class[label])} texts of at most {longest} characters, {sum(each)} "
                             "are needed: lower --train or --held-out, or raise --longest")
        own = choose.sample(by_class[label], sum(each))
        parts[0].extend(own[:each[0]])
        parts[1].extend(own[each[0]:])
    for part in parts:
        choose.shuffle(part)
    return parts


def write(path, rows, question):
    path.write_text("".join(json.dumps({"instruction": question, "input": text, "output": label},
                                       ensure_ascii=False) + "\n" for text, label in rows), encoding="utf-8")


def lora(options, *words):
    done = subprocess.run([options.lora, *map(str, words), "--threads", str(options.threads), "--quiet", "--json"],
                          capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"lora {' '.join(map(str, words))}: {done.stderr}")
    return json.loads(done.stdout)


def measure(options, held_out, labels, adapter=()):
    found = {}
    for way in ("answer", "likelihood"):
        found[way] = lora(options, "eval", options.model, *adapter, "--data", held_out, "--metrics", "accuracy,f1",
                          "--classify", way, "--labels", ",".join(labels), "--max-new-tokens", 8)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--classes", help="names of the classes of headlines, a line each")
    parser.add_argument("--model", default=ROOT / "examples" / "base")
    parser.add_argument("--lora", default=os.environ.get("LORA_PROGRAM", ROOT / "build" / "examples" / "lora"))
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--longest", type=int, default=120, help="characters of a text")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = read_headlines(options.data, options.classes) if options.classes else read_reviews(options.data)
    train, held_out = draw(rows, options.train, options.held_out, options.longest, options.seed)
    labels = sorted({label for _, label in train})
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        question = QUESTIONS["topic" if options.classes else "sentiment"]
        write(folder / "train.jsonl", train, question)
        write(folder / "held_out.jsonl", held_out, question)
        before = measure(options, folder / "held_out.jsonl", labels)
        begin = time.time()
        lora(options, "train", options.model, "--data", folder / "train.jsonl", "--output", folder / "adapter",
             "--target-modules", "all-linear", "--rank", options.rank, "--alpha", 2 * options.rank, "--dropout", 0,
             "--epochs", options.epochs, "--batch-size", options.batch_size, "--learning-rate", options.learning_rate,
             "--warmup-steps", 0.1, "--lr-schedule", "cosine")
        seconds = time.time() - begin
        after = measure(options, folder / "held_out.jsonl", labels, ("--adapter", folder / "adapter"))
    if options.json:
        print(json.dumps({"before": before, "after": after, "seconds": seconds}, ensure_ascii=False))
        return
    print(f"{len(labels)} classes, {len(train)} rows trained on in {seconds:.0f} s, {len(held_out)} held out")
    print(f"{'':24}{'accuracy':>10}{'95 % interval':>18}{'macro-F1':>10}{'95 % interval':>18}")
    for name, result in (("before", before), ("after", after)):
        for way, found in result.items():
            cells = []
            for score in ("accuracy", "f1_macro"):
                low, high = found["intervals"][score]
                cells.append(f"{100 * found[score]:10.1f}{f'{100 * low:.1f} – {100 * high:.1f}':>18}")
            print(f"{name + ', by ' + way:24}{''.join(cells)}")


if __name__ == "__main__":
    main()
