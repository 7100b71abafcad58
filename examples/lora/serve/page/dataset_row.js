// One row of a data set: how it is shown, and the form that changes it.
import { h, fill } from "./dom.js";
import { say } from "./say.js";
import { actionButton, button, dialog, errorPlace, field, select, textArea } from "./parts.js";

const LABELS = {
    instruction: () => say("Question or task", "问题或任务"),
    input: () => say("More to it", "补充内容"),
    output: () => say("Answer", "回答"),
    prompt: () => say("Prompt", "提示"),
    completion: () => say("Completion", "续写"),
    text: () => say("Text", "文本"),
    label: () => say("Label", "标签"),
    chosen: () => say("Better answer", "更好的回答"),
    rejected: () => say("Worse answer", "较差的回答"),
    system: () => say("Role of the assistant", "系统提示"),
    messages: () => say("Conversation", "对话"),
    conversations: () => say("Conversation", "对话"),
    history: () => say("Earlier turns", "历史对话"),
};
const ORDER = [
    "system",
    "instruction",
    "input",
    "prompt",
    "text",
    "messages",
    "conversations",
    "output",
    "completion",
    "chosen",
    "rejected",
    "label",
];
const labelOf = key => LABELS[key]?.() ?? key;
const rank = key => (ORDER.includes(key) ? ORDER.indexOf(key) : ORDER.length);

const roleOf = turn => turn.role ?? turn.from ?? "";
const contentKey = turn => ("content" in turn ? "content" : "value" in turn ? "value" : "content");
const isTurns = value =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.every(turn => turn && typeof turn === "object" && typeof turn[contentKey(turn)] === "string");

function asText(value) {
    if (value == null) return "";
    if (typeof value === "string") return value;
    if (isTurns(value)) return value.map(turn => `${roleOf(turn)}: ${turn[contentKey(turn)]}`).join("\n");
    return JSON.stringify(value);
}

// The columns of the rows in sight, in an order that reads well; those without any text are left out.
export function rowColumns(rows) {
    const keys = [...new Set(rows.flatMap(row => Object.keys(row)))].filter(key => rows.some(row => asText(row[key])));
    return keys
        .sort((a, b) => rank(a) - rank(b))
        .slice(0, 6)
        .map(key => ({ label: labelOf(key), text: row => asText(row[key]) }));
}

// ---- editing: each field gives back its value -----------------------------------------------------------------------

function textField(key, value) {
    const area = textArea(value, { rows: 2, dir: "auto" });
    return { node: field(labelOf(key), area), read: () => area.value };
}

function jsonField(key, value) {
    const area = textArea(JSON.stringify(value), { rows: 2, spellcheck: "false", class: "code" });
    return {
        node: field(labelOf(key), area),
        read: () => {
            try {
                return JSON.parse(area.value);
            } catch {
                throw new Error(say(`“${labelOf(key)}” is not valid JSON.`, `“${labelOf(key)}”不是有效的 JSON。`));
            }
        },
    };
}

function turnsField(key, value) {
    const turns = value.map(turn => ({ ...turn })),
        list = h("div", { class: "stack tight" });
    const roleKey = "from" in turns[0] ? "from" : "role";
    const roles = [
        ...new Set([
            ...(roleKey === "from" ? ["human", "gpt"] : ["user", "assistant", "system"]),
            ...turns.map(roleOf),
        ]),
    ];
    const paint = () =>
        fill(
            list,
            turns.map((turn, i) => {
                const role = select(
                    roles.map(r => [r, r]),
                    roleOf(turn),
                    {
                        "aria-label": say(`Who speaks, turn ${i + 1}`, `第 ${i + 1} 句的角色`),
                        onchange: () => {
                            turn[roleKey] = role.value;
                        },
                    },
                );
                const area = textArea(turn[contentKey(turn)], {
                    rows: 2,
                    dir: "auto",
                    "aria-label": say(`Turn ${i + 1}`, `第 ${i + 1} 句`),
                });
                area.addEventListener("input", () => {
                    turn[contentKey(turn)] = area.value;
                });
                return h(
                    "div",
                    { class: "turn" },
                    role,
                    area,
                    button("", {
                        kind: "quiet",
                        icon: "trash",
                        label: say(`Delete turn ${i + 1}`, `删除第 ${i + 1} 句`),
                        disabled: turns.length < 2,
                        onclick: () => {
                            turns.splice(i, 1);
                            paint();
                        },
                    }),
                );
            }),
            button(say("Add a turn", "添加一句"), {
                icon: "plus",
                kind: "small",
                onclick: () => {
                    const other = roleOf(turns[turns.length - 1]) === roles[0] ? roles[1] : roles[0];
                    turns.push({ [roleKey]: other, [contentKey(turns[0])]: "" });
                    paint();
                },
            }),
        );
    paint();
    return { node: h("fieldset", {}, h("legend", {}, labelOf(key)), list), read: () => turns };
}

function fieldFor(key, value) {
    if (isTurns(value)) return turnsField(key, value);
    return typeof value === "string" || value == null ? textField(key, value ?? "") : jsonField(key, value);
}

// A dialog with one box a field; save(row) is called with the changed row. Resolves with true when it was saved.
export function editRow(row, title, save) {
    const keys = Object.keys(row).sort((a, b) => rank(a) - rank(b));
    return dialog(
        title,
        close => {
            const fields = keys.map(key => [key, fieldFor(key, row[key])]),
                place = errorPlace();
            const done = actionButton(
                say("Save", "保存"),
                { kind: "primary", icon: "check" },
                async () => {
                    await save({ ...row, ...Object.fromEntries(fields.map(([key, f]) => [key, f.read()])) });
                    close(true);
                },
                place,
            );
            return h(
                "div",
                {
                    class: "stack",
                    onkeydown: event => {
                        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) done.click();
                    },
                },
                fields.map(([, f]) => f.node),
                place,
                h(
                    "div",
                    { class: "row end" },
                    h("span", { class: "soft grow" }, say("Ctrl + Enter saves", "按 Ctrl + Enter 保存")),
                    button(say("Cancel", "取消"), { onclick: () => close(false) }),
                    done,
                ),
            );
        },
        { wide: true },
    );
}
