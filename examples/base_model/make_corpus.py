"""Writes the pretraining text of the example base model as JSON lines of {"text": ...}.

Three kinds of text, in English and Chinese: public-domain books (--books, plain .txt files), office sentences, and
short conversations in the model's chat format. The last two come from the word lists below, so that a model of a few
million parameters learns everyday words, plain answers, and to carry over what it was given.
"""
import argparse
import json
import pathlib
import random
import re

NAMES = ["Anna", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "Jack", "Kate", "Leo", "Mia",
         "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Will"]
TEAMS = ["sales", "design", "support", "finance", "test", "data", "marketing", "product", "web", "mobile"]
THINGS = ["login page", "search page", "payment page", "user guide", "price list", "test plan", "data backup",
          "mail server", "mobile app", "order form", "weekly report", "budget plan", "customer list", "home page",
          "sign-up form", "training course", "product video", "survey", "contract draft", "help center", "chat window",
          "file upload", "report page", "image tool", "time sheet", "stock list", "delivery plan", "newsletter",
          "release notes", "road map"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
NUMBERS = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 18, 20, 24, 25, 30, 36, 40, 45, 48, 50, 60, 75, 80, 90, 100, 120, 150,
           200]
# (past, plain): the note's form, and the form after "we will"
ACTIONS = [("fixed", "fix"), ("tested", "test"), ("updated", "update"), ("finished", "finish"), ("reviewed", "review"),
           ("cleaned up", "clean up"), ("moved", "move"), ("checked", "check"), ("started", "start"),
           ("planned", "plan"), ("improved", "improve"), ("shipped", "ship"), ("rewrote", "rewrite"),
           ("translated", "translate"), ("published", "publish"), ("simplified", "simplify")]
COUNTED = ["bugs", "tickets", "orders", "tests", "users", "files", "emails", "calls", "pages", "photos", "tasks",
           "reviews"]

ZH_THINGS = ["登录页面", "搜索页面", "支付页面", "用户手册", "价格表", "测试计划", "数据备份", "邮件服务器", "手机应用", "订单表格",
             "周报模板", "预算方案", "客户名单", "首页设计", "注册流程", "培训课程", "产品视频", "调查问卷", "合同草稿", "帮助中心",
             "聊天窗口", "文件上传", "报表页面", "图片工具", "考勤表", "库存清单", "发货计划", "产品手册", "更新说明", "项目路线图"]
ZH_ACTIONS = ["修复了", "测试了", "更新了", "完成了", "检查了", "整理了", "改进了", "发布了", "重写了", "翻译了", "优化了", "提交了"]
ZH_TEAMS = ["销售部", "设计部", "客服部", "财务部", "测试组", "数据组", "市场部", "产品部", "网页组", "移动组"]
ZH_NAMES = ["小王", "小李", "小张", "小陈", "小刘", "小赵", "小周", "小吴", "小林", "小黄", "老王", "老李", "老张", "老陈"]
ZH_DAYS = ["周一", "周二", "周三", "周四", "周五"]
ZH_COUNTED = [("个", "问题"), ("张", "工单"), ("笔", "订单"), ("项", "测试"), ("位", "用户"), ("份", "文件"), ("封", "邮件"),
              ("通", "电话"), ("个", "页面"), ("张", "图片"), ("项", "任务"), ("条", "评论")]


def note_en(r):
    thing, team, name, day, n = (r.choice(x) for x in (THINGS, TEAMS, NAMES, DAYS, NUMBERS))
    past, _ = r.choice(ACTIONS)
    return r.choice([
        f"{past} the {thing}", f"{past} the {thing}", f"{past} the {thing} with the {team} team",
        f"fixed {n} {r.choice(COUNTED)} in the {thing}", f"answered {n} {r.choice(COUNTED)}", f"closed {n} tickets",
        f"met the {team} team on {day}", f"call with {name} moved to {day}",
        f"trained {r.choice(NUMBERS[:8])} new colleagues", f"{thing} is {r.choice(NUMBERS[12:25])} percent done",
        f"{thing} delayed by {r.choice(NUMBERS[:6])} days", f"server down for {r.choice(NUMBERS[:6])} hours",
        f"{n} new {r.choice(['users', 'orders', 'customers'])}", f"wrote the {thing}",
        f"helped {name} with the {thing}", f"waiting for the {team} team", f"showed the {thing} to {name}",
        f"sent the {thing} to the {team} team"])


