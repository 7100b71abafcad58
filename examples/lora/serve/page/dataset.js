// One data set: its rows, the check, splitting.
import { h, fill } from "./dom.js";
import { say, count } from "./say.js";
import { get, post, put, remove, url, saveFile } from "./api.js";
import { refresh, store } from "./store.js";
import {
    actionButton,
    announce,
    button,
    card,
    confirm,
    errorPlace,
    field,
    heading,
    linkButton,
    table,
    textInput,
    toast,
    waiting,
} from "./parts.js";
import { dataAddress } from "./data.js";
import { freeName } from "./job.js";
import { editRow, rowColumns } from "./dataset_row.js";
import { renderCheck } from "./dataset_check.js";

const PAGE = 50;

// ---- rows -----------------------------------------------------------------------------------------------------------

function pager(offset, total, go) {
    if (total <= PAGE) return null;
    const last = Math.floor((total - 1) / PAGE) * PAGE;
    const jump = textInput(String(offset + 1), {
        type: "number",
        min: 1,
        max: total,
        class: "short",
        "aria-label": say("Go to row", "跳到行"),
        onchange: () => {
            const row = Math.min(total, Math.max(1, Number(jump.value) || 1));
            go(Math.floor((row - 1) / PAGE) * PAGE);
        },
    });
    return h(
        "div",
        { class: "row pager", role: "group", "aria-label": say("Pages of rows", "翻页") },
        button(say("Earlier", "上一页"), {
            icon: "back",
            onclick: () => go(Math.max(0, offset - PAGE)),
            disabled: offset === 0,
        }),
        h("span", {}, say("Row", "第")),
        jump,
        h(
            "span",
            {},
            say(
                `to ${Math.min(total, offset + PAGE)} of ${count(total)}`,
                `到 ${Math.min(total, offset + PAGE)} 行，共 ${count(total)} 行`,
            ),
        ),
        button(say("Later", "下一页"), { icon: "next", onclick: () => go(offset + PAGE), disabled: offset >= last }),
    );
}

function rowsPart(place, name, { signal, query }) {
    const wanted = Number(query.get("row")) || 0;
    const load = async offset => {
        const data = await get(`${url("api", "datasets", name)}?offset=${offset}&limit=${PAGE}`, signal);
        const change = async work => {
            await work();
            await Promise.all([load(Math.min(offset, Math.max(0, data.rows - 1))), refresh()]);
        };
        const columns = rowColumns(data.items);
        const edit = index =>
            editRow(data.items[index - offset], say(`Row ${index + 1}`, `第 ${index + 1} 行`), row =>
                put(url("api", "datasets", name, "rows", String(index)), row),
            ).then(saved => saved && change(() => announce(say("Saved", "已保存"))));
        const take = async index => {
            const row = data.items[index - offset];
            await change(() => remove(url("api", "datasets", name, "rows", String(index))));
            toast(say(`Row ${index + 1} was deleted.`, `已删除第 ${index + 1} 行。`), {
                label: say("Put back at the end", "放回末尾"),
                run: () => change(() => post(url("api", "datasets", name, "rows"), { items: [row] })),
            });
        };
        fill(
            place,
            h(
                "div",
                { class: "row" },
                button(say("Add a row", "添加一行"), {
                    kind: "primary",
                    icon: "plus",
                    onclick: () =>
                        editRow(emptyLike(data), say("New row", "新的一行"), row =>
                            post(url("api", "datasets", name, "rows"), { items: [row] }),
                        )
                            .then(saved => saved && change(() => {}))
                            .then(() => load(Math.floor(data.rows / PAGE) * PAGE))
                            .catch(() => {}),
                }),
            ),
            table(
                say(`Rows of ${name}`, `${name} 的数据行`),
                [
                    { label: "#", number: true, main: true, cell: (row, i) => String(offset + i + 1) },
                    ...columns.map(column => ({
                        label: column.label,
                        cell: row => h("div", { class: "clamp", dir: "auto" }, column.text(row)),
                    })),
                    {
                        label: say("Change", "修改"),
                        cell: (row, i) =>
                            h(
                                "div",
                                { class: "row tight nowrap" },
                                button("", {
                                    kind: "quiet",
                                    icon: "edit",
                                    label: say(`Edit row ${offset + i + 1}`, `编辑第 ${offset + i + 1} 行`),
                                    onclick: () => edit(offset + i),
                                }),
                                actionButton(
                                    "",
                                    {
                                        kind: "quiet",
                                        icon: "trash",
                                        label: say(`Delete row ${offset + i + 1}`, `删除第 ${offset + i + 1} 行`),
                                    },
                                    () => take(offset + i),
                                ),
                            ),
                    },
                ],
                data.items,
                { rowProperties: (row, i) => (offset + i + 1 === wanted ? { class: "wanted" } : {}) },
            ),
            pager(offset, data.rows, to =>
                load(to).then(() => {
                    place.scrollIntoView({ block: "start" });
                    announce(say(`Rows from ${to + 1}`, `从第 ${to + 1} 行开始`));
                }),
            ),
        );
        place.querySelector(".wanted")?.scrollIntoView({ block: "center" });
    };
    return load(wanted ? Math.floor((wanted - 1) / PAGE) * PAGE : 0);
}

