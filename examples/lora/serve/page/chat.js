// Chat: one skill, several with weights, or two answers side by side. Conversations are kept by the server.
import { h, fill } from "./dom.js";
import { say } from "./say.js";
import { get, put, remove, url } from "./api.js";
import { store } from "./store.js";
import {
    actionButton,
    announce,
    button,
    confirm,
    errorPlace,
    field,
    folded,
    heading,
    segments,
    select,
    textArea,
    textInput,
    toast,
    waiting,
} from "./parts.js";
import { draft, options } from "./options.js";
import { skillPicker } from "./skills.js";
import { messageView } from "./message.js";
import { answer, past } from "./answer.js";

const newId = () => `c-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;

const IDEAS = () =>
    say(
        [
            "Write a short thank-you note to a colleague.",
            "Turn these notes into an upbeat weekly report.\nfixed 3 bugs; met the sales team on Monday",
        ],
        ["给同事写一张简短的感谢卡。", "把这些笔记写成积极向上的周报。\n修复了3个问题；周一与销售部开会"],
    );

// ---- settings of the conversation -----------------------------------------------------------------------------------

function settingsPart(settings, keep) {
    const heat = h("input", { type: "range", min: "0", max: "1.5", step: "0.1", value: String(settings.temperature) });
    const shown = h("output", {}, settings.temperature.toFixed(1));
    heat.addEventListener("input", () => {
        settings.temperature = Number(heat.value);
        shown.textContent = settings.temperature.toFixed(1);
        keep();
    });
    const longest = textInput(String(settings.longest), {
        type: "number",
        min: 1,
        max: store.state.model.context_length,
        class: "short",
        onchange: () => {
            settings.longest = Math.max(1, Number(longest.value) || 256);
            keep();
        },
    });
    const system = textArea(settings.system, {
        rows: 2,
        oninput: () => {
            settings.system = system.value;
            keep();
        },
    });
    return folded(
        say("Settings of the answers", "回答设置"),
        h(
            "div",
            { class: "two" },
            field(
                say("Freedom (temperature)", "自由度（temperature）"),
                heat,
                h(
                    "span",
                    {},
                    shown,
                    say(
                        " · 0 always gives the same answer; higher is more varied.",
                        " · 0 总是给出相同的回答，越高越多样。",
                    ),
                ),
            ),
            field(say("Longest answer in tokens", "回答最长词元数"), longest),
        ),
        field(
            say("Role of the assistant", "助手的角色（系统提示）"),
            system,
            say("Leave it empty unless your examples had one.", "如果训练例子中没有，请留空。"),
        ),
    );
}

function pickers(place, settings, keep) {
    const set = key => use => {
        settings[key] = use;
        keep();
    };
    const side = (key, title, legend) =>
        h(
            "div",
            { class: "stack tight" },
            h("h2", {}, title),
            skillPicker(store.state, settings[key], set(key), { legend }),
        );
    if (settings.mode === "side")
        fill(
            place,
            h(
                "div",
                { class: "two" },
                side("left", say("Left", "左边"), say("Skill on the left", "左边的技能")),
                side("right", say("Right", "右边"), say("Skill on the right", "右边的技能")),
            ),
        );
    else
        fill(
            place,
            skillPicker(store.state, settings.mode === "mix" ? settings.use : settings.use.slice(0, 1), set("use"), {
                several: settings.mode === "mix",
            }),
        );
}

// Choices kept from another day may name skills that are gone.
function chatSettings(query, generate) {
    const value = (name, fallback) => generate.find(o => o.name === name)?.value ?? fallback;
    const names = store.state.adapters.map(a => a.name),
        last = names.length ? [{ name: names.at(-1), weight: 1 }] : [];
    const kept = draft("chat", {
        mode: "one",
        use: last,
        left: [],
        right: last,
        temperature: 0,
        longest: Math.min(256, value("max-new-tokens", 256)),
        system: "",
    });
    const { values } = kept,
        wanted = query.get("skill");
    if (names.includes(wanted))
        Object.assign(values, { use: [{ name: wanted, weight: 1 }], right: [{ name: wanted, weight: 1 }] });
    for (const key of ["use", "left", "right"]) values[key] = values[key].filter(u => names.includes(u.name));
    return kept;
}

// Keeps the end in sight while an answer grows, unless the reader has scrolled away.
function follow(grow) {
    const page = document.documentElement,
        atEnd = page.scrollHeight - page.scrollTop - innerHeight < 80;
    grow();
    if (atEnd) scrollTo(0, page.scrollHeight);
}

// ---- kept conversations ---------------------------------------------------------------------------------------------

function conversationBar(current, signal) {
    const place = h("div", { class: "row tight" });
    place.update = async () => {
        const answerList = await get("/api/conversations", signal);
        const list = (Array.isArray(answerList) ? answerList : answerList.conversations).filter(
            c => c.id !== current.id,
        );
        const others = select(
            [
                ["", current.title.slice(0, 60) || say("This conversation", "当前对话")],
                ...list.map(c => [c.id, (c.title || c.id).slice(0, 60)]),
            ],
            "",
            {
                "aria-label": say("Conversations", "对话列表"),
                class: "conversations",
                onchange: () => {
                    location.hash = `#/chat/${others.value}`;
                },
            },
        );
        fill(
            place,
            list.length || current.title ? others : null,
            button(say("New", "新对话"), {
                icon: "plus",
                onclick: () => {
                    location.hash = `#/chat?new=${Date.now()}`;
                },
            }),
            current.title
                ? actionButton(
                      "",
                      { kind: "quiet", icon: "trash", label: say("Delete this conversation", "删除这个对话") },
                      async () => {
                          if (
                              !(await confirm(
                                  say("Delete this conversation?", "删除这个对话？"),
                                  current.title,
                                  say("Delete", "删除"),
                                  { danger: true },
                              ))
                          )
                              return;
                          await remove(url("api", "conversations", current.id));
                          location.hash = `#/chat?new=${Date.now()}`;
                      },
                  )
                : null,
        );
    };
    return place;
}

