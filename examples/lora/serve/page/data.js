// Data sets: the list, and bringing in new ones.
import { h, fill, icon } from "./dom.js";
import { say, count, size, moment } from "./say.js";
import { upload, url } from "./api.js";
import { refresh, store, watch } from "./store.js";
import {
    actionButton,
    announce,
    card,
    empty,
    errorPlace,
    field,
    heading,
    segments,
    select,
    table,
    textArea,
    textInput,
    waiting,
} from "./parts.js";
import { freeName } from "./job.js";

const TYPES = ["jsonl", "json", "csv", "tsv", "txt"];
export const dataAddress = (name, part = "") => `#/data/${encodeURIComponent(name)}${part && `/${part}`}`;

// What pasted text looks like; the reader may say otherwise.
function guessType(text) {
    const start = text.trimStart();
    if (start.startsWith("[")) return "json";
    if (start.startsWith("{")) {
        try {
            JSON.parse(start);
            return start.trimEnd().includes("\n{") ? "jsonl" : "json";
        } catch {
            return "jsonl";
        }
    }
    const first = start.split("\n", 1)[0];
    return first.includes("\t") ? "tsv" : /[,，;|]/.test(first) && first.length < 200 ? "csv" : "txt";
}

const EXAMPLE = () =>
    say(
        "question,answer\nWhen do you open?,We open at nine every morning.\n" +
            "Where can I park?,There is a car park behind the house.",
        "问题,回答\n你们几点开门？,我们每天早上九点开门。\n哪里可以停车？,房子后面有停车场。",
    );

// ---- three ways in --------------------------------------------------------------------------------------------------

function pastePart(name, place) {
    const area = textArea("", { rows: 8, placeholder: EXAMPLE(), spellcheck: "false" });
    const type = select(
        TYPES.map(t => [t, t.toUpperCase()]),
        "csv",
    );
    const seen = h("p", { class: "hint" });
    let chosen = false;
    type.addEventListener("change", () => {
        chosen = true;
    });
    area.addEventListener("input", () => {
        const lines = area.value.split("\n").filter(line => line.trim()).length;
        if (!chosen) type.value = guessType(area.value);
        seen.textContent = lines
            ? say(
                  `${count(lines)} lines, looks like ${type.value.toUpperCase()}`,
                  `${count(lines)} 行，看起来是 ${type.value.toUpperCase()}`,
              )
            : "";
    });
    return [
        field(
            say("Your examples", "您的例子"),
            area,
            say(
                "From a table: copy the cells, the first line names the columns. JSON and JSON lines are fine too.",
                "可以从表格直接复制，第一行是列名；也可以粘贴 JSON 或 JSON Lines。",
            ),
        ),
        seen,
        field(say("Format", "格式"), type),
        actionButton(
            say("Save as a data set", "保存为数据集"),
            { kind: "primary", icon: "check" },
            async () => {
                if (!area.value.trim()) throw new Error(say("Paste some examples first.", "请先粘贴一些例子。"));
                await bringIn(name.value, area.value, type.value);
            },
            place,
        ),
    ];
}

