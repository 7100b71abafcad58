// Settings of the program as a form: the server tells which there are (/api/options); the basic ones are explained here
// in plain words.
import { h } from "./dom.js";
import { say, both } from "./say.js";
import { get } from "./api.js";
import { checkbox, field, select, textInput } from "./parts.js";

let known = null;
export async function options(verb) {
    known ??= await get("/api/options");
    return known[verb] ?? [];
}

const WORDS = {
    rank: () => [
        say("How much it can learn (rank r)", "学习容量（秩 r）"),
        say(
            "8 suits most tasks. 4 is smaller and quicker; 16 for harder tasks with more examples.",
            "8 适合大多数任务。4 更小更快；任务较难、例子较多时用 16。",
        ),
    ],
    alpha: () => [
        say("How strongly it speaks (alpha)", "影响强度（alpha）"),
        say(
            "The skill counts with alpha / r. 32 with r = 8 is the guide's choice.",
            "技能的影响按 alpha / r 计算。教程的选择是 r = 8 配 32。",
        ),
    ],
    dropout: () => [
        say("Against rote learning (dropout)", "防止死记硬背（dropout）"),
        say(
            "A share of what it sees is hidden at random while learning. 0.1 is good for few examples.",
            "学习时随机隐藏一部分内容。例子不多时 0.1 比较合适。",
        ),
    ],
    "target-modules": () => [
        say("Where it learns", "学习的位置"),
        say(
            "Two kinds of layers are enough to change the tone. All layers learn more and need more memory.",
            "改变语气只需要两类层；全部层学得更多，也更占内存。",
        ),
    ],
    epochs: () => [
        say("Times through (epochs)", "学习遍数（epochs）"),
        say(
            "3 is a good start. More for few examples; too many and it repeats them word for word.",
            "从 3 遍开始。例子少可以多几遍；太多会逐字背诵。",
        ),
    ],
    "learning-rate": () => [
        say("Size of a step (learning rate)", "步子大小（学习率）"),
        say(
            "Leave it empty for the usual choice. Large models like small steps; the little example model needs 0.008.",
            "留空即用常用值。大模型用小步子；自带的小示例模型需要 0.008。",
        ),
    ],
    "batch-size": () => [
        say("Examples at a time (batch)", "每步例子数（批大小）"),
        say("More at a time is steadier and needs more memory.", "一次多一些更稳定，也更占内存。"),
    ],
    "max-length": () => [
        say("Longest text in tokens", "最长文本（词元）"),
        say("Longer examples are cut here. Shorter saves memory.", "更长的例子会被截断。调小可以节省内存。"),
    ],
};
const CHOICES = {
    "target-modules": () => [
        ["q_proj,v_proj", say("Attention: q_proj and v_proj", "注意力层：q_proj 和 v_proj")],
        ["all-linear", say("All layers", "全部线性层")],
    ],
};

export const isAutomatic = value => value == null || value === "" || (typeof value === "number" && value < 0);

function numberInput(option, value, onchange) {
    const input = textInput(isAutomatic(value) ? "" : String(value), {
        type: "number",
        inputMode: "decimal",
        min: option.min,
        max: option.max,
        step: option.kind === "integer" ? 1 : "any",
        placeholder: isAutomatic(option.value) ? say("automatic", "自动") : String(option.value),
    });
    input.addEventListener("input", () => onchange(input.value === "" ? null : Number(input.value)));
    return input;
}

// One setting; onchange(value), null meaning the program's own choice.
function optionField(option, value, onchange) {
    const [label, hint] = WORDS[option.name]?.() ?? [option.name, both(option)];
    const choices = CHOICES[option.name]?.() ?? option.choices?.map(c => [c, c]);
    if (option.kind === "flag") return checkbox(label, !!value, onchange, hint);
    if (choices) {
        if (value && !choices.some(([key]) => key === value)) choices.push([value, value]);
        const control = select(choices, value ?? choices[0][0], { onchange: () => onchange(control.value) });
        return field(label, control, hint);
    }
    if (option.kind === "integer" || option.kind === "real")
        return field(label, numberInput(option, value, onchange), hint);
    const input = textInput(value ?? "", { placeholder: say("automatic", "自动") });
    input.addEventListener("input", () => onchange(input.value.trim() || null));
    return field(label, input, hint);
}

// A grid of settings; `values` is filled with what differs from the program's choice.
export function optionGrid(list, values, onchange) {
    return h(
        "div",
        { class: "settings-grid" },
        list.map(option =>
            optionField(option, values[option.name] ?? option.value, value => {
                if (value === null || value === option.value) delete values[option.name];
                else values[option.name] = value;
                onchange?.();
            }),
        ),
    );
}

// ---- drafts: a form half filled in survives a reload ----------------------------------------------------------------

export function draft(key, initial) {
    let kept = {};
    try {
        kept = JSON.parse(sessionStorage.getItem(`draft-${key}`)) ?? {};
    } catch {
        /* none */
    }
    const values = { ...initial, ...kept };
    return {
        values,
        keep: () => {
            try {
                sessionStorage.setItem(`draft-${key}`, JSON.stringify(values));
            } catch {
                /* full */
            }
        },
        forget: () => sessionStorage.removeItem(`draft-${key}`),
    };
}
