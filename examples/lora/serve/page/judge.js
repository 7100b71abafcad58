// Judging a blind test: question after question, by mouse, touch or keys; then the result.
import { h, fill } from "./dom.js";
import { say, both, count, decimal, percent, recall, remember } from "./say.js";
import { get, post, url, saveFile } from "./api.js";
import {
    actionButton,
    announce,
    button,
    card,
    errorPlace,
    field,
    figures,
    progress,
    table,
    textInput,
    toast,
    waiting,
} from "./parts.js";

const KEYS = { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", "=": "tie", 0: "tie" };

function askName(place, begin) {
    const name = textInput(recall("judge") ?? say("me", "我"), { maxLength: 64 }),
        error = errorPlace();
    fill(
        place,
        card(
            h("h2", {}, say("Who judges?", "谁来评判？")),
            h(
                "p",
                {},
                say(
                    "Each judge has a list of their own, so several people can judge the same answers.",
                    "每位评委有自己的记录，可以多人评判同一批回答。",
                ),
            ),
            h(
                "form",
                {
                    class: "stack",
                    onsubmit: event => {
                        event.preventDefault();
                        if (!name.value.trim()) return error.show(new Error(say("Write a name.", "请填写名字。")));
                        remember("judge", name.value.trim());
                        begin(name.value.trim());
                    },
                },
                field(say("Your name", "您的名字"), name),
                error,
                h("div", {}, h("button", { class: "button primary" }, say("Begin", "开始"))),
            ),
        ),
    );
}

// ---- one question after another -------------------------------------------------------------------------------------

function desk(job, judge, signal, finished) {
    const path = (...words) => url("api", "ab", job.id, ...words);
    const title = h("h2", { tabindex: "-1" }),
        bar = progress(0, say("Questions judged", "已评判的问题")),
        prompt = h("div", {
            class: "prompt-text",
            dir: "auto",
            tabindex: "0",
            role: "region",
            "aria-label": say("Question", "问题"),
        });
    const left = h("div", { class: "answer", dir: "auto" }),
        right = h("div", { class: "answer", dir: "auto" }),
        error = errorPlace();
    let item = null,
        busy = false,
        done = 0;

    const show = next => {
        item = next.item;
        done = next.done;
        bar.set(next.total ? next.done / next.total : 0);
        if (!item) return finished();
        title.textContent = say(
            `Question ${next.done + 1} of ${next.total}`,
            `第 ${next.done + 1} 个问题，共 ${next.total} 个`,
        );
        prompt.textContent = item.prompt;
        left.textContent = item.left;
        right.textContent = item.right;
        undo.disabled = next.done === 0;
        announce(
            say(
                `${title.textContent}. ${item.prompt} Left: ${item.left} Right: ${item.right}`,
                `${title.textContent}。${item.prompt} 左：${item.left} 右：${item.right}`,
            ),
        );
    };
    const next = async () => show(await get(`${path("next")}?judge=${encodeURIComponent(judge)}`, signal));
    const guarded = async work => {
        if (busy) return;
        busy = true;
        error.clear();
        try {
            await work();
            await next();
        } catch (problem) {
            error.show(problem);
        }
        busy = false;
    };
    const vote = choice => item && guarded(() => post(path("verdicts"), { judge, id: item.id, choice }));
    const back = () => guarded(() => post(path("undo"), { judge }));
    const undo = button(say("Take the last one back (U)", "撤回上一个（U）"), {
        icon: "undo",
        kind: "quiet",
        onclick: back,
        "aria-keyshortcuts": "u",
    });
    const choice = (text, key, name, kind) =>
        h(
            "button",
            { type: "button", class: `button ${kind}`, "aria-keyshortcuts": key, onclick: () => vote(name) },
            h("span", {}, text),
            h("kbd", {}, key),
        );

    document.addEventListener(
        "keydown",
        event => {
            if (
                event.repeat ||
                event.ctrlKey ||
                event.metaKey ||
                event.altKey ||
                !whole.isConnected ||
                document.querySelector("dialog[open]") ||
                event.target.closest("input, textarea, select")
            )
                return;
            if (KEYS[event.key]) vote(KEYS[event.key]);
            else if (event.key.toLowerCase() === "u" && done > 0) back();
            else return;
            event.preventDefault();
        },
        { signal },
    );
    const whole = h(
        "div",
        { class: "stack" },
        h("div", { class: "row" }, h("div", { class: "grow" }, title), h("span", { class: "soft" }, judge)),
        bar,
        prompt,
        h(
            "div",
            { class: "judge" },
            h(
                "section",
                { class: "side", "aria-label": say("Answer on the left", "左边的回答") },
                left,
                choice(say("Left is better", "左边更好"), "1", "left", ""),
            ),
            h(
                "section",
                { class: "side", "aria-label": say("Answer on the right", "右边的回答") },
                right,
                choice(say("Right is better", "右边更好"), "2", "right", ""),
            ),
        ),
        h("div", { class: "row center" }, choice(say("Equally good", "一样好"), "=", "tie", ""), undo),
        error,
    );
    return { whole, next };
}

// ---- the result -----------------------------------------------------------------------------------------------------

function shareBar(result) {
    const parts = [
        [result.a.name, result.a.wins, "fill-1"],
        [say("equal", "一样好"), result.ties, "fill-3"],
        [result.b.name, result.b.wins, "fill-2"],
    ];
    return [
        h(
            "div",
            { class: "share-bar", role: "img", "aria-label": parts.map(([name, n]) => `${name}: ${n}`).join(", ") },
            parts
                .filter(([, n]) => n)
                .map(([, n, fillClass]) => h("span", { class: fillClass, style: { flex: String(n) } })),
        ),
        h(
            "ul",
            { class: "plan-key" },
            parts.map(([name, n, fillClass]) =>
                h("li", {}, h("span", { class: `swatch ${fillClass}` }), `${name}: ${count(n)}`),
            ),
        ),
    ];
}

async function showResult(place, job, judge, signal, again) {
    const path = (...words) => url("api", "ab", job.id, ...words),
        error = errorPlace();
    const result = await get(path("result"), signal);
    const file = h("input", {
        type: "file",
        accept: ".json",
        class: "unseen-input",
        onchange: async () => {
            error.clear();
            try {
                let content;
                try {
                    content = JSON.parse(await file.files[0].text());
                } catch {
                    throw new Error(say("This is not a judge's file.", "这不是评委文件。"));
                }
                await post(path("judges"), content);
                toast(say("The other judge's verdicts are in.", "已加入另一位评委的结果。"));
                await showResult(place, job, judge, signal, again);
            } catch (problem) {
                error.show(problem);
            }
        },
    });
    fill(
        place,
        card(
            h("h2", { tabindex: "-1" }, say("The result", "结果")),
            h("p", { class: "sentence" }, both(result.sentence)),
            shareBar(result),
            figures([
                [say("Chance of such a result by luck alone", "纯属巧合的概率"), decimal(result.p_value, 3)],
                result.interval
                    ? [
                          say(`How often ${result.b.name} wins (95 %)`, `${result.b.name} 的胜率（95% 区间）`),
                          `${percent(result.interval[0])} – ${percent(result.interval[1])}`,
                      ]
                    : null,
            ]),
            h(
                "p",
                { class: "soft" },
                say(
                    "Below 0.05, luck is an unlikely explanation. With few questions only a clear lead counts.",
                    "小于 0.05 时，不太可能只是运气。问题较少时，只有明显领先才可信。",
                ),
            ),
        ),
        card(
            h("h2", {}, say("Judges", "评委")),
            table(
                say("Judges", "评委"),
                [
                    { label: say("Name", "名字"), main: true, cell: j => j.name },
                    { label: say("Verdicts", "评判数"), number: true, cell: j => count(j.count) },
                    {
                        label: say("File", "文件"),
                        cell: j =>
                            actionButton(
                                say("Download", "下载"),
                                { kind: "small", icon: "export" },
                                () => saveFile(path("judges", j.name), `${job.name}-${j.name}.json`),
                                error,
                            ),
                    },
                ],
                result.judges,
            ),
            h(
                "div",
                { class: "row" },
                button(say("Judge as someone else", "换一位评委"), { onclick: () => again(null) }),
                button(say("Take the last one back", "撤回上一个"), {
                    kind: "quiet",
                    icon: "undo",
                    onclick: async () => {
                        await post(path("undo"), { judge });
                        again(judge);
                    },
                }),
                h(
                    "label",
                    { class: "button file-button" },
                    h("span", {}, say("Add another judge's file", "加入其他评委的文件")),
                    file,
                ),
            ),
            error,
        ),
    );
    place.querySelector("h2").focus();
    announce(both(result.sentence));
}

// Everything for a prepared test, below its heading.
export function judging(place, job, signal) {
    const begin = async judge => {
        fill(place, waiting());
        remember(`judging-${job.id}`, judge); // a reload goes on where it was
        if (!judge) return askName(place, begin);
        const { whole, next } = desk(job, judge, signal, () =>
            showResult(place, job, judge, signal, begin).catch(problem => fill(place, errorShown(problem))),
        );
        fill(place, whole);
        await next().catch(problem => whole.append(errorShown(problem)));
    };
    begin(recall(`judging-${job.id}`));
}

function errorShown(problem) {
    const place = errorPlace();
    place.show(problem);
    return place;
}
