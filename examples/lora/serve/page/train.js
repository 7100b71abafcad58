// Training: the form, with the plan of memory before the start, and the runs so far.
import { h, fill } from "./dom.js";
import { say, count, duration, size } from "./say.js";
import { post } from "./api.js";
import { store } from "./store.js";
import {
    actionButton,
    card,
    empty,
    errorPlace,
    field,
    folded,
    heading,
    linkButton,
    notice,
    select,
    textInput,
    waiting,
} from "./parts.js";
import { draft, isAutomatic, optionGrid, options } from "./options.js";
import { freeName, runsSoFar, startJob } from "./job.js";

// Settings that have a place of their own on the page, or none.
const ELSEWHERE = new Set([
    "data",
    "output",
    "validation",
    "mix",
    "resume",
    "log",
    "force",
    "full",
    "initialize",
    "init-adapter",
    "save-dtype",
    "keep",
]);
const HOLD_OUT = "0.1";

// ---- the plan -------------------------------------------------------------------------------------------------------

function planView(plan) {
    const parts = [
        [say("the model", "模型"), plan.weights ?? 0],
        [say("learning", "学习状态"), (plan.adapter ?? 0) + (plan.gradients ?? 0) + (plan.optimizer ?? 0)],
        [say("working space", "计算空间"), (plan.activations ?? 0) + (plan.workspace ?? 0)],
        [say("other", "其他"), plan.other ?? 0],
    ];
    const whole = Math.max(plan.total, 1);
    return [
        notice(
            plan.fits ? "good" : "bad",
            h("strong", {}, plan.fits ? say("It fits.", "内存够用。") : say("It does not fit.", "内存不够。")),
            " ",
            say(
                `The run needs ${size(plan.total)} of memory; ${size(plan.available)} are free.`,
                `这次训练需要 ${size(plan.total)} 内存，可用 ${size(plan.available)}。`,
            ),
            plan.fits
                ? null
                : " " +
                  say(
                      "Try fewer examples at a time, a shorter longest text, or a smaller model.",
                      "可以减少每步例子数、缩短最长文本，或换一个更小的模型。",
                  ),
        ),
        h(
            "div",
            {
                class: "plan-bar",
                role: "img",
                "aria-label": parts.map(([name, bytes]) => `${name} ${size(bytes)}`).join(", "),
            },
            parts.map(([, bytes], i) =>
                h("span", { class: `fill-${i + 1}`, style: { width: `${(bytes / whole) * 100}%` } }),
            ),
        ),
        h(
            "ul",
            { class: "plan-key" },
            parts.map(([name, bytes], i) =>
                h("li", {}, h("span", { class: `swatch fill-${i + 1}` }), `${name} ${size(bytes)}`),
            ),
        ),
        h(
            "p",
            { class: "soft" },
            [
                say(`${count(plan.steps)} steps`, `${count(plan.steps)} 步`),
                say(
                    `${count(plan.trainable_params)} numbers are learnt`,
                    `学习 ${count(plan.trainable_params)} 个参数`,
                ),
                plan.seconds ? say(`about ${duration(plan.seconds)}`, `大约 ${duration(plan.seconds)}`) : null,
            ]
                .filter(Boolean)
                .join(" · "),
        ),
    ];
}

// Asks for the plan a moment after the last change; only the newest answer counts.
function planner(place, settings, signal) {
    let timer = 0,
        asked = 0;
    return () => {
        clearTimeout(timer);
        timer = setTimeout(async () => {
            const mine = ++asked;
            try {
                const plan = await post("/api/plan", settings(), signal);
                if (mine === asked) fill(place, planView(plan));
            } catch (error) {
                if (mine === asked && error.name !== "AbortError")
                    fill(place, notice(error.gone ? "warn" : "bad", error.message));
            }
        }, 400);
    };
}

// ---- the form -------------------------------------------------------------------------------------------------------

// What the reader saw is what runs: the basic settings are sent whether changed or not.
function jobSettings(values, basic) {
    const validation =
        values.validation === "none"
            ? null
            : Number.isNaN(Number(values.validation))
              ? values.validation
              : Number(values.validation);
    const seen = Object.fromEntries(basic.filter(o => !isAutomatic(o.value)).map(o => [o.name, o.value]));
    return {
        ...seen,
        ...values.options,
        dataset: values.dataset,
        validation,
        adapter: values.adapter.trim(),
        ...(values.mix ? { mix: [{ dataset: values.mix, fraction: (Number(values.mixShare) || 10) / 100 }] } : {}),
    };
}

