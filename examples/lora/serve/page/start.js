// Start: what is here, and the next of the four steps.
import { h, fill, icon } from "./dom.js";
import { say, count, parameters, size } from "./say.js";
import { watch, isActive } from "./store.js";
import { card, figures, heading, linkButton } from "./parts.js";
import { jobLine } from "./job.js";

function steps(state) {
    const judged = state.jobs.some(job => ["evaluate", "ab", "compare"].includes(job.kind) && job.state === "done");
    return [
        {
            icon: "data",
            title: say("Bring examples", "准备例子"),
            done: state.datasets.length > 0,
            href: "#/data",
            action: say("Add examples", "添加例子"),
            text: say(
                "50 to 200 pairs of a question and the answer you would like. Paste them, upload a file, or " +
                    "write them here.",
                "准备 50 到 200 组“问题 + 您想要的回答”。可以粘贴、上传文件，或直接在这里写。",
            ),
        },
        {
            icon: "train",
            title: say("Train", "训练"),
            done: state.adapters.length > 0,
            href: "#/train",
            action: say("Start training", "开始训练"),
            text: say(
                "The model learns from your examples. What it learns becomes a small skill; the model itself " +
                    "stays as it is.",
                "模型从您的例子中学习，学到的内容保存为一个小小的“技能”，模型本身不变。",
            ),
        },
        {
            icon: "chat",
            title: say("Try and judge", "试用和评判"),
            done: judged,
            href: state.adapters.length ? "#/ab" : "#/chat",
            action: state.adapters.length
                ? say("Compare blindly", "做一次盲测")
                : say("Talk to the model", "和模型对话"),
            text: say(
                "Talk to it with and without the skill, then find out in a blind test whether it really got better.",
                "分别在使用和不使用技能时与它对话，再用盲测看看它是否真的变好了。",
            ),
        },
        {
            icon: "export",
            title: say("Share", "分享"),
            done: state.exports.length > 0,
            href: "#/export",
            action: say("Export", "导出"),
            text: say(
                "Download the skill, or put it into the model for good and take the whole away as a file.",
                "下载技能，或把它永久合并到模型中，作为一个文件带走。",
            ),
        },
    ];
}

function stepCard(step, number, next) {
    return h(
        "li",
        { class: `step${step.done ? " done" : ""}${next ? " next" : ""}` },
        h(
            "div",
            { class: "step-mark" },
            step.done ? icon("check") : number,
            step.done ? h("span", { class: "unseen" }, say("done", "已完成")) : null,
        ),
        h(
            "div",
            { class: "step-body" },
            h("h2", {}, step.title),
            h("p", {}, step.text),
            linkButton(step.action, step.href, { kind: next ? "primary" : "", icon: step.icon }),
        ),
    );
}

export function render(root, { signal }) {
    const body = h("div", { class: "stack" });
    fill(
        root,
        heading(
            say("Teach the model your way", "教模型学会您的方式"),
            say(
                "From a handful of examples to an assistant of your own, on this computer. Nothing leaves it.",
                "从几十个例子到您自己的助手，全部在这台电脑上完成，数据不会外传。",
            ),
        ),
        body,
    );
    watch(state => {
        const all = steps(state),
            next = all.findIndex(step => !step.done);
        const active = state.jobs.filter(isActive);
        fill(
            body,
            active.length ? card(h("h2", {}, say("At work now", "正在进行")), active.map(jobLine)) : null,
            h(
                "ol",
                { class: "steps" },
                all.map((step, i) => stepCard(step, i + 1, i === next)),
            ),
            card(
                h("h2", {}, say("The model", "模型")),
                h("p", { class: "model-name" }, state.model.name),
                figures([
                    [say("Family", "系列"), state.model.family],
                    [say("Parameters", "参数"), parameters(state.model.parameters)],
                    [say("Size", "大小"), size(state.model.bytes)],
                    [
                        say("Longest text", "最长文本"),
                        say(
                            `${count(state.model.context_length)} tokens`,
                            `${count(state.model.context_length)} 个词元`,
                        ),
                    ],
                    [say("Skills", "技能"), count(state.adapters.length)],
                    [say("Data sets", "数据集"), count(state.datasets.length)],
                ]),
            ),
        );
    }, signal);
}
