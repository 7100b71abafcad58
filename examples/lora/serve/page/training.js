// One training run: the curve as it grows, figures, and at the end what it means and what to do next.
import { h, fill } from "./dom.js";
import { say, both, count, decimal, duration, size } from "./say.js";
import { url, saveFile } from "./api.js";
import { actionButton, card, figures, folded, linkButton, notice, waiting } from "./parts.js";
import { lineChart } from "./chart.js";
import { jobPage } from "./job.js";

function sentence(steps) {
    const last = steps.at(-1),
        first = steps[0];
    return say(
        `Loss from ${decimal(first.loss)} to ${decimal(last.loss)} after ${last.step} steps`,
        `${last.step} 步后，损失从 ${decimal(first.loss)} 变为 ${decimal(last.loss)}`,
    );
}

function secondsLeft(step) {
    const rate = step.seconds && step.step ? step.seconds / step.step : null;
    return rate ? rate * (step.total_steps - step.step) : null;
}

function stepFigures(steps) {
    const last = steps.at(-1),
        held = steps.findLast(s => Number.isFinite(s.eval_loss));
    return figures([
        [say("Step", "步"), `${count(last.step)} / ${count(last.total_steps)}`],
        [say("Time through", "遍数"), decimal(last.epoch, 1)],
        [say("Loss", "损失"), decimal(last.loss, 3)],
        held ? [say("Loss, held out", "留出损失"), decimal(held.eval_loss, 3)] : null,
        [say("Tokens a second", "每秒词元"), count(Math.round(last.tokens_per_second || 0))],
        last.memory ? [say("Memory", "内存"), size(last.memory)] : null,
        last.step < last.total_steps && secondsLeft(last)
            ? [say("Time left", "剩余时间"), duration(secondsLeft(last))]
            : null,
    ]);
}

function outcome(job) {
    const { diagnosis, general_loss_before: before, general_loss_after: after } = job.result ?? {},
        encoded = encodeURIComponent(job.settings.adapter);
    return card(
        h("h2", {}, say("How it went", "结果如何")),
        diagnosis ? h("p", { class: "sentence" }, both(diagnosis)) : null,
        Number.isFinite(before) && Number.isFinite(after)
            ? h(
                  "p",
                  {},
                  say(
                      "What it could do before: loss on general examples " +
                          `${decimal(before)} before, ${decimal(after)} after.`,
                      `原有的能力：通用例子的损失，训练前 ${decimal(before)}，训练后 ${decimal(after)}。`,
                  ),
              )
            : null,
        h(
            "div",
            { class: "row" },
            linkButton(say("Talk to it", "和它对话"), `#/chat?skill=${encoded}`, { kind: "primary", icon: "chat" }),
            linkButton(say("Blind test", "盲测"), `#/ab?skill=${encoded}`, { icon: "ab" }),
            linkButton(say("Evaluate", "评测"), `#/evaluate?skill=${encoded}`, { icon: "evaluate" }),
        ),
    );
}

export async function render(root, { path: [id], signal }) {
    fill(root, waiting());
    const chart = lineChart({ xLabel: say("step", "步") }),
        numbers = h("div", {}),
        end = h("div", { class: "stack" }),
        quiet = h("p", { class: "soft" }, say("The curve appears with the first step.", "第一步完成后会显示曲线。"));
    let steps = [],
        due = false;
    const paint = () => {
        due = false;
        quiet.hidden = steps.length > 0;
        if (!steps.length) return;
        chart.update(
            [
                { name: say("loss on your examples", "训练例子的损失"), points: steps.map(s => [s.step, s.loss]) },
                {
                    name: say("loss on held-out examples", "留出例子的损失"),
                    points: steps.filter(s => Number.isFinite(s.eval_loss)).map(s => [s.step, s.eval_loss]),
                    dots: true,
                },
            ],
            sentence(steps),
        );
        fill(numbers, stepFigures(steps));
    };
    const queue = () => {
        if (!due) {
            due = true;
            requestAnimationFrame(paint);
        }
    };
    await jobPage(root, id, {
        signal,
        back: { label: say("All training", "全部训练"), href: "#/train" },
        on: {
            restart: () => {
                steps = [];
            },
            step: step => {
                if (!Number.isFinite(step.loss)) return; // the last line of a log is no step
                steps.push(step);
                queue();
            },
        },
        show: (job, place) => {
            if (!place.childElementCount)
                fill(
                    place,
                    end,
                    card(h("h2", {}, say("The loss: lower is better", "损失：越低越好")), numbers, quiet, chart),
                    folded(
                        say("Settings of this run", "本次训练的设置"),
                        h(
                            "dl",
                            { class: "figures" },
                            Object.entries(job.settings).map(([key, value]) =>
                                h(
                                    "div",
                                    {},
                                    h("dt", {}, key),
                                    h("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value)),
                                ),
                            ),
                        ),
                        h(
                            "div",
                            {},
                            actionButton(say("Download the log", "下载日志"), { icon: "export" }, () =>
                                saveFile(url("api", "jobs", id, "log"), `${job.name}.log.jsonl`),
                            ),
                        ),
                    ),
                );
            fill(
                end,
                job.state === "done"
                    ? outcome(job)
                    : job.state === "stopped"
                      ? notice(
                            "info",
                            say(
                                "Stopped; what was learnt so far is kept. “Go on” continues exactly here.",
                                "已停止，目前学到的内容已保存。点“继续”会从这里接着训练。",
                            ),
                        )
                      : null,
            );
        },
    });
}