def sentence_en(note, r):
    """A note as a plain sentence."""
    if re.match(r"(call with|server down|\d)", note) or " is " in note or " delayed " in note:
        text = note
        text = re.sub(r"^call with (.+) moved", r"the call with \1 was moved", text)
        text = re.sub(r"^server down", "the server was down", text)
        text = re.sub(r"^(\d+) new", r"there were \1 new", text)
        text = re.sub(r" delayed", " was delayed", text)
        if " is " in note or " delayed " in note:
            text = "the " + text
    elif note.startswith("waiting"):
        text = "we are " + note
    else:
        text = "we " + note
    return text[0].upper() + text[1:] + "."


def note_zh(r):
    thing, team, name, day, n = (r.choice(x) for x in (ZH_THINGS, ZH_TEAMS, ZH_NAMES, ZH_DAYS, NUMBERS))
    unit, counted = r.choice(ZH_COUNTED)
    return r.choice([
        f"{r.choice(ZH_ACTIONS)}{thing}", f"{r.choice(ZH_ACTIONS)}{thing}", f"和{team}一起{r.choice(ZH_ACTIONS)}{thing}",
        f"修复了{thing}的{n}个问题", f"处理了{n}{unit}{counted}", f"{day}与{team}开会", f"和{name}的会议改到{day}",
        f"培训了{r.choice(NUMBERS[:8])}位新同事", f"{thing}完成了百分之{r.choice(NUMBERS[12:25])}",
        f"{thing}推迟{r.choice(NUMBERS[:6])}天", f"服务器停机{r.choice(NUMBERS[:6])}小时", f"新增{n}位用户",
        f"编写了{thing}", f"帮助{name}完成了{thing}", f"等待{team}回复", f"向{name}展示了{thing}", f"把{thing}发给了{team}"])


def sentence_zh(note, r):
    if note[:1] in "修测更完检整改发重翻优提处培编帮向把和与" or note[:2] in ZH_DAYS:
        return "我们" + note + "。"
    return note + "。"


def notes(r, zh):
    make = note_zh if zh else note_en
    count = r.choice([1, 2, 2, 3, 3, 3, 4, 4, 5])
    found = []
    while len(found) < count:
        n = make(r)
        if n not in found:
            found.append(n)
    return found


def chat(*turns):
    roles = ["user", "assistant"]
    return "".join(f"<|im_start|>{roles[i % 2]}\n{t}<|im_end|>\n" for i, t in enumerate(turns))


def copying(r, zh):
    """Words in no order that are to be said again: nothing to know, only to look."""
    pool = (ZH_THINGS + ZH_TEAMS + ZH_NAMES + ZH_DAYS + ZH_PLACES + ZH_FEELINGS) if zh else (
        THINGS + TEAMS + NAMES + DAYS + PLACES + FEELINGS + [past for past, _ in ACTIONS])
    words = [r.choice(pool) if r.random() < .7 else str(r.randrange(1, 1000)) for _ in range(r.randrange(4, 16))]
    mark = r.choice(["，", "；", "、"]) if zh else r.choice([", ", "; ", " "])
    text = mark.join(words)
    return r.choice([
        lambda: chat(("重复这些词。\n" if zh else "Repeat these words.\n") + text, text),
        lambda: chat(("列出这些词。\n" if zh else "List these words.\n") + text, "\n".join("- " + w for w in words)),
        lambda: chat(("给这些词编号。\n" if zh else "Number these words.\n") + text,
                     "\n".join(f"{i + 1}. {w}" for i, w in enumerate(words))),
    ])()


