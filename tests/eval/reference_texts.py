"""Random pairs of texts for the tests of metrics: English, Chinese, mixed, with emoji, numbers, marks, empty, blank."""
import random

ENGLISH = ("the a cat sat on mat running runs runner happily happiness relational conditional generalizations flies "
           "dies skies probably U.S. don't it's e-mail 3.14 1,000 2024-11-27 -5 50% $9.99 (hi) \"quoted\" & &amp; "
           "&quot;x&quot; <skipped> state-of-the-art hello, world! Why? Yes; no: maybe... A.B. naïve café Straße "
           "İstanbul ΟΔΟΣ x=y+1 #tag @me C++ http://a.b/c?d=1 agreed feed plastered motoring hopping falling fizzed "
           "controlling rolled y yy").split()
CHINESE = list("今天天气很好我们去公园玩模型训练数据的了是在不有人这中大为上个国以要他时来用生到作地于出就分对成会可主发年动，。！？；：“”‘’（）《》、…—·３％Ａ")
OTHER = ["😀", "👍🏽", "👨‍👩‍👧", "—", "…", "\t", "\n", "  ", "\u3000", "\xa0", "\u2009", "日本語", "カタカナ", "한국어", "שלום",
         "مرحبا", "∑", "€", "½", "①", "-\n", "\x1c", "\x85", "é", "Ⅷ", "٣"]


def text(draw):
    kind = draw.random()
    if kind < 0.03:
        return draw.choice(["", " ", "\n", "  \t "])
    words, count = [], draw.randint(1, 24)
    for _ in range(count):
        pool = ENGLISH if kind < 0.4 else CHINESE if kind < 0.7 else draw.choice([ENGLISH, CHINESE, OTHER])
        words.append(draw.choice(pool))
    joiner = draw.choice([" ", " ", "", "\n"]) if kind < 0.4 or kind > 0.7 else draw.choice(["", "", " "])
    return joiner.join(words)


def changed(draw, original):
    """A text near another: characters and words moved, dropped, doubled."""
    parts = original.split(" ") if " " in original and draw.random() < 0.7 else list(original)
    for _ in range(draw.randint(0, 4)):
        if not parts:
            break
        at = draw.randrange(len(parts))
        how = draw.random()
        if how < 0.4:
            del parts[at]
        elif how < 0.7:
            parts.insert(at, parts[draw.randrange(len(parts))])
        else:
            parts[at] = draw.choice(ENGLISH + CHINESE + OTHER)
    return (" " if " " in original else "").join(parts)


def pairs(count, seed=1, references=1):
    """(predictions, [references of each])"""
    draw = random.Random(seed)
    predictions, expected = [], []
    for _ in range(count):
        own = text(draw)
        expected.append([text(draw) if draw.random() < 0.2 else changed(draw, own) for _ in range(references)])
        predictions.append(own)
    return predictions, expected
