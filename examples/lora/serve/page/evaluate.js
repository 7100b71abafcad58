// Evaluation: scores in numbers, answers to read, and a checklist to tick.
import { h, fill } from "./dom.js";
import { say, count } from "./say.js";
import { store } from "./store.js";
import {
    actionButton,
    card,
    checkbox,
    chips,
    empty,
    errorPlace,
    field,
    heading,
    linkButton,
    select,
    textInput,
    waiting,
} from "./parts.js";
import { skillPicker, skillNames } from "./skills.js";
import { freeName, jobPage, runsSoFar, startJob } from "./job.js";
import { showEvaluation } from "./evaluation.js";

const METRICS = () => [
    ["loss", say("Loss, perplexity", "损失、困惑度")],
    ["bleu", "BLEU"],
    ["rouge", "ROUGE"],
    ["chrf", "chrF"],
    ["accuracy", say("Accuracy", "准确率")],
    ["f1", "F1"],
    ["distinct", say("Variety", "多样性")],
    ["repetition", say("Repetition", "重复")],
];
const expand = chosen => [...chosen].flatMap(key => (key === "loss" ? ["loss", "perplexity"] : [key]));

function form(state, query) {
    const names = state.adapters.map(a => a.name),
        wanted = query.get("skill") ?? names.at(-1);
    let use = names.includes(wanted) ? [{ name: wanted, weight: 1 }] : [],
        alone = true;
    const metrics = new Set(["loss", "bleu", "rouge"]),
        place = errorPlace();
    const data = select(
        state.datasets.map(d => [d.name, say(`${d.name} (${count(d.rows)} rows)`, `${d.name}（${count(d.rows)} 行）`)]),
        state.datasets.at(-1).name,
    );
    const longest = textInput("128", { type: "number", min: 1, max: state.model.context_length, class: "short" });
    const beside = checkbox(
        say("Also evaluate the model alone, to compare", "同时评测不带技能的模型，以便比较"),
        true,
        on => {
            alone = on;
        },
    );
    beside.hidden = !use.length;
    return card(
        h("h2", {}, say("New evaluation", "新的评测")),
        h(
            "div",
            { class: "settings-grid" },
            field(
                say("Examples", "例子"),
                data,
                say("Rows that were not in the training tell the truth.", "没有参与训练的数据才说明问题。"),
            ),
            field(say("Longest answer in tokens", "回答最长词元数"), longest),
        ),
        skillPicker(
            state,
            use,
            next => {
                use = next;
                beside.hidden = !next.length;
            },
            { several: true },
        ),
        beside,
        chips(say("What to measure", "测量什么"), METRICS(), metrics),
        place,
        h(
            "div",
            {},
            actionButton(
                say("Start evaluating", "开始评测"),
                { kind: "primary", icon: "play" },
                async () => {
                    const taken = state.jobs.map(j => j.name),
                        settings = {
                            dataset: data.value,
                            metrics: expand(metrics),
                            max_new_tokens: Number(longest.value) || 128,
                        };
                    if (!metrics.size)
                        throw new Error(say("Choose at least one thing to measure.", "请至少选择一项。"));
                    if (use.length && alone) settings.baseline = true;
                    await startJob(
                        "evaluate",
                        freeName(`${data.value}-${use.map(u => u.name).join("-") || say("alone", "仅模型")}`, taken),
                        { ...settings, adapters: use },
                    );
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
            back: { label: say("All evaluations", "全部评测"), href: "#/evaluate" },
            show: (job, place) => {
                if (job.result) showEvaluation(place, job);
                else
                    fill(
                        place,
                        h(
                            "p",
                            { class: "soft" },
                            `${job.settings.dataset} · ${skillNames(job.settings.adapters ?? [])}`,
                        ),
                    );
            },
        });
    const { state } = store;
    fill(
        root,
        heading(
            say("Evaluate", "评测"),
            say(
                "The model answers your examples and is measured against the answers you wrote.",
                "让模型回答您的例子，并与您写的答案比较打分。",
            ),
        ),
        state.datasets.length
            ? form(state, page.query)
            : empty(
                  "evaluate",
                  say("First, examples", "先准备例子"),
                  say(
                      "An evaluation needs a data set with questions and good answers.",
                      "评测需要带问题和标准答案的数据集。",
                  ),
                  linkButton(say("Add examples", "添加例子"), "#/data", { kind: "primary", icon: "plus" }),
              ),
        runsSoFar("evaluate", say("Evaluations so far", "评测记录"), page.signal),
    );
}