def conversation_en(r):
    items = notes(r, False)
    joined = "; ".join(items)
    plain = " ".join(sentence_en(n, r) for n in items)
    name, day, thing = r.choice(NAMES), r.choice(DAYS), r.choice(THINGS)
    a, b = r.randrange(1, 30), r.randrange(1, 30)
    return r.choice([
        lambda: chat(r.choice(["Write a weekly report from these notes.", "Turn these notes into a weekly report.",
                               "Make a report from my notes.", "Rewrite these notes as sentences.",
                               "Please write this week's report."]) + "\n" + joined,
                     r.choice(["This week: ", "", ""]) + plain),
        lambda: chat("Write a weekly report from these notes.\n" + joined, plain),
        lambda: chat("Repeat the notes.\n" + joined, joined),
        lambda: chat("Number the notes.\n" + joined, "\n".join(f"{i + 1}. {n}" for i, n in enumerate(items))),
        lambda: chat("List the notes.\n" + joined, "\n".join(f"- {n}" for n in items)),
        lambda: chat("How many notes are there?\n" + joined,
                     f"There {'is 1 note' if len(items) == 1 else f'are {len(items)} notes'}."),
        lambda: chat("What is the first note?\n" + joined, items[0]),
        lambda: chat("What is the last note?\n" + joined, items[-1]),
        lambda: chat("Write the notes in capital letters.\n" + items[0], items[0].upper()),
        lambda: chat(f"Who did it?\n{name} {items[0]}", f"{name} did it."),
        lambda: chat(f"When do we meet {name}?\nWe meet {name} on {day}.", f"We meet {name} on {day}."),
        lambda: chat(f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}."),
        lambda: chat(r.choice(["Hello!", "Hi!", "Good morning!"]),
                     r.choice(["Hello! How can I help you?", "Hi! What can I do for you?"])),
        lambda: chat("Write a short mail about the " + thing + ".",
                     f"Dear {name}, the {thing} is ready. Please have a look by {day}. Best regards"),
        lambda: chat("Hello!", "Hello! How can I help you?", "Turn these notes into a weekly report.\n" + joined,
                     plain),
    ])()


def conversation_zh(r):
    items = notes(r, True)
    joined = "；".join(items)
    plain = "".join(sentence_zh(n, r) for n in items)
    name, day, thing = r.choice(ZH_NAMES), r.choice(ZH_DAYS), r.choice(ZH_THINGS)
    a, b = r.randrange(1, 30), r.randrange(1, 30)
    return r.choice([
        lambda: chat(r.choice(["根据这些笔记写一份周报。", "把这些笔记写成周报。", "请写本周的工作报告。", "把笔记改写成句子。", "请整理我的工作记录。"])
                     + "\n" + joined, r.choice(["本周工作：", "", ""]) + plain),
        lambda: chat("把这些笔记写成周报。\n" + joined, plain),
        lambda: chat("重复这些笔记。\n" + joined, joined),
        lambda: chat("给笔记编号。\n" + joined, "\n".join(f"{i + 1}. {n}" for i, n in enumerate(items))),
        lambda: chat("列出这些笔记。\n" + joined, "\n".join(f"- {n}" for n in items)),
        lambda: chat("一共有几条笔记？\n" + joined, f"一共有{len(items)}条笔记。"),
        lambda: chat("第一条笔记是什么？\n" + joined, items[0]),
        lambda: chat("最后一条笔记是什么？\n" + joined, items[-1]),
        lambda: chat(f"是谁做的？\n{name}{items[0]}", f"是{name}做的。"),
        lambda: chat(f"什么时候和{name}见面？\n我们{day}和{name}见面。", f"我们{day}和{name}见面。"),
        lambda: chat(f"{a}加{b}等于多少？", f"{a}加{b}等于{a + b}。"),
        lambda: chat(r.choice(["你好！", "您好！", "早上好！"]), r.choice(["你好！有什么可以帮您？", "您好！请问需要什么帮助？"])),
        lambda: chat("写一封关于" + thing + "的短邮件。", f"{name}，您好：{thing}已经准备好了，请在{day}之前查看。谢谢！"),
        lambda: chat("你好！", "你好！有什么可以帮您？", "把这些笔记写成周报。\n" + joined, plain),
    ])()


FEELINGS = ["glad", "proud", "happy", "tired", "busy", "calm", "thankful", "hopeful"]
PLACES = ["office", "garden", "kitchen", "park", "library", "station", "market", "school"]
CHEERS = ["It was a good week.", "It was a great day.", "Everybody was happy.", "The team did well.", "What a week!",
          "Good news!", "Well done!", "Thank you all.", "We look forward to next week.", "The work went well.",
          "Step by step we move on.", "Onward to the next goal!", "We are proud of the team.", "Great progress!",
          "The best is yet to come!", "What a great week!", "They work hand in hand.", "It is clear and fresh.",
          "It runs better than ever.", "It shines.", "It looks wonderful.", "It feels wonderful.",
          "Every reader will love it.", "Our customers are smiling.", "We came back stronger.",
          "We left full of good ideas.", "The goal is near.", "It is in great shape.", "We answered with a smile.",
          "We welcomed new friends.", "It came right on time.", "He enjoyed every minute.", "She enjoyed every minute.",
          "Our team is growing."]
