// Export: skills as files, and skills merged into the model for good.
import { h, fill } from "./dom.js";
import { say, moment, size } from "./say.js";
import { post, remove, upload, url, saveFile } from "./api.js";
import { refresh, store, watch } from "./store.js";
import {
    actionButton,
    card,
    confirm,
    errorPlace,
    field,
    heading,
    linkButton,
    segments,
    select,
    table,
    textInput,
    toast,
    waiting,
} from "./parts.js";
import { skillPicker } from "./skills.js";
import { freeName, jobLine, jobPage, newest, startJob } from "./job.js";

// ---- skills ---------------------------------------------------------------------------------------------------------

function skillTable(adapters, error) {
    const act = (text, options, work) => actionButton(text, { kind: "small", ...options }, work, error);
    return table(
        say("Skills", "技能"),
        [
            { label: say("Name", "名称"), main: true, cell: a => a.name },
            { label: say("Rank / alpha", "秩 / alpha"), cell: a => `${a.rank} / ${a.alpha}` },
            { label: say("Size", "大小"), number: true, cell: a => size(a.bytes) },
            { label: say("Made", "创建时间"), cell: a => moment(a.created) },
            {
                label: say("Actions", "操作"),
                cell: a =>
                    h(
                        "div",
                        { class: "row tight" },
                        act(
                            say("Download", "下载"),
                            { icon: "export", label: say(`Download ${a.name}`, `下载 ${a.name}`) },
                            () => saveFile(url("api", "adapters", a.name, "download"), `${a.name}.zip`),
                        ),
                        act(
                            a.loaded ? say("Put to rest", "卸下") : say("Make ready", "装载"),
                            {
                                label: a.loaded
                                    ? say(`Put ${a.name} to rest`, `卸下 ${a.name}`)
                                    : say(`Make ${a.name} ready`, `装载 ${a.name}`),
                            },
                            async () => {
                                await post(url("api", "adapters", a.name, a.loaded ? "unload" : "load"));
                                await refresh();
                            },
                        ),
                        act(
                            "",
                            { icon: "trash", kind: "small quiet", label: say(`Delete ${a.name}`, `删除 ${a.name}`) },
                            async () => {
                                if (
                                    !(await confirm(
                                        say(`Delete the skill “${a.name}”?`, `删除技能“${a.name}”？`),
                                        say(
                                            "This cannot be undone. Download it first if you may want it again.",
                                            "删除后无法恢复。如果以后可能还要用，请先下载。",
                                        ),
                                        say("Delete", "删除"),
                                        { danger: true },
                                    ))
                                )
                                    return;
                                await remove(url("api", "adapters", a.name));
                                await refresh();
                            },
                        ),
                    ),
            },
        ],
        adapters,
    );
}

function bringSkill(error) {
    const input = h("input", {
        type: "file",
        accept: ".zip",
        class: "unseen-input",
        onchange: async () => {
            const file = input.files[0];
            error.clear();
            try {
                const name = freeName(
                    file.name.replace(/\.zip$/i, ""),
                    store.state.adapters.map(a => a.name),
                );
                await upload(url("api", "adapters", name), file, "application/zip");
                await refresh();
                toast(say(`“${name}” is here.`, `已添加“${name}”。`));
            } catch (problem) {
                error.show(problem);
            }
            input.value = "";
        },
    });
    return h(
        "label",
        { class: "button file-button" },
        h("span", {}, say("Add a skill from a .zip (PEFT)", "从 .zip 添加技能（PEFT）")),
        input,
    );
}

// ---- merging --------------------------------------------------------------------------------------------------------

function mergePart(state) {
    let use = [{ name: state.adapters.at(-1).name, weight: 1 }],
        format = "hf";
    const name = textInput(
            freeName(
                `${state.model.name}-${use[0].name}`,
                state.exports.map(e => e.name),
            ),
            { maxLength: 64 },
        ),
        place = errorPlace();
    const type = select(
        [
            ["keep", say("as the model has them", "与模型相同")],
            ["f32", "32 bit (f32)"],
            ["f16", "16 bit (f16)"],
            ["bf16", "16 bit (bf16)"],
        ],
        "keep",
    );
    return card(
        h("h2", {}, say("Put skills into the model", "把技能合并进模型")),
        h(
            "p",
            {},
            say(
                "Makes a whole new model that has the skill built in. It runs anywhere, without this program.",
                "生成一个自带技能的完整模型，可以在其他程序中运行。",
            ),
        ),
        skillPicker(
            state,
            use,
            next => {
                use = next;
            },
            { several: true, base: false },
        ),
        segments(
            say("Kind of file", "文件类型"),
            [
                ["hf", say("Hugging Face folder (.zip)", "Hugging Face 文件夹（.zip）")],
                ["gguf", say("GGUF: one file", "GGUF：单个文件")],
            ],
            format,
            next => {
                format = next;
            },
        ),
        h("div", { class: "settings-grid" }, field(say("Name", "名称"), name), field(say("Numbers", "数值类型"), type)),
        place,
        h(
            "div",
            {},
            actionButton(
                say("Merge", "合并"),
                { kind: "primary", icon: "play" },
                async () => {
                    if (!use.length) throw new Error(say("Choose at least one skill.", "请至少选择一个技能。"));
                    await startJob("merge", name.value.trim(), {
                        adapters: use,
                        dtype: type.value,
                        format,
                        export: name.value.trim(),
                    });
                },
                place,
            ),
        ),
    );
}