function emptyLike(data) {
    const shape = {
        chat: {
            messages: [
                { role: "user", content: "" },
                { role: "assistant", content: "" },
            ],
        },
        prompt: { prompt: "", completion: "" },
        classification: { text: "", label: "" },
        text: { text: "" },
        preference: { prompt: "", chosen: "", rejected: "" },
    };
    return shape[data.shape] ?? { instruction: "", input: "", output: "" };
}

// ---- splitting ------------------------------------------------------------------------------------------------------

function splitPart(place, name) {
    const share = textInput("20", { type: "number", min: 1, max: 50, class: "short" });
    const to = textInput(
            freeName(
                `${name}-held-out`,
                store.state.datasets.map(d => d.name),
            ),
            { maxLength: 64 },
        ),
        error = errorPlace();
    fill(
        place,
        card(
            h("h2", {}, say("Set some rows aside", "留出一部分")),
            h(
                "p",
                {},
                say(
                    "Rows that the model never sees in training show honestly what it has learnt. They move to " +
                        "a data set of their own.",
                    "训练时没见过的例子才能如实检验学习效果。这些行会移到一个新的数据集。",
                ),
            ),
            field(say("Share in per cent", "比例（%）"), share),
            field(say("Name of the new data set", "新数据集的名称"), to),
            error,
            actionButton(
                say("Set aside", "留出"),
                { kind: "primary" },
                async () => {
                    const part = Number(share.value) / 100;
                    if (!(part > 0 && part < 1))
                        throw new Error(say("Give a share between 1 and 50 per cent.", "请填写 1 到 50 之间的比例。"));
                    await post(url("api", "datasets", name, "split"), {
                        fraction: part,
                        to: to.value.trim(),
                        seed: 42,
                    });
                    await refresh();
                    toast(say(`Done. “${to.value}” holds the rows set aside.`, `完成。留出的行在“${to.value}”中。`));
                    location.hash = dataAddress(to.value.trim());
                },
                error,
            ),
        ),
    );
}

// ---- the page -------------------------------------------------------------------------------------------------------

export async function render(root, page) {
    const [name, part = "rows"] = page.path,
        place = h("div", { class: "stack" }),
        error = errorPlace();
    const tab = (key, label) =>
        h(
            "a",
            { href: dataAddress(name, key === "rows" ? "" : key), "aria-current": key === part ? "page" : null },
            label,
        );
    fill(
        root,
        linkButton(say("All data", "全部数据"), "#/data", { kind: "quiet back", icon: "back" }),
        heading(
            name,
            null,
            linkButton(say("Train with it", "用它训练"), `#/train?data=${encodeURIComponent(name)}`, {
                kind: "primary",
                icon: "train",
            }),
            actionButton(
                say("Download", "下载"),
                { icon: "export" },
                () => saveFile(url("api", "datasets", name, "download"), `${name}.jsonl`),
                error,
            ),
            actionButton(
                say("Delete", "删除"),
                { kind: "quiet", icon: "trash" },
                async () => {
                    if (
                        !(await confirm(
                            say(`Delete “${name}”?`, `删除“${name}”？`),
                            say("All its rows go. This cannot be undone.", "所有数据行都会被删除，且无法恢复。"),
                            say("Delete", "删除"),
                            { danger: true },
                        ))
                    )
                        return;
                    await remove(url("api", "datasets", name));
                    await refresh();
                    location.hash = "#/data";
                },
                error,
            ),
        ),
        error,
        h(
            "nav",
            { class: "tabs", "aria-label": say("Parts of the data set", "数据集的各部分") },
            tab("rows", say("Rows", "数据行")),
            tab("check", say("Check", "检查")),
            tab("split", say("Set aside", "留出")),
        ),
        place,
    );
    fill(place, waiting());
    if (part === "check") await renderCheck(place, name, page);
    else if (part === "split") splitPart(place, name);
    else await rowsPart(place, name, page);
}
