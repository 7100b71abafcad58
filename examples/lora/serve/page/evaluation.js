// The result of an evaluation (the document of evaluate.h): what each score means, the answers, the checklist; beside
// the model alone where it was evaluated too.
import { h, fill } from "./dom.js";
import { say, both, count, decimal } from "./say.js";
import { put, url } from "./api.js";
import { button, card, errorPlace, field, folded, segments, table, textArea } from "./parts.js";
import { skillNames } from "./skills.js";

const SAMPLES = 10;
const SCORES = {
    // digits, +1 where more is better
    loss: [
        3,
        -1,
        () => say("Loss", "损失"),
        () => say("How surprised the model is by the right answers.", "模型对正确答案的“意外”程度。"),
    ],
    perplexity: [
        2,
        -1,
        () => say("Perplexity", "困惑度"),
        () => say("Between how many words it hesitates on average.", "平均在多少个词之间犹豫。"),
    ],
    bleu: [
        1,
        1,
        () => "BLEU",
        () => say("Whole phrases shared with your answer, 0 to 100.", "与您的答案相同的词组，0 到 100。"),
    ],
    bleu4: [
        1,
        1,
        () => "BLEU-4",
        () =>
            say(
                "Shared sequences of characters, as LLaMA-Factory counts them for Chinese.",
                "相同的字序列，按 LLaMA-Factory 的中文算法。",
            ),
    ],
    rouge1: [1, 1, () => "ROUGE-1", () => say("Single words shared, 0 to 100.", "相同的单个词，0 到 100。")],
    rouge2: [1, 1, () => "ROUGE-2", () => say("Pairs of words shared, 0 to 100.", "相同的双词组合，0 到 100。")],
    rougeL: [
        1,
        1,
        () => "ROUGE-L",
        () => say("Words shared in the same order, 0 to 100.", "顺序一致的相同词，0 到 100。"),
    ],
    rougeLsum: [1, 1, () => "ROUGE-Lsum", () => say("The same, sentence by sentence.", "同上，逐句计算。")],
    chrf: [1, 1, () => "chrF", () => say("Shared pieces of words, 0 to 100.", "相同的字词片段，0 到 100。")],
    exact_match: [
        1,
        1,
        () => say("Exactly the same", "完全相同"),
        () => say("Answers that match word for word, in per cent.", "逐字一致的回答比例（%）。"),
    ],
    accuracy: [
        3,
        1,
        () => say("Accuracy", "准确率"),
        () => say("Share of right labels, 0 to 1.", "标签正确的比例，0 到 1。"),
    ],
    f1_macro: [
        3,
        1,
        () => say("F1, all labels alike", "宏平均 F1"),
        () =>
            say(
                "Right labels, rare ones counting as much as common ones, 0 to 1.",
                "少见标签与常见标签同等重要的得分，0 到 1。",
            ),
    ],
    f1_micro: [
        3,
        1,
        () => say("F1, all rows alike", "微平均 F1"),
        () => say("Right labels over all rows, 0 to 1.", "按全部数据计算的得分，0 到 1。"),
    ],
    f1_weighted: [
        3,
        1,
        () => say("F1, weighted", "加权 F1"),
        () => say("Labels count by how often they occur, 0 to 1.", "按标签出现次数加权的得分，0 到 1。"),
    ],
    distinct_1: [
        1,
        1,
        () => say("Variety of words", "用词多样性"),
        () => say("Different words among all words, in per cent.", "不同的词占全部词的比例（%）。"),
    ],
    distinct_2: [
        1,
        1,
        () => say("Variety of pairs", "词组多样性"),
        () => say("Different pairs of words among all pairs, in per cent.", "不同的双词组合占比（%）。"),
    ],
    repetition: [
        1,
        -1,
        () => say("Repetition", "重复"),
        () => say("Share of an answer that stood in it before, in per cent.", "回答中重复出现的部分（%）。"),
    ],
};

// ---- scores ---------------------------------------------------------------------------------------------------------

function change(key, result) {
    const compared = result.baseline.comparison?.[key],
        gain = (result[key] - result.baseline.scores[key]) * SCORES[key][1];
    if (!Number.isFinite(gain) || gain === 0) return say("same", "相同");
    const sure = compared && Number.isFinite(compared.low) ? compared.low > 0 || compared.high < 0 : null;
    return h(
        "div",
        { class: "stack tight" },
        h(
            "span",
            { class: `badge ${gain > 0 ? "good" : "warn"}` },
            gain > 0 ? say("better", "更好") : say("worse", "变差"),
        ),
        sure === null
            ? null
            : h("span", { class: "hint" }, sure ? say("more than luck", "不是偶然") : say("may be luck", "可能是偶然")),
    );
}

function scoreTable(result) {
    const value = (key, number, interval) => [
        decimal(number, SCORES[key][0]),
        interval?.every(Number.isFinite)
            ? h("p", { class: "hint" }, interval.map(end => decimal(end, SCORES[key][0])).join(" – "))
            : null,
    ];
    return table(
        say("Scores", "得分"),
        [
            {
                label: say("Score", "指标"),
                main: true,
                cell: key => [
                    SCORES[key][2](),
                    h(
                        "p",
                        { class: "hint" },
                        SCORES[key][3](),
                        " ",
                        SCORES[key][1] > 0
                            ? say("More is better.", "越高越好。")
                            : say("Less is better.", "越低越好。"),
                    ),
                ],
            },
            ...(result.baseline
                ? [
                      {
                          label: say("The model alone", "仅模型"),
                          number: true,
                          cell: key => value(key, result.baseline.scores[key]),
                      },
                  ]
                : []),
            {
                label: result.baseline ? say("With the skill", "使用技能") : say("Value", "数值"),
                number: true,
                cell: key => value(key, result[key], result.intervals?.[key]),
            },
            ...(result.baseline ? [{ label: say("Change", "变化"), cell: key => change(key, result) }] : []),
        ],
        Object.keys(SCORES).filter(key => Number.isFinite(result[key])),
    );
}

