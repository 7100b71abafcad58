// The result of an evaluation: what each score means, the answers, the checklist; beside another evaluation of the same data.
import { h, fill } from "./dom.js";
import { say, both, decimal } from "./say.js";
import { get, put, url } from "./api.js";
import { store } from "./store.js";
import { button, card, errorPlace, field, notice, select, table, textArea, segments } from "./parts.js";
import { skillNames } from "./skills.js";

const SAMPLES = 10;
const SCORES = { // digits, +1 where more is better
    loss: [3, -1, () => say("Loss", "损失"), () => say("How surprised the model is by the right answers.", "模型对正确答案的“意外”程度。")],
    perplexity: [2, -1, () => say("Perplexity", "困惑度"), () => say("Between how many words it hesitates on average.", "平均在多少个词之间犹豫。")],
    bleu: [1, 1, () => "BLEU", () => say("Whole phrases shared with your answer, 0 to 100.", "与您的答案相同的词组，0 到 100。")],
    bleu4: [1, 1, () => "BLEU-4", () => say("Shared character sequences, as LLaMA-Factory counts them for Chinese.", "相同的字序列，按 LLaMA-Factory 的中文算法。")],
    chrf: [1, 1, () => "chrF", () => say("Shared pieces of words, 0 to 100.", "相同的字词片段，0 到 100。")],
    rouge1: [1, 1, () => "ROUGE-1", () => say("Single words shared, 0 to 100.", "相同的单个词，0 到 100。")],
    rouge2: [1, 1, () => "ROUGE-2", () => say("Pairs of words shared, 0 to 100.", "相同的双词组合，0 到 100。")],
    rougeL: [1, 1, () => "ROUGE-L", () => say("Words shared in the same order, 0 to 100.", "顺序一致的相同词，0 到 100。")],
    rougeLsum: [1, 1, () => "ROUGE-Lsum", () => say("The same, sentence by sentence.", "同上，逐句计算。")],
    exact_match: [1, 1, () => say("Exactly the same", "完全相同"), () => say("Answers that match word for word, in per cent.", "逐字一致的回答比例（%）。")],
    accuracy: [1, 1, () => say("Accuracy", "准确率"), () => say("Right labels, in per cent.", "标签正确的比例（%）。")],
    f1_macro: [1, 1, () => say("F1, all labels alike", "宏平均 F1"), () => say("Right labels, rare ones counting as much as common ones.", "少见标签与常见标签同等重要的综合得分。")],
    f1_micro: [1, 1, () => say("F1, all rows alike", "微平均 F1"), () => say("Right labels over all rows.", "按全部数据计算的综合得分。")],
    f1_weighted: [1, 1, () => say("F1, weighted", "加权 F1"), () => say("Labels count by how often they occur.", "按标签出现次数加权的综合得分。")],
};

const number = score => typeof score === "number" ? score : score?.value ?? score?.score ?? score?.mean;
const scoresOf = result => result?.scores ?? result ?? {};
const intervalOf = (result, key) => scoresOf(result)[key]?.interval ?? result?.intervals?.[key] ?? null;
export const rowsOf = result => result?.rows ?? result?.examples ?? [];
const promptOf = row => row.prompt ?? row.instruction ?? row.question ?? "";

function scoreTable(mine, other, otherName) {
    const keys = Object.keys(SCORES).filter(key => Number.isFinite(number(scoresOf(mine)[key])));
    const cell = (result, key) => {
        const value = number(scoresOf(result)[key]), interval = intervalOf(result, key);
        return [decimal(value, SCORES[key][0]), interval ? h("span", { class: "soft" }, ` (${decimal(interval[0], SCORES[key][0])} – ${decimal(interval[1], SCORES[key][0])})`) : null];
    };
    const change = key => {
        const gain = (number(scoresOf(mine)[key]) - number(scoresOf(other)[key])) * SCORES[key][1];
        return !Number.isFinite(gain) || gain === 0 ? say("same", "相同") : h("span", { class: `badge ${gain > 0 ? "good" : "warn"}` }, gain > 0 ? say("better", "更好") : say("worse", "变差"));
    };
    return table(say("Scores", "得分"), [
        { label: say("Score", "指标"), main: true, cell: key => [SCORES[key][2](), h("p", { class: "hint" }, SCORES[key][3](), " ", SCORES[key][1] > 0 ? say("More is better.", "越高越好。") : say("Less is better.", "越低越好。"))] },
        ...(other ? [{ label: otherName, number: true, cell: key => cell(other, key) }] : []),
        { label: other ? say("This one", "本次") : say("Value", "数值"), number: true, cell: key => cell(mine, key) },
        ...(other ? [{ label: say("Change", "变化"), cell: change }] : []),
    ], keys);
}

