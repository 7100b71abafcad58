// The check of a data set: what was found, in which rows, and what can be put right with one press.
import { h, fill } from "./dom.js";
import { say, both, count } from "./say.js";
import { post, url } from "./api.js";
import { refresh, store } from "./store.js";
import {
    actionButton,
    card,
    checkbox,
    errorPlace,
    field,
    figures,
    folded,
    linkButton,
    notice,
    select,
    textInput,
    toast,
    waiting,
} from "./parts.js";
import { dataAddress } from "./data.js";
import { freeName } from "./job.js";

const SEVERITIES = { error: "bad", warning: "warn", note: "info" };
const SEVERITY_NAMES = {
    error: () => say("must be fixed", "需要修改"),
    warning: () => say("worth a look", "值得看看"),
    note: () => say("for your information", "供参考"),
};
const SHOWN_ROWS = 20;

const PERSONAL = new Set(["phone", "resident_id", "email", "bank_card"]);

// "Rows 3 (like 1), 17 (13812…)": each a link to the row.
function rowLinks(name, finding) {
    const rows = finding.rows.filter(row => row.set !== "validation"),
        shown = rows.slice(0, SHOWN_ROWS),
        rest = rows.length - shown.length + (finding.unlisted_rows ?? 0);
    const aside = row =>
        row.other_row
            ? say(` (like ${row.other_row})`, `（同第 ${row.other_row} 行）`)
            : row.detail
              ? ` (${both(row.detail)})`
              : "";
    return h(
        "p",
        { class: "row-links" },
        say("Rows ", "行："),
        shown.map((row, i) => [
            i ? ", " : "",
            h("a", { href: `${dataAddress(name)}?row=${row.row}` }, String(row.row)),
            aside(row),
        ]),
        rest > 0 ? say(` and ${count(rest)} more`, ` 等，另有 ${count(rest)} 行`) : null,
    );
}

// What to do, in the words of this page.
function cure(finding) {
    if (finding.fixable) return say("“Make a cleaned copy” below mends it.", "下面的“生成清理后的副本”会处理。");
    if (PERSONAL.has(finding.kind))
        return say("“Make a cleaned copy” below can mask it.", "下面的“生成清理后的副本”可以遮盖它。");
    return both(finding.cure);
}

function findingCard(name, finding) {
    const kind = SEVERITIES[finding.severity] ?? "info";
    return h(
        "li",
        { class: `finding ${kind}` },
        h(
            "div",
            { class: "row tight" },
            h("h3", {}, both(finding.title)),
            h("span", { class: `badge ${kind}` }, SEVERITY_NAMES[finding.severity]?.() ?? ""),
            h("span", { class: "soft" }, say(`${count(finding.count)} found`, `${count(finding.count)} 处`)),
        ),
        h("p", {}, both(finding.explanation)),
        h("p", { class: "soft" }, cure(finding)),
        finding.example ? h("blockquote", { dir: "auto" }, finding.example) : null,
        finding.rows?.length ? rowLinks(name, finding) : null,
    );
}