function classTable(classes) {
    if (!classes?.labels?.length || !classes.confusion) return null;
    const { labels, confusion } = classes;
    return folded(
        say("Which labels are taken for which", "哪些标签会被混淆"),
        table(
            say("Right label by row, given label by column", "行为正确标签，列为模型给出的标签"),
            [
                { label: say("Right label", "正确标签"), main: true, cell: label => label },
                ...labels.map((label, column) => ({
                    label,
                    number: true,
                    cell: (_, row) => count(confusion[row]?.[column] ?? 0),
                })),
            ],
            labels,
        ),
    );
}

// ---- the checklist --------------------------------------------------------------------------------------------------

const QUESTIONS = {
    // as the document names them; as the server keeps them
    follows_instruction: ["follows", () => say("Follows the instruction", "遵循了指令")],
    coherent: ["coherent", () => say("Makes sense throughout", "通顺连贯")],
    domain_flavour: ["domain", () => say("Sounds like your examples", "像您的例子")],
    avoids_base_mistakes: ["avoids", () => say("Avoids the model's old mistakes", "避免了原模型的错误")],
};
const ANSWERS = () => [
    ["yes", say("yes", "是")],
    ["no", say("no", "否")],
    ["open", "–"],
];
const asVerdict = { yes: true, no: false, open: null },
    asWord = verdict => (verdict === true ? "yes" : verdict === false ? "no" : "open");

function checklist(job, example, index) {
    const place = errorPlace(),
        kept = job.checklist?.[index] ?? {};
    const state = Object.fromEntries(Object.values(QUESTIONS).map(([key]) => [key, kept[key] ?? null]));
    state.note = kept.note ?? "";
    const save = async () => {
        place.clear();
        try {
            await put(url("api", "jobs", job.id, "checklist", String(index)), state);
        } catch (error) {
            place.show(error);
        }
    };
    const note = textArea(state.note, {
        rows: 1,
        onchange: () => {
            state.note = note.value;
            save();
        },
    });
    return h(
        "div",
        { class: "stack tight" },
        Object.entries(QUESTIONS).map(([id, [key, label]]) => {
            const row = segments(label(), ANSWERS(), asWord(state[key]), word => {
                    state[key] = asVerdict[word];
                    save();
                }),
                hints = example.checklist?.[id]?.hints ?? [];
            row.classList.add("tick-row");
            return [
                row,
                hints.length ? h("p", { class: "hint warn-text" }, hints.map(both).join(say("; ", "；"))) : null,
            ];
        }),
        field(say("Note", "备注"), note),
        place,
    );
}

// A prompt without the marks of the chat template.
const plainPrompt = text => String(text ?? "").replace(/<\|[^|<>]{1,40}\|>(?:(?:system|user|assistant)\n)?\n?/g, "");

function sample(job, example, index, own) {
    const answer = (title, text) =>
        h(
            "div",
            { class: "stack tight" },
            h("h4", { class: "soft" }, title),
            h(
                "div",
                {
                    class: "prompt-text",
                    dir: "auto",
                    tabindex: "0",
                    role: "region",
                    "aria-label": `${title}, ${index + 1}`,
                },
                text || say("(nothing)", "（空）"),
            ),
        );
    return h(
        "li",
        { class: "sample" },
        h("h3", {}, say(`Row ${index + 1}`, `第 ${index + 1} 行`)),
        h("div", { class: "prompt-plain", dir: "auto" }, plainPrompt(example.prompt)),
        h(
            "div",
            { class: "answers" },
            example.baseline != null
                ? answer(say("The model alone", "仅模型"), example.baseline.prediction ?? example.baseline)
                : null,
            answer(own, example.prediction),
            answer(say("You wrote", "您的答案"), example.reference ?? example.references?.[0]),
        ),
        checklist(job, example, index),
    );
}

function samples(job, own) {
    const all = (job.result.examples ?? []).filter(example => example.prediction != null),
        list = h("ol", { class: "plain stack" });
    const more = button(say("Show more", "显示更多"), { onclick: () => add() });
    const add = () => {
        const shown = list.childElementCount;
        list.append(...all.slice(shown, shown + SAMPLES).map((example, i) => sample(job, example, shown + i, own)));
        more.hidden = list.childElementCount >= all.length;
    };
    if (!all.length) return null;
    add();
    return [
        h("h2", {}, say("The answers, and your checklist", "回答与检查表")),
        h(
            "p",
            { class: "soft" },
            say(
                "Numbers can deceive: read some answers and tick what is true. It is saved as you go.",
                "数字可能骗人：读一些回答并勾选，会自动保存。",
            ),
        ),
        list,
        h("div", { class: "row center" }, more),
    ];
}

export function showEvaluation(place, job) {
    const name = skillNames(job.settings.adapters ?? []),
        { result } = job;
    fill(
        place,
        h("p", { class: "soft" }, `${job.settings.dataset} · ${name}`),
        card(
            h("h2", {}, say("Scores", "得分")),
            scoreTable(result),
            classTable(result.classes),
            result.intervals
                ? h(
                      "p",
                      { class: "soft" },
                      say("Small figures: where the true value lies with 95 % certainty.", "小字为 95% 置信区间。"),
                  )
                : null,
        ),
        samples(job, name),
    );
}