function form(list, state, query, signal) {
    const sets = state.datasets,
        names = state.adapters.map(a => a.name);
    const fromLink = query.get("data");
    const kept = draft("train", {
            dataset: "",
            validation: HOLD_OUT,
            adapter: "",
            mix: "",
            mixShare: "10",
            options: {},
        }),
        { values } = kept;
    if (fromLink && sets.some(d => d.name === fromLink)) values.dataset = fromLink;
    if (!sets.some(d => d.name === values.dataset)) values.dataset = sets[0].name;
    if (!values.adapter || names.includes(values.adapter)) values.adapter = freeName(values.dataset, names);

    const basic = list.filter(o => o.basic && !ELSEWHERE.has(o.name)),
        rest = list.filter(o => !o.basic && !ELSEWHERE.has(o.name));
    const plan = h("div", { class: "stack tight", "aria-live": "polite" }),
        place = errorPlace();
    const ask = planner(plan, () => jobSettings(values, basic), signal);
    const changed = () => {
        kept.keep();
        ask();
    };
    const bind = (control, key) => {
        control.addEventListener("input", () => {
            values[key] = control.value;
            changed();
        });
        return control;
    };
    const others = () => sets.filter(d => d.name !== values.dataset).map(d => [d.name, d.name]);

    const name = bind(textInput(values.adapter, { maxLength: 64 }), "adapter");
    const data = bind(
        select(
            sets.map(d => [d.name, say(`${d.name} (${count(d.rows)} rows)`, `${d.name}（${count(d.rows)} 行）`)]),
            values.dataset,
        ),
        "dataset",
    );
    const validation = bind(
        select(
            [
                [HOLD_OUT, say("10 % of the examples (good)", "10% 的例子（推荐）")],
                ["0.2", say("20 % of the examples", "20% 的例子")],
                ["none", say("nothing", "不留出")],
                ...others().map(([key]) => [key, say(`the data set ${key}`, `数据集 ${key}`)]),
            ],
            values.validation,
        ),
        "validation",
    );
    const mix = bind(select([["", say("nothing", "不混入")], ...others()], values.mix), "mix");
    const mixShare = bind(textInput(values.mixShare, { type: "number", min: 1, max: 90, class: "short" }), "mixShare");

    ask();
    return h(
        "div",
        { class: "stack" },
        card(
            h("h2", {}, say("1. What to learn", "1. 学什么")),
            h(
                "div",
                { class: "settings-grid" },
                field(say("Examples", "例子"), data),
                field(
                    say("Name of the skill", "技能名称"),
                    name,
                    say("Letters, digits, - and _.", "可用文字、数字、- 和 _。"),
                ),
                field(
                    say("Kept back for an honest check", "留出多少用于检验"),
                    validation,
                    say(
                        "Rows that are not learnt show whether it understands or only repeats.",
                        "没学过的例子能看出它是理解了还是在背诵。",
                    ),
                ),
            ),
        ),
        card(
            h("h2", {}, say("2. How to learn", "2. 怎么学")),
            h(
                "p",
                { class: "soft" },
                say(
                    "The values are those of the guide. You can start without touching them.",
                    "这些是教程推荐的数值，不改动也可以直接开始。",
                ),
            ),
            optionGrid(basic, values.options, changed),
            folded(
                say("Against forgetting: mix in general examples", "防止遗忘：混入通用例子"),
                h(
                    "div",
                    { class: "settings-grid" },
                    field(
                        say("General data set", "通用数据集"),
                        mix,
                        say(
                            "So that it keeps what it could do before. The end of the run shows whether it did.",
                            "让它保留原有的能力。训练结束时会显示是否保住了。",
                        ),
                    ),
                    field(say("Share in per cent", "占比（%）"), mixShare),
                ),
            ),
            folded(
                say(`All other settings (${rest.length})`, `其他全部设置（${rest.length} 项）`),
                optionGrid(rest, values.options, changed),
            ),
        ),
        card(
            h("h2", {}, say("3. Does it fit?", "3. 内存够吗？")),
            plan,
            place,
            h(
                "div",
                { class: "row" },
                actionButton(
                    say("Start training", "开始训练"),
                    { kind: "primary", icon: "play" },
                    async () => {
                        if (!values.adapter.trim())
                            throw new Error(say("Give the skill a name.", "请给技能起个名字。"));
                        await startJob("train", values.adapter.trim(), jobSettings(values, basic));
                        kept.forget();
                    },
                    place,
                ),
            ),
        ),
    );
}

export async function render(root, page) {
    fill(root, waiting());
    if (page.path.length) return (await import("./training.js")).render(root, page);
    const list = await options("train");
    fill(
        root,
        heading(
            say("Train", "训练"),
            say(
                "The model reads your examples a few times and keeps what it learnt as a skill (a LoRA adapter).",
                "模型把您的例子读几遍，把学到的内容保存为一个技能（LoRA 适配器）。",
            ),
        ),
        store.state.datasets.length
            ? form(list, store.state, page.query, page.signal)
            : empty(
                  "data",
                  say("First, examples", "先准备例子"),
                  say(
                      "Training needs a data set: pairs of a question and the answer you would like.",
                      "训练需要数据集：一组组“问题 + 您想要的回答”。",
                  ),
                  linkButton(say("Add examples", "添加例子"), "#/data", { kind: "primary", icon: "plus" }),
              ),
        runsSoFar("train", say("Runs so far", "训练记录"), page.signal),
    );
}
