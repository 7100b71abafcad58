// The blind test: which of two answers is better, without knowing who wrote which.
import { h, fill } from "./dom.js";
import { say, count } from "./say.js";
import { store } from "./store.js";
import {
    actionButton,
    card,
    empty,
    errorPlace,
    field,
    heading,
    linkButton,
    select,
    textInput,
    waiting,
} from "./parts.js";
import { draft } from "./options.js";
import { skillPicker } from "./skills.js";
import { freeName, jobPage, runsSoFar, startJob } from "./job.js";
import { judging } from "./judge.js";

function form(state, query) {
    const names = state.adapters.map(a => a.name),
        wanted = query.get("skill") ?? names.at(-1);
    const kept = draft("ab", { dataset: state.datasets.at(-1).name, count: 10 }),
        { values, keep } = kept;
    if (!state.datasets.some(d => d.name === values.dataset)) values.dataset = state.datasets.at(-1).name;
    let a = [],
        b = names.includes(wanted) ? [{ name: wanted, weight: 1 }] : [];
    const place = errorPlace();
    const data = select(
        state.datasets.map(d => [d.name, say(`${d.name} (${count(d.rows)} rows)`, `${d.name}（${count(d.rows)} 行）`)]),
        values.dataset,
        {
            onchange: () => {
                values.dataset = data.value;
                keep();
            },
        },
    );
    const number = textInput(String(values.count), {
        type: "number",
        min: 1,
        max: 500,
        class: "short",
        onchange: () => {
            values.count = Number(number.value);
            keep();
        },
    });
    return card(
        h("h2", {}, say("New blind test", "新的盲测")),
        h(
            "div",
            { class: "settings-grid" },
            field(
                say("Questions from", "问题来自"),
                data,
                say("Best are rows that were not in the training.", "最好用训练中没有出现过的数据。"),
            ),
            field(
                say("How many questions", "问题数量"),
                number,
                say("20 or more make the result firm.", "20 个以上结果更可靠。"),
            ),
        ),
        h(
            "div",
            { class: "two" },
            h(
                "div",
                { class: "stack tight" },
                h("h3", {}, say("The one", "一方")),
                skillPicker(
                    state,
                    a,
                    use => {
                        a = use;
                    },
                    { legend: say("The one", "一方") },
                ),
            ),
            h(
                "div",
                { class: "stack tight" },
                h("h3", {}, say("The other", "另一方")),
                skillPicker(
                    state,
                    b,
                    use => {
                        b = use;
                    },
                    { legend: say("The other", "另一方") },
                ),
            ),
        ),
        place,
        h(
            "div",
            {},
            actionButton(
                say("Prepare the answers", "准备回答"),
                { kind: "primary", icon: "play" },
                async () => {
                    const names_ = [a, b].map(use => use[0]?.name ?? "");
                    if (names_[0] === names_[1])
                        throw new Error(say("Choose two different ones to compare.", "请选择两个不同的对象。"));
                    const title = freeName(
                        names_.filter(Boolean).join("-"),
                        state.jobs.map(j => j.name),
                    );
                    await startJob("ab", title, {
                        dataset: values.dataset,
                        left: a,
                        right: b,
                        count: Number(number.value) || 10,
                        seed: Math.floor(Math.random() * 1e6),
                    });
                },
                place,
            ),
        ),
    );
}

export async function render(root, page) {
    fill(root, waiting());
    if (page.path.length)
        return jobPage(root, page.path[0], {
            signal: page.signal,
            back: { label: say("All blind tests", "全部盲测"), href: "#/ab" },
            show: (job, place) => {
                if (job.state === "done") judging(place, job, page.signal);
                else
                    fill(
                        place,
                        h(
                            "p",
                            { class: "soft" },
                            say(
                                "Both sides are answering. The test begins when all answers are there; you can " +
                                    "leave this page meanwhile.",
                                "双方正在回答。全部回答完成后即可开始盲测，您可以先离开此页面。",
                            ),
                        ),
                    );
            },
        });
    const { state } = store;
    const missing = !state.datasets.length
        ? ["#/data", say("Add examples", "添加例子")]
        : !state.adapters.length
          ? ["#/train", say("Train a skill", "训练技能")]
          : null;
    fill(
        root,
        heading(
            say("Blind test", "盲测"),
            say(
                "Two answers to each question, in random order and without names. You say which is better; at " +
                    "the end you learn whose they were.",
                "每个问题有两个回答，顺序随机、不显示来源。您来判断哪个更好，最后揭晓结果。",
            ),
        ),
        missing
            ? empty(
                  "ab",
                  say("Something to compare is missing", "还缺少比较的对象"),
                  say(
                      "A blind test needs a data set with questions, and a skill to compare with the model.",
                      "盲测需要一个带问题的数据集，以及一个用来与模型比较的技能。",
                  ),
                  linkButton(missing[1], missing[0], { kind: "primary" }),
              )
            : form(state, page.query),
        runsSoFar("ab", say("Blind tests so far", "盲测记录"), page.signal),
    );
}
