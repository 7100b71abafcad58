// The check of a data set: what was found, in which rows, and what can be put right with one press.
import { h, fill } from "./dom.js";
import { say, both, count } from "./say.js";
import { post, url } from "./api.js";
import { refresh, store } from "./store.js";
import { actionButton, card, errorPlace, field, figures, folded, linkButton, notice, select, table, textInput, toast, waiting } from "./parts.js";
import { dataAddress } from "./data.js";
import { freeName } from "./job.js";

const SEVERITIES = { error: "bad", warning: "warn", note: "info", info: "info" };
const SEVERITY_NAMES = { error: () => say("must be fixed", "需要修改"), warning: () => say("worth a look", "值得看看"), note: () => say("for your information", "供参考"), info: () => say("for your information", "供参考") };
const SHOWN_ROWS = 20;

// Row numbers in a finding may be plain numbers or objects with the row and its place.
const rowNumber = row => typeof row === "number" ? row : row.row ?? row.index ?? row.number;

function rowLinks(name, rows) {
    const numbers = [...new Set(rows.map(rowNumber).filter(Number.isFinite))];
    return h("p", { class: "row-links" }, say("Rows ", "行："), numbers.slice(0, SHOWN_ROWS).map((row, i) => [i ? ", " : "", h("a", { href: `${dataAddress(name)}?row=${row}` }, String(row))]),
        numbers.length > SHOWN_ROWS ? say(` and ${count(numbers.length - SHOWN_ROWS)} more`, ` 等 ${count(numbers.length)} 行`) : null);
}

function findingCard(name, finding) {
    const kind = SEVERITIES[finding.severity] ?? "info";
    return h("li", { class: `finding ${kind}` },
        h("div", { class: "row tight" }, h("h3", {}, both(finding.title ?? finding.name ?? finding.kind)), h("span", { class: `badge ${kind}` }, SEVERITY_NAMES[finding.severity]?.() ?? ""), h("span", { class: "soft" }, say(`${count(finding.count ?? 0)} found`, `${count(finding.count ?? 0)} 处`))),
        h("p", {}, both(finding.explanation ?? finding.text ?? finding.message)), finding.cure ? h("p", { class: "soft" }, both(finding.cure)) : null,
        finding.example ? h("blockquote", { dir: "auto" }, typeof finding.example === "string" ? finding.example : JSON.stringify(finding.example)) : null,
        finding.rows?.length ? rowLinks(name, finding.rows) : null);
}

function fixPart(name, repairable) {
    const place = errorPlace(), changes = h("div", {}), to = textInput(freeName(`${name}-clean`, store.state.datasets.map(d => d.name)), { maxLength: 64 });
    return card(h("h2", {}, say("Put it right", "一键修复")),
        h("p", {}, say("Makes a cleaned copy: duplicates and empty rows go, stray spaces and leftovers of templates are cut, damaged characters are repaired. Your own data set stays as it is.", "生成一份清理后的副本：删除重复行和空行，去掉多余空格和模板残留，修复损坏的字符。原数据集保持不变。")),
        field(say("Name of the copy", "副本的名称"), to), place,
        actionButton(say("Make a cleaned copy", "生成清理后的副本"), { kind: repairable ? "primary" : "", icon: "check" }, async () => {
            const made = to.value.trim(), answer = await post(url("api", "datasets", name, "fix"), { to: made });
            await refresh();
            const list = answer.changes ?? [];
            toast(say(`“${made}” is ready: ${count(list.length)} changes.`, `“${made}”已生成，共 ${count(list.length)} 处修改。`));
            fill(changes, notice("good", say(`${count(list.length)} changes were made.`, `共修改 ${count(list.length)} 处。`)),
                list.length ? folded(say("What was changed", "修改了什么"), h("ul", {}, list.slice(0, 200).map(change => h("li", { dir: "auto" }, changeText(change))))) : null,
                linkButton(say("Open the copy", "打开副本"), dataAddress(made), { icon: "next" }));
        }, place), changes);
}

function changeText(change) {
    if (typeof change === "string") return change;
    const row = rowNumber(change), what = both(change.text ?? change.message ?? change.explanation) || change.kind || change.change || change.action || "";
    return `${row ? say(`Row ${row}: `, `第 ${row} 行：`) : ""}${what}`;
}

export async function renderCheck(place, name, { signal }) {
    const others = store.state.datasets.map(d => d.name).filter(other => other !== name);
    const result = h("div", { class: "stack" });
    const longest = textInput("512", { type: "number", min: 1, class: "short" });
    const against = select([["", say("none", "不比较")], ...others.map(other => [other, other])], "");
    const check = async () => {
        fill(result, waiting());
        try {
            paint(await post(url("api", "datasets", name, "check"), { max_length: Number(longest.value) || 512, validation: against.value || null }, signal));
        } catch (error) { if (!signal.aborted) fill(result, notice("bad", error.message)); }
    };
    const paint = report => {
        const findings = report.findings ?? [], serious = findings.filter(f => f.severity === "error" || f.severity === "warning").length;
        fill(result, serious === 0 ? notice("good", say("Nothing that needs your attention was found.", "没有发现需要处理的问题。")) : notice("warn", say(`${count(serious)} kinds of things are worth a look before you train.`, `训练前有 ${count(serious)} 类问题值得看看。`)),
            figures([[say("Rows", "行数"), count(report.rows ?? 0)], lengthFigure(report), languageFigure(report)]),
            findings.length ? h("h2", { class: "unseen" }, say("What was found", "发现的问题")) : null,
            findings.length ? h("ul", { class: "plain stack" }, findings.map(finding => findingCard(name, finding))) : null,
            fixPart(name, serious > 0));
    };
    fill(place, h("form", { class: "row bottom", onsubmit: event => { event.preventDefault(); check(); } },
        field(say("Longest text in training (tokens)", "训练的最长文本（词元）"), longest), others.length ? field(say("Look for rows also in", "查找重复出现在"), against) : null,
        h("button", { class: "button" }, say("Check again", "重新检查"))), result);
    await check();
}

function lengthFigure(report) {
    const lengths = report.lengths ?? report.length, middle = lengths?.median ?? lengths?.p50;
    return Number.isFinite(middle) ? [say("Typical length", "典型长度"), say(`${count(Math.round(middle))} tokens`, `${count(Math.round(middle))} 个词元`)] : null;
}

function languageFigure(report) {
    const languages = report.languages ?? report.language;
    if (!languages || typeof languages !== "object") return null;
    const parts = Object.entries(languages).filter(([, share]) => typeof share === "number" && share > 0).sort((a, b) => b[1] - a[1]).slice(0, 3);
    return parts.length ? [say("Languages", "语言"), parts.map(([key]) => key).join(", ")] : null;
}