async function openConversation(id, signal) {
    const fresh = { id: id ?? newId(), title: "", messages: [] };
    if (!id) return fresh;
    try {
        return { ...fresh, ...(await get(url("api", "conversations", id), signal)), id };
    } catch (error) {
        if (error.status === 404) return fresh;
        throw error;
    }
}

// ---- the page -------------------------------------------------------------------------------------------------------

export async function render(root, { path: [id], query, signal }) {
    fill(root, waiting());
    const current = await openConversation(id, signal),
        { values: settings, keep } = chatSettings(query, await options("generate"));
    const talk = h("div", {
        class: "talk",
        role: "log",
        "aria-live": "off",
        "aria-label": say("Conversation", "对话"),
    });
    const error = errorPlace(),
        skills = h("div", {}),
        composer = h("div", { class: "composer" }),
        ideas = h("div", { class: "row tight" }),
        bar = conversationBar(current, signal);
    let asking = null;
    signal.addEventListener("abort", () => asking?.abort());

    const paint = () => {
        const last = current.messages.length - 1;
        fill(
            talk,
            current.messages.map((m, i) => messageView(m, i === last && !asking ? again : null)),
        );
        fill(
            ideas,
            current.messages.length
                ? null
                : IDEAS().map(text => button(text.split("\n")[0], { kind: "small", onclick: () => send(text) })),
        );
        stop.hidden = !asking;
        go.hidden = !!asking;
    };

    async function save() {
        current.title ||= current.messages.find(m => m.role === "user").content.slice(0, 60);
        await put(url("api", "conversations", current.id), {
            title: current.title,
            messages: current.messages,
            adapters: settings.use,
        });
        if (signal.aborted) return;
        history.replaceState(null, "", `#/chat/${encodeURIComponent(current.id)}`);
        await bar.update();
    }

    async function ask() {
        const sides =
            settings.mode === "side"
                ? [settings.left, settings.right]
                : [settings.mode === "mix" ? settings.use : settings.use.slice(0, 1)];
        const message = {
            role: "assistant",
            content: "",
            adapters: sides[0],
            ...(sides[1] ? { other: { content: "", adapters: sides[1] } } : {}),
        };
        asking = new AbortController();
        error.clear();
        paint();
        const view = messageView(message, null);
        view.setAttribute("aria-busy", "true");
        talk.append(view);
        scrollTo(0, document.documentElement.scrollHeight);
        const results = await Promise.allSettled(
            sides.map((use, side) =>
                answer(
                    use,
                    past(current.messages, side, settings.system),
                    settings,
                    piece => {
                        (side ? message.other : message).content += piece;
                        follow(() => view.grow(side, piece));
                    },
                    asking.signal,
                ),
            ),
        );
        asking = null;
        const failure = results.find(r => r.status === "rejected" && r.reason.name !== "AbortError")?.reason;
        if (message.content || message.other?.content) current.messages.push(message);
        paint();
        announce([message.content, message.other?.content].filter(Boolean).join("\n"));
        try {
            await save();
        } catch (problem) {
            if (!failure) error.show(problem);
        }
        if (failure) error.show(failure);
    }
    const send = async text => {
        if (asking || !text.trim()) return;
        current.messages.push({ role: "user", content: text });
        box.value = "";
        box.grow();
        await ask();
    };
    const again = async () => {
        if (asking) return;
        if (settings.temperature === 0)
            toast(
                say(
                    "With freedom 0 the answer stays the same. Raise it under “Settings of the answers”.",
                    "自由度为 0 时回答不会变。可在“回答设置”中调高。",
                ),
            );
        if (current.messages.at(-1).role === "assistant") current.messages.pop();
        await ask();
    };

    const box = textArea("", {
        rows: 1,
        "aria-label": say("Your message", "您的消息"),
        placeholder: say("Ask something…", "问点什么……"),
        onkeydown: event => {
            // Enter also ends the choice of a Chinese character.
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send(box.value);
        },
    });
    const go = h("button", { class: "button primary", "aria-label": say("Send", "发送") }, say("Send", "发送"));
    const stop = button(say("Stop", "停止"), { icon: "stop", onclick: () => asking?.abort() });
    fill(
        composer,
        h(
            "form",
            {
                onsubmit: event => {
                    event.preventDefault();
                    send(box.value);
                },
            },
            h("div", { class: "grow" }, box),
            stop,
            go,
        ),
    );
    const chooseMode = mode => {
        settings.mode = mode;
        keep();
        pickers(skills, settings, keep);
    };
    fill(
        root,
        heading(say("Chat", "对话"), null, bar),
        segments(
            say("How to answer", "回答方式"),
            [
                ["one", say("One skill", "单个技能")],
                ["mix", say("Several, mixed", "多个混合")],
                ["side", say("Side by side", "左右对照")],
            ],
            settings.mode,
            chooseMode,
            { hideLegend: true },
        ),
        skills,
        settingsPart(settings, keep),
        talk,
        error,
        ideas,
        composer,
    );
    pickers(skills, settings, keep);
    paint();
    await bar.update();
}
