// The result of a comparison: the winner in a sentence, a table, bars.
import { h, fill } from "./dom.js";
import { say, both, count, decimal, duration, percent, size } from "./say.js";
import { card, folded, table } from "./parts.js";
import { bars } from "./chart.js";

const nameOf = row => (row.full ? say("whole model", "整个模型") : row.name);

// What each setting answers to the first held-out prompts.
function answers({ prompts = [], base, settings = [] }) {
    const lines = [
        [say("the model alone", "仅模型"), base?.answers],
        ...settings.map(s => [nameOf({ name: s.name, full: s.figures?.full }), s.runs?.[0]?.answers]),
    ].filter(([, list]) => list?.length);
    if (!prompts.length || !lines.length) return null;
    return folded(
        say("Answers of each setting", "各设置的回答"),
        prompts.map((prompt, i) =>
            h(
                "div",
                { class: "stack tight" },
                h("h3", { class: "prompt-plain", dir: "auto" }, prompt.prompt),
                table(
                    say("Answers", "回答"),
                    [
                        { label: say("Setting", "设置"), main: true, cell: ([name]) => name },
                        { label: say("Answer", "回答"), cell: ([, list]) => h("div", { dir: "auto" }, list[i] ?? "–") },
                    ],
                    [...lines, [say("you wrote", "您的答案"), { [i]: prompt.reference }]],
                ),
            ),
        ),
    );
}

export function showComparison(place, job) {
    const { result } = job,
        { rows } = result,
        best = rows.findIndex(row => row.name === result.winner);
    const sentences = [result.sentence, result.claim].filter(Boolean);
    const column = (label, key, show) =>
        rows.some(row => row[key] != null)
            ? [{ label, number: true, cell: row => (row[key] == null ? "–" : show(row[key])) }]
            : [];
    fill(
        place,
        card(
            h("h2", {}, say("The result", "结果")),
            sentences.map(text => h("p", { class: "sentence" }, both(text))),
            bars(
                rows.map((row, i) => ({ name: nameOf(row), value: row.eval_loss ?? 0, best: i === best })),
                {
                    label: say("Loss on rows kept out, lower is better", "留出数据的损失，越低越好"),
                    format: value => decimal(value, 3),
                },
            ),
            h(
                "p",
                { class: "soft" },
                say("Loss on rows kept out of the training: lower is better.", "未参与训练的数据上的损失：越低越好。"),
            ),
        ),
        table(
            say("All settings", "全部设置"),
            [
                { label: say("Setting", "设置"), main: true, cell: nameOf },
                {
                    label: say("Loss, held out", "留出损失"),
                    number: true,
                    cell: row => row.failure ?? decimal(row.eval_loss, 4),
                },
                ...column(say("Learnt numbers", "学习的参数"), "trainable_params", count),
                ...column(say("Share", "占比"), "trainable_share", value => percent(value, 2)),
                ...column(say("Memory", "内存"), "peak_memory_bytes", size),
                ...column(say("Time", "时间"), "seconds", duration),
                ...column(say("Size", "大小"), "bytes", size),
            ],
            rows,
            { rowProperties: (row, i) => (i === best ? { class: "winner" } : {}) },
        ),
        answers(result),
    );
}