// ---- the checklist -----------------------------------------------------------------------------------------------------------

const QUESTIONS = () => [["follows", say("Follows the instruction", "遵循了指令")], ["coherent", say("Makes sense throughout", "通顺连贯")], ["domain", say("Sounds like the field", "有领域特点")], ["avoids", say("Avoids the model's old mistakes", "避免了原模型的错误")]];
const ANSWERS = () => [["yes", say("yes", "是")], ["no", say("no", "否")], ["open", "–"]];
const asBool = { yes: true, no: false, open: null }, asWord = value => value === true ? "yes" : value === false ? "no" : "open";

function checklist(job, index, kept) {
    const state = { follows: null, coherent: null, domain: null, avoids: null, note: "", ...kept }, place = errorPlace();
    const save = async () => { place.clear(); try { await put(url("api", "jobs", job.id, "checklist", String(index)), state); } catch (error) { place.show(error); } };
    const note = textArea(state.note, { rows: 1, onchange: () => { state.note = note.value; save(); } });
    return h("div", { class: "stack tight" }, QUESTIONS().map(([key, label]) => {
        const row = segments(label, ANSWERS(), asWord(state[key]), word => { state[key] = asBool[word]; save(); });
        row.classList.add("tick-row");
        return row;
    }), field(say("Note", "备注"), note), place);
}

function sample(job, row, index, otherRow, otherName) {
    const answer = (title, text, kind = "") => h("div", { class: "stack tight" }, h("h4", { class: "soft" }, title), h("div", { class: `prompt-text ${kind}`, dir: "auto", tabindex: "0", role: "region", "aria-label": `${title} ${index + 1}` }, text || say("(nothing)", "（空）")));
    const hints = row.hints ?? [], kept = row.checklist ?? job.result.checklist?.[index];
    return h("li", { class: "sample" }, h("h3", {}, say(`Row ${index + 1}`, `第 ${index + 1} 行`)), h("div", { class: "prompt-plain", dir: "auto" }, promptOf(row)),
        h("div", { class: "answers" }, otherRow ? answer(otherName, otherRow.prediction) : null, answer(say("This one answered", "本次回答"), row.prediction), answer(say("You wrote", "您的答案"), row.reference ?? row.references?.[0])),
        hints.length ? notice("info", hints.map(hint => both(hint.text ?? hint.message ?? hint)).join(" ")) : null,
        checklist(job, index, kept));
}

function samples(job, other, otherName) {
    const rows = rowsOf(job.result), list = h("ol", { class: "plain stack" });
    let shown = 0;
    const more = button(say("Show more", "显示更多"), { onclick: () => add() });
    const add = () => {
        const next = rows.slice(shown, shown + SAMPLES).map((row, i) => sample(job, row, shown + i, rowsOf(other)[shown + i], otherName));
        list.append(...next);
        shown += next.length;
        more.hidden = shown >= rows.length;
    };
    add();
    return rows.length ? [h("h2", {}, say("The answers, and your checklist", "回答与检查表")), h("p", { class: "soft" }, say("Numbers can deceive: read some answers and tick what is true. It is saved as you go.", "数字可能骗人：读一些回答并勾选，会自动保存。")), list, h("div", { class: "row center" }, more)] : null;
}

// ---- the whole -----------------------------------------------------------------------------------------------------------------

export async function showEvaluation(place, job, signal) {
    const same = store.state.jobs.filter(j => j.kind === "evaluate" && j.state === "done" && j.id !== job.id && j.settings.dataset === job.settings.dataset);
    const named = j => `${skillNames(j.settings.adapters ?? [])} (${j.name})`, body = h("div", { class: "stack" });
    const choose = async id => {
        const other = id ? await get(url("api", "jobs", id), signal) : null, name = other ? skillNames(other.settings.adapters ?? []) : "";
        fill(body, card(h("h2", {}, say("Scores", "得分")), scoreTable(job.result, other?.result, name), other ? h("p", { class: "soft" }, say("In brackets: where the true value lies with 95 % certainty. Where the brackets overlap much, the change may be luck.", "括号内是 95% 置信区间。区间重叠较多时，变化可能只是偶然。")) : null), samples(job, other?.result, name));
    };
    const alone = same.find(j => !(j.settings.adapters ?? []).length);
    const picker = select([["", say("nothing", "不比较")], ...same.map(j => [j.id, named(j)])], alone?.id ?? "", { onchange: () => choose(picker.value) });
    fill(place, h("p", { class: "soft" }, `${job.settings.dataset} · ${skillNames(job.settings.adapters ?? [])}`), same.length ? field(say("Compare with", "与之比较"), picker) : null, body);
    await choose(alone?.id);
}