function exportTable(exports, error) {
    return table(
        say("Files to take away", "可下载的文件"),
        [
            { label: say("Name", "名称"), main: true, cell: e => e.name },
            { label: say("Size", "大小"), number: true, cell: e => size(e.bytes) },
            {
                label: say("Actions", "操作"),
                cell: e =>
                    e.ready === false
                        ? say("being made", "生成中")
                        : h(
                              "div",
                              { class: "row tight" },
                              actionButton(
                                  say("Download", "下载"),
                                  { kind: "small", icon: "export", label: say(`Download ${e.name}`, `下载 ${e.name}`) },
                                  () =>
                                      saveFile(
                                          url("api", "exports", e.name, "download"),
                                          e.name.endsWith(".gguf") ? e.name : `${e.name}.zip`,
                                      ),
                                  error,
                              ),
                              actionButton(
                                  "",
                                  {
                                      kind: "small quiet",
                                      icon: "trash",
                                      label: say(`Delete ${e.name}`, `删除 ${e.name}`),
                                  },
                                  async () => {
                                      if (
                                          !(await confirm(
                                              say(`Delete “${e.name}”?`, `删除“${e.name}”？`),
                                              say("The file goes; the skill stays.", "文件会被删除，技能保留。"),
                                              say("Delete", "删除"),
                                              { danger: true },
                                          ))
                                      )
                                          return;
                                      await remove(url("api", "exports", e.name));
                                      await refresh();
                                  },
                                  error,
                              ),
                          ),
            },
        ],
        exports,
    );
}

export async function render(root, page) {
    fill(root, waiting());
    if (page.path.length)
        return jobPage(root, page.path[0], {
            signal: page.signal,
            back: { label: say("Export", "导出"), href: "#/export" },
            show: (job, place) =>
                fill(
                    place,
                    job.state === "done"
                        ? card(
                              h("h2", {}, say("Ready", "已完成")),
                              h(
                                  "p",
                                  {},
                                  say(
                                      "The merged model is among the files to take away.",
                                      "合并后的模型在可下载的文件中。",
                                  ),
                              ),
                              h(
                                  "div",
                                  {},
                                  linkButton(say("To the files", "查看文件"), "#/export", {
                                      kind: "primary",
                                      icon: "export",
                                  }),
                              ),
                          )
                        : null,
                ),
        });
    const error = errorPlace(),
        skills = h("div", { class: "stack" }),
        merge = h("div", {}),
        files = h("div", { class: "stack" });
    fill(
        root,
        heading(
            say("Export", "导出"),
            say(
                "Take your skill along: as a small file beside the model, or built into it.",
                "带走您的技能：作为模型旁边的小文件，或合并进模型。",
            ),
            bringSkill(error),
        ),
        error,
        skills,
        merge,
        files,
    );
    let shown = "";
    watch(state => {
        const names = JSON.stringify(state.adapters.map(a => a.name));
        fill(
            skills,
            h("h2", {}, say("Skills", "技能")),
            state.adapters.length
                ? skillTable(state.adapters, error)
                : h(
                      "p",
                      { class: "soft" },
                      say(
                          "None yet. Training makes one; or add a .zip of a PEFT adapter.",
                          "还没有。训练后会出现，也可以添加 PEFT 适配器的 .zip。",
                      ),
                  ),
        );
        // A form half filled in stays as it is.
        if (names !== shown) fill(merge, state.adapters.length ? mergePart(state) : null);
        shown = names;
        const running = newest(state, "merge").filter(job => job.state !== "done");
        fill(
            files,
            h("h2", {}, say("Files to take away", "可下载的文件")),
            running.map(jobLine),
            state.exports.length
                ? exportTable(state.exports, error)
                : h("p", { class: "soft" }, say("None yet.", "还没有。")),
        );
    }, page.signal);
}