function fixPart(name, findings) {
    const repairable = findings.some(f => f.fixable);
    let mask = false;
    const place = errorPlace(),
        changes = h("div", {}),
        to = textInput(
            freeName(
                `${name}-clean`,
                store.state.datasets.map(d => d.name),
            ),
            { maxLength: 64 },
        );
    return card(
        h("h2", {}, say("Put it right", "一键修复")),
        h(
            "p",
            {},
            say(
                "Makes a cleaned copy: duplicates and empty rows go, stray spaces and leftovers of templates " +
                    "are cut, damaged characters are repaired. Your own data set stays as it is.",
                "生成一份清理后的副本：删除重复行和空行，去掉多余空格和模板残留，修复损坏的字符。原数据集保持不变。",
            ),
        ),
        field(say("Name of the copy", "副本的名称"), to),
        findings.some(f => PERSONAL.has(f.kind))
            ? checkbox(
                  say("Mask personal data", "遮盖个人信息"),
                  false,
                  on => {
                      mask = on;
                  },
                  say(
                      "Phone numbers, mail addresses, ID and card numbers become [PHONE], [EMAIL] and so on.",
                      "电话、邮箱、身份证号和银行卡号会变成 [PHONE]、[EMAIL] 等。",
                  ),
              )
            : null,
        place,
        actionButton(
            say("Make a cleaned copy", "生成清理后的副本"),
            { kind: repairable ? "primary" : "", icon: "check" },
            async () => {
                const made = to.value.trim(),
                    answer = await post(url("api", "datasets", name, "fix"), { to: made, mask_personal: mask });
                await refresh();
                const list = answer.changes ?? [];
                toast(
                    say(
                        `“${made}” is ready: ${count(list.length)} changes.`,
                        `“${made}”已生成，共 ${count(list.length)} 处修改。`,
                    ),
                );
                fill(
                    changes,
                    notice(
                        "good",
                        say(`${count(list.length)} changes were made.`, `共修改 ${count(list.length)} 处。`),
                    ),
                    list.length
                        ? folded(
                              say("What was changed", "修改了什么"),
                              h(
                                  "ul",
                                  {},
                                  list
                                      .slice(0, 200)
                                      .map(change =>
                                          h(
                                              "li",
                                              { dir: "auto" },
                                              say(`Row ${change.row}: `, `第 ${change.row} 行：`),
                                              both(change.text),
                                          ),
                                      ),
                              ),
                          )
                        : null,
                    linkButton(say("Open the copy", "打开副本"), dataAddress(made), { icon: "next" }),
                );
            },
            place,
        ),
        changes,
    );
}

export async function renderCheck(place, name, { signal }) {
    const others = store.state.datasets.map(d => d.name).filter(other => other !== name);
    const result = h("div", { class: "stack" });
    const longest = textInput("512", { type: "number", min: 1, class: "short" });
    const against = select([["", say("none", "不比较")], ...others.map(other => [other, other])], "");
    const check = async () => {
        fill(result, waiting());
        try {
            paint(
                await post(
                    url("api", "datasets", name, "check"),
                    { max_length: Number(longest.value) || 512, validation: against.value || null },
                    signal,
                ),
            );
        } catch (error) {
            if (!signal.aborted) fill(result, notice("bad", error.message));
        }
    };
    const paint = report => {
        const findings = report.findings ?? [],
            serious = findings.filter(f => f.severity === "error" || f.severity === "warning").length;
        fill(
            result,
            serious === 0
                ? notice("good", say("Nothing that needs your attention was found.", "没有发现需要处理的问题。"))
                : notice(
                      "warn",
                      say(
                          `${count(serious)} kinds of things are worth a look before you train.`,
                          `训练前有 ${count(serious)} 类问题值得看看。`,
                      ),
                  ),
            figures([[say("Rows", "行数"), count(report.rows ?? 0)], lengthFigure(report), languageFigure(report)]),
            findings.length ? h("h2", { class: "unseen" }, say("What was found", "发现的问题")) : null,
            findings.length
                ? h(
                      "ul",
                      { class: "plain stack" },
                      findings.map(finding => findingCard(name, finding)),
                  )
                : null,
            fixPart(name, findings),
        );
    };
    fill(
        place,
        h(
            "form",
            {
                class: "row bottom",
                onsubmit: event => {
                    event.preventDefault();
                    check();
                },
            },
            field(say("Longest text in training (tokens)", "训练的最长文本（词元）"), longest),
            others.length ? field(say("Look for rows also in", "查找重复出现在"), against) : null,
            h("button", { class: "button" }, say("Check again", "重新检查")),
        ),
        result,
    );
    await check();
}

function lengthFigure({ lengths }) {
    return lengths
        ? [say("Typical length", "典型长度"), say(`${count(lengths.p50)} tokens`, `${count(lengths.p50)} 个词元`)]
        : null;
}

const SCRIPTS = {
    latin: () => say("Latin letters", "拉丁字母"),
    chinese: () => say("Chinese", "中文"),
    japanese: () => say("Japanese", "日文"),
    korean: () => say("Korean", "韩文"),
    cyrillic: () => say("Cyrillic", "西里尔字母"),
    arabic: () => say("Arabic", "阿拉伯文"),
};

function languageFigure({ languages }) {
    const parts = Object.entries(languages ?? {})
        .sort((a, b) => b[1] - a[1])
        .slice(0, 3);
    return parts.length
        ? [
              say("Scripts", "文字"),
              parts.map(([name, rows]) => `${SCRIPTS[name]?.() ?? name} ${count(rows)}`).join(", "),
          ]
        : null;
}
