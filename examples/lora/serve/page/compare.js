// Comparison: one training for each setting, side by side, and which is best.
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
    folded,
    heading,
    linkButton,
    select,
    textInput,
    waiting,
} from "./parts.js";
import { freeName, jobPage, runsSoFar, startJob } from "./job.js";
import { showComparison } from "./comparison.js";

function form(state, query) {
    const sets = state.datasets,
        first = sets.some(d => d.name === query.get("data")) ? query.get("data") : sets[0].name;
    const ranks = new Set(["4", "8", "16"]),
        place = errorPlace();
    let full = false;
    const data = select(
        sets.map(d => [d.name, say(`${d.name} (${count(d.rows)} rows)`, `${d.name}（${count(d.rows)} 行）`)]),
        first,
    );
    const validation = select(
        [
            ["0.2", say("20 % of the examples", "20% 的例子")],
            ["0.1", say("10 % of the examples", "10% 的例子")],
            ...sets.map(d => [d.name, say(`the data set ${d.name}`, `数据集 ${d.name}`)]),
        ],
        "0.2",
    );
    const epochs = textInput("3", { type: "number", min: 0.1, step: "any", class: "short" }),
        rates = textInput("", { placeholder: say("automatic", "自动") });
    return card(
        h("h2", {}, say("New comparison", "新的对比")),
        h(
            "div",
            { class: "settings-grid" },
            field(say("Examples", "例子"), data),
            field(
                say("Judged by", "用什么评判"),
                validation,
                say("Rows that are kept out of the training.", "不参与训练的数据。"),
            ),
            field(say("Times through the examples", "学习遍数"), epochs),
        ),
        chips(
            say("Ranks to try", "要比较的秩"),
            ["2", "4", "8", "16", "32"].map(r => [r, r]),
            ranks,
        ),
        checkbox(
            say("Also train the whole model, to compare", "同时训练整个模型作对照"),
            false,
            on => {
                full = on;
            },
            say(
                "Answers how close a small skill comes to full fine-tuning. Needs much more memory and time.",
                "看看小小的技能与全量微调差多少。需要更多内存和时间。",
            ),
        ),
        folded(say("More", "更多"), field(say("Learning rates, with commas between", "学习率，用逗号分隔"), rates)),
        place,
        h(
            "div",
            {},
            actionButton(
                say("Start comparing", "开始对比"),
                { kind: "primary", icon: "play" },
                async () => {
                    const list = rates.value
                        .split(/[,，\s]+/)
                        .filter(Boolean)
                        .map(Number);
                    if (!ranks.size) throw new Error(say("Choose at least one rank.", "请至少选择一个秩。"));
                    if (list.some(r => !(r > 0)))
                        throw new Error(
                            say("A learning rate is a number such as 0.0002.", "学习率应为数字，例如 0.0002。"),
                        );
                    const share = Number(validation.value);
                    await startJob(
                        "compare",
                        freeName(
                            `${data.value}-${say("ranks", "对比")}`,
                            state.jobs.map(j => j.name),
                        ),
                        {
                            dataset: data.value,
                            validation: Number.isNaN(share) ? validation.value : share,
                            rank: [...ranks].map(Number).sort((a, b) => a - b),
                            epochs: Number(epochs.value) || 3,
                            full,
                            ...(list.length ? { learning_rate: list } : {}),
                        },
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
            back: { label: say("All comparisons", "全部对比"), href: "#/compare" },
            show: (job, place) =>
                job.result
                    ? showComparison(place, job)
                    : fill(
                          place,
                          h(
                              "p",
                              { class: "soft" },
                              say(
                                  "One training after another. You can leave this page; it goes on.",
                                  "正在逐个训练，您可以离开此页面，它会继续进行。",
                              ),
                          ),
                      ),
        });
    const { state } = store;
    fill(
        root,
        heading(
            say("Compare", "对比"),
            say(
                "Which size of skill is enough? The same training is run with several, and judged on rows it " +
                    "never saw.",
                "多大的技能就够了？用不同设置各训练一次，再用没见过的数据评判。",
            ),
        ),
        state.datasets.length
            ? form(state, page.query)
            : empty(
                  "compare",
                  say("First, examples", "先准备例子"),
                  say("A comparison trains several skills on one data set.", "对比会用同一数据集训练多个技能。"),
                  linkButton(say("Add examples", "添加例子"), "#/data", { kind: "primary", icon: "plus" }),
              ),
        runsSoFar("compare", say("Comparisons so far", "对比记录"), page.signal),
    );
}