ZH_CHEERS = ["这是很好的一周。", "大家都很高兴。", "团队表现很好。", "真是精彩的一周！", "好消息！", "干得漂亮！", "谢谢大家。",
             "我们期待下一周。", "工作很顺利。", "一步一步向前走。", "向下一个目标前进！", "我们为团队感到骄傲。", "进步很大！",
             "最好的还在后面！", "收获满满。", "运行更加顺畅。", "人人称赞。", "客户露出笑容。", "表现出色。", "休息以后，回来更加强大。", "焕然一新。",
             "我们满怀感激。", "准备得更加充分。", "体验更好。", "团队更加强大。", "十分亮眼。", "一切良好。", "胜利在望。", "携手同心。",
             "获得好评。", "准时又可靠。", "配合默契。", "更加完美。", "圆满完成。", "迎来新朋友。", "充满干劲。", "积极向上。", "振奋人心。"]
ZH_FEELINGS = ["高兴", "骄傲", "开心", "疲惫", "忙碌", "平静", "感激", "充满希望"]
ZH_PLACES = ["办公室", "花园", "厨房", "公园", "图书馆", "车站", "市场", "学校"]


def story_en(r):
    name, other, thing, day, place = (r.choice(x) for x in (NAMES, NAMES, THINGS, DAYS, PLACES))
    past, plain = r.choice(ACTIONS)
    lines = [f"On {day} {name} came to the {place}.", f"{name} {past} the {thing}.",
             f"Then {name} {note_en(r)}." if r.random() < .3 else f"{other} said: \"The {thing} looks good.\"",
             f"\"We will {plain} it again on {r.choice(DAYS)},\" said {name}.", f"{name} was {r.choice(FEELINGS)}.",
             r.choice(CHEERS), f"After lunch they went to the {r.choice(PLACES)}.",
             f"{other} helped {name} with the {r.choice(THINGS)}.",
             f"The {r.choice(TEAMS)} team was {r.choice(FEELINGS)} too."]
    return " ".join(lines[:2] + r.sample(lines[2:], r.randrange(2, 6)))


def story_zh(r):
    name, other, thing, day, place = (r.choice(x) for x in (ZH_NAMES, ZH_NAMES, ZH_THINGS, ZH_DAYS, ZH_PLACES))
    lines = [f"{day}，{name}来到{place}。", f"{name}{r.choice(ZH_ACTIONS)}{thing}。", f"{other}说：“{thing}看起来很好。”",
             f"“我们{r.choice(ZH_DAYS)}再看一遍。”{name}说。", f"{name}很{r.choice(ZH_FEELINGS)}。", r.choice(ZH_CHEERS),
             f"午饭以后，他们去了{r.choice(ZH_PLACES)}。", f"{other}帮助{name}完成了{r.choice(ZH_THINGS)}。",
             f"{r.choice(ZH_TEAMS)}也很{r.choice(ZH_FEELINGS)}。"]
    return "".join(lines[:2] + r.sample(lines[2:], r.randrange(2, 6)))


def book_pieces(path, size):
    text = path.read_text(encoding="utf-8", errors="strict").replace("\r\n", "\n").replace("\u3000", "")
    chinese = sum("\u4e00" <= c <= "\u9fff" for c in text) > len(text) // 3
    if not chinese:  # lines were broken by hand: join them inside a paragraph
        text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    text = re.sub(r"\n{2,}", "\n", text)
    text = re.sub(r"[ \t]+", " ", text)
    piece = ""
    for paragraph in text.split("\n"):
        paragraph = paragraph.strip()
        if piece and len(piece) + len(paragraph) > size // (3 if chinese else 1):
            yield piece
            piece = ""
        piece += ("\n" if piece else "") + paragraph
    if piece:
        yield piece


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--books", nargs="*", default=[], help="plain-text books in the public domain")
    parser.add_argument("--generated", type=int, default=60000, help="number of generated texts")
    parser.add_argument("--validation", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", default="corpus")
    options = parser.parse_args()
    r = random.Random(options.seed)
    makers = [conversation_en, conversation_zh, conversation_en, conversation_zh, story_en, story_zh,
              lambda r: copying(r, False), lambda r: copying(r, True)]
    texts = [makers[i % len(makers)](r) for i in range(options.generated)]
    for book in options.books:
        texts += list(book_pieces(pathlib.Path(book), 1800))
    r.shuffle(texts)
    held_out = int(len(texts) * options.validation)
    for name, part in (("valid", texts[:held_out]), ("train", texts[held_out:])):
        path = pathlib.Path(f"{options.output}.{name}.jsonl")
        with path.open("w", encoding="utf-8") as file:
            for text in part:
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        print(path, len(part), "texts,", sum(len(t.encode()) for t in part), "bytes")


if __name__ == "__main__":
    main()
