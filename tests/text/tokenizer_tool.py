"""tokenize_tool as functions, and the texts that every tokenizer is tried on."""

import os
import pathlib
import random
import subprocess
import unicodedata

TOOL = os.environ.get("LIBLORA_TOKENIZE_TOOL", "tokenize_tool")
SHARED = (
    pathlib.Path(os.environ.get("LIBLORA_SHARED", pathlib.Path(__file__).resolve().parents[3] / "shared")) / "data"
)


class ToolError(Exception):
    pass


def ask(path, lines):
    """One answer per line; ToolError when the tokenizer cannot be loaded."""
    done = subprocess.run(
        [TOOL, str(path)], input="".join(line + "\n" for line in lines), capture_output=True, text=True
    )
    if done.returncode != 0:
        raise ToolError(done.stdout.strip() or f"exit status {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.split("\n")[:-1]


def encode(path, texts, special=False):
    """Ids of each text (str or bytes)."""
    raw = [text if isinstance(text, bytes) else text.encode() for text in texts]
    return [
        [int(word) for word in line.split()] for line in ask(path, [f"E {int(special)} {text.hex()}" for text in raw])
    ]


def decode(path, rows, skip=False):
    lines = ask(path, [f"D {int(skip)} " + " ".join(map(str, row)) for row in rows])
    return [bytes.fromhex(line).decode() for line in lines]


def info(path):
    names = ["size", "begin", "end", "pad", "unknown"]
    return dict(zip(names, map(int, ask(path, ["I"])[0].split())))


SCRIPTS = {
    "latin": "The quick brown fox jumped over 13 lazy dogs, didn't it? Yes—it'll do so again; we've seen it "
    "CAN'T stop! "
    "L'été dernier, à Besançon, naïve Zoë ate crème brûlée. Straße, Ærøskøbing, Łódź, Kraków, Dvořák, İstanbul.",
    "chinese": "今天下午三点，我们在会议室讨论了本周的进展：完成了两个模块，修复了十七处缺陷。下周要做的事情还有很多，"
    "請大家提前準備好資料！价格是￥１２３４．５６元（含税）。",
    "japanese": "昨日、東京タワーの近くでとても美味しいラーメンを食べました。ﾊﾝｶｸｶﾅとカタカナ、ひらがなも混ざっています。「また行きたい」と思う。",
    "korean": "오늘은 날씨가 아주 맑아서 친구들과 한강 공원에 다녀왔습니다. 자전거를 타고 김밥도 먹었어요. 한글 자모: ㄱㄴㄷ 한.",
    "arabic": "ذهبتُ إلى السوق صباحَ اليوم واشتريتُ خبزًا وتمرًا بـ ٢٥ ريالًا، ثمّ عدتُ إلى البيت. أليس كذلك؟",
    "hebrew": "הלכתי אתמול לספרייה וקראתי ספר על תולדות ירושלים. שָׁלוֹם לְכֻלָּם, מה שלומכם היום?",
    "devanagari": "मैं कल सुबह दिल्ली जाऊँगा और वहाँ अपने मित्रों से मिलूँगा। क्या आप भी चलेंगे? कुल १२३ रुपये लगेंगे।",
    "thai": "วันนี้อากาศดีมาก เราไปเดินเล่นที่สวนลุมพินีแล้วกินก๋วยเตี๋ยวเรือ ราคา ๕๐ บาท",
    "cyrillic": "Вчера вечером мы гуляли по набережной и говорили о книгах. "
    "Ещё раз: съешь же ещё этих мягких французских булок, да выпей чаю!",
    "greek": "Χθες το βράδυ διάβασα ένα βιβλίο για την ιστορία της Αθήνας. Ὦ ἄνδρες Ἀθηναῖοι, ΟΔΥΣΣΕΥΣ καὶ Πηνελόπη.",
    "emoji": "Great 👍🏽 job 🎉🎉!! 👩‍👩‍👧‍👦 🏳️‍🌈 🇨🇳🇩🇪 ☕️ ✨ 1️⃣ ㊗️ ❤️‍🔥 (╯°□°)╯︵ ┻━┻",
    "vietnamese": "Tiếng Việt có nhiều dấu: Nguyễn Huệ, đường phố, những buổi chiều ở Hà Nội; cà phê sữa đá 25.000₫.",
}

CODE = (
    "def f(x, y=1_000):\n\t\"\"\"Doc.\"\"\"\n    if x != y and x >= 0x1F:\r\n"
    "        return {'a': [x ** 2, -3.5e-7]}  # ok\n\n\n\treturn None\n"
)

SPACES = [
    "",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    "\t",
    " \n ",
    "\r\n",
    "a",
    " a",
    "a ",
    "  a  ",
    "   a   b    c",
    "\n\n a\n",
    "a\n\n\nb",
    "\u00a0x\u3000y\u2028z\u0085w",
    "a \u200b b",
    "tab\tand\u000bvt",
    "\u180e mongolian",
    "x" * 40,
    "ab" * 300,
    " " * 70,
    "\n" * 30,
    "1234567890",
    "3.14 1,000,000 2024-01-02",
    "don't DON'T ‘don’t’ we'LL I'M 'S 'ſ",
    "e\u0301 \u1e9b\u0323 \u212b ﬁ ½ ㎏",
    "a\u0000b",
    "\ufeffbom",
    "\u2581 \u2581\u2581x",
    "<0x41> <0xE4><0xBD>",
    "<unk> <s> </s>",
    "Ġhello Ċ",
]


def random_texts(count=150, seed=7, database=unicodedata):
    """Any code points that are assigned in Python's Unicode, or in another one, mixed with spaces, marks and ASCII."""
    generator = random.Random(seed)
    planes = [
        (0x20, 0x7F),
        (0xA0, 0x250),
        (0x300, 0x700),
        (0x900, 0x1100),
        (0x1E00, 0x2600),
        (0x3000, 0xA000),
        (0xAC00, 0xD7A4),
        (0xF900, 0xFFF0),
        (0x1F300, 0x1F700),
        (0x10000, 0x10A00),
        (0x20000, 0x20400),
        (0x1D400, 0x1D800),
    ]
    texts = []
    for _ in range(count):
        letters = []
        for _ in range(generator.randint(1, 60)):
            if generator.random() < 0.2:
                letters.append(generator.choice(" \n\t  '’.,!-_1aé\u0301\u0323"))
                continue
            code = generator.randrange(*generator.choice(planes))
            if database.category(chr(code)) not in ("Cn", "Cs"):
                letters.append(chr(code))
        texts.append("".join(letters))
    return texts


def random_bytes(count=60, seed=11):
    generator = random.Random(seed)
    rows = [bytes(generator.randrange(256) for _ in range(generator.randint(1, 40))) for _ in range(count)]
    return rows + [
        b"\xe4\xbd",
        b"ok\xff\xfe\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"a\xe4\xbd\xa0\xe5",
        b"\xf0\x9f\x98",
    ]


def shared_texts(size=20000):
    """Stretches of the shared texts, where there are any."""
    texts = []
    for path in sorted((SHARED / "text").glob("**/*"))[:12] if (SHARED / "text").is_dir() else []:
        if path.is_file() and path.suffix in (".txt", ".json"):
            texts.append(path.read_bytes()[1000 : 1000 + size].decode(errors="ignore"))
    return texts


def all_texts(database=unicodedata):
    return (
        list(SCRIPTS.values())
        + [" ".join(SCRIPTS.values()), CODE]
        + SPACES
        + random_texts(database=database)
        + shared_texts()
    )


def with_tokens(tokens, seed=3):
    """Texts with added tokens in them, at the ends, doubled, and with and without spaces."""
    generator = random.Random(seed)
    words = [" ", "", "hello", " hello ", "\n", "你好", "x", "_", "."]
    texts = ["".join(tokens[:6]), " ".join(tokens[:6])]
    for _ in range(40):
        parts = [
            generator.choice(words if generator.random() < 0.6 else tokens) for _ in range(generator.randint(1, 9))
        ]
        texts.append("".join(parts))
    return texts