function uploadPart(name, place) {
    const input = h("input", { type: "file", accept: ".json,.jsonl,.csv,.tsv,.txt", class: "unseen-input" });
    const label = h(
        "label",
        { class: "drop" },
        icon("upload"),
        h("strong", {}, say("Choose a file, or drop one here", "选择文件，或拖放到这里")),
        h("span", { class: "soft" }, "JSON, JSONL, CSV, TSV, TXT"),
        input,
    );
    const take = async file => {
        place.clear();
        try {
            const ending = file.name.toLowerCase().split(".").pop();
            if (!TYPES.includes(ending))
                throw new Error(
                    say(
                        `“.${ending}” is not a kind of file that can be read here. ` +
                            "Save your table as CSV and try again.",
                        `无法读取 “.${ending}” 文件。请把表格另存为 CSV 后再试。`,
                    ),
                );
            if (!name.touched)
                name.value = freeName(
                    file.name.replace(/\.[^.]+$/, ""),
                    store.state.datasets.map(d => d.name),
                );
            announce(say("Uploading", "正在上传"));
            await bringIn(name.value, file, ending);
        } catch (error) {
            place.show(error);
        }
        input.value = "";
    };
    input.addEventListener("change", () => input.files[0] && take(input.files[0]));
    for (const kind of ["dragover", "dragleave", "drop"])
        label.addEventListener(kind, event => {
            event.preventDefault();
            label.classList.toggle("over", kind === "dragover");
            if (kind === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
        });
    return [label];
}

function writePart(name, place) {
    const question = textArea("", { rows: 2 }),
        answer = textArea("", { rows: 3 });
    return [
        h(
            "p",
            {},
            say(
                "Write the first example here; more can be added afterwards.",
                "先在这里写第一个例子，之后可以继续添加。",
            ),
        ),
        field(say("Question or task", "问题或任务"), question),
        field(say("The answer you would like", "您想要的回答"), answer),
        actionButton(
            say("Save as a data set", "保存为数据集"),
            { kind: "primary", icon: "check" },
            async () => {
                if (!question.value.trim() || !answer.value.trim())
                    throw new Error(say("Fill in both boxes.", "请填写两个输入框。"));
                await bringIn(
                    name.value,
                    JSON.stringify({ instruction: question.value, input: "", output: answer.value }) + "\n",
                    "jsonl",
                );
            },
            place,
        ),
    ];
}

async function bringIn(name, body, type) {
    if (!name.trim()) throw new Error(say("Give the data set a name.", "请给数据集起个名字。"));
    await upload(`${url("api", "datasets", name.trim())}?type=${type}`, body, "application/octet-stream");
    await refresh();
    location.hash = dataAddress(name.trim(), "check");
}

function newSet() {
    const name = textInput(
        freeName(
            say("my-examples", "我的例子"),
            store.state.datasets.map(d => d.name),
        ),
        {
            maxLength: 64,
            oninput: () => {
                name.touched = true;
            },
        },
    );
    const place = errorPlace(),
        part = h("div", { class: "stack" });
    const parts = { paste: pastePart, upload: uploadPart, write: writePart };
    const choose = key => {
        place.clear();
        fill(part, parts[key](name, place));
    };
    choose("paste");
    return card(
        h("h2", {}, say("Add examples", "添加例子")),
        segments(
            say("How", "方式"),
            [
                ["paste", say("Paste", "粘贴")],
                ["upload", say("Upload", "上传")],
                ["write", say("Write", "手写")],
            ],
            "paste",
            choose,
            { hideLegend: true },
        ),
        field(say("Name", "名称"), name),
        part,
        place,
    );
}

// ---- the list -------------------------------------------------------------------------------------------------------

function list(datasets) {
    if (!datasets.length)
        return empty(
            "data",
            say("No examples yet", "还没有例子"),
            say(
                "A good start: 50 to 200 pairs of a question and the answer you would like, all in the tone " +
                    "you are after.",
                "好的开始：50 到 200 组问答，全部使用您想要的语气。",
            ),
        );
    return table(
        say("Data sets", "数据集"),
        [
            { label: say("Name", "名称"), main: true, cell: d => h("a", { href: dataAddress(d.name) }, d.name) },
            { label: say("Rows", "行数"), number: true, cell: d => count(d.rows) },
            { label: say("Size", "大小"), number: true, cell: d => size(d.bytes) },
            { label: say("Changed", "修改时间"), cell: d => moment(d.changed) },
            {
                label: say("Next", "下一步"),
                cell: d =>
                    h(
                        "div",
                        { class: "row tight" },
                        h("a", { href: dataAddress(d.name, "check") }, say("Check", "检查")),
                        h("a", { href: `#/train?data=${encodeURIComponent(d.name)}` }, say("Train", "训练")),
                    ),
            },
        ],
        datasets,
    );
}

export async function render(root, page) {
    if (page.path.length) {
        fill(root, waiting());
        return (await import("./dataset.js")).render(root, page);
    }
    const place = h("div", {});
    fill(
        root,
        heading(
            say("Data", "数据"),
            say(
                "Your examples: what the model is asked, and what it should answer.",
                "您的例子：问模型什么，以及它应该怎样回答。",
            ),
        ),
        place,
        newSet(),
    );
    watch(state => fill(place, list(state.datasets)), page.signal);
}
