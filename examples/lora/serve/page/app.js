// The frame of the page: navigation, language, theme, and which page is shown.
import { h, fill, icon } from "./dom.js";
import { say, currentLanguage } from "./say.js";
import { connection, setToken } from "./api.js";
import { store, watch, refresh, isActive } from "./store.js";
import { announce, button, dialog, errorPlace, notice, textInput, field } from "./parts.js";

const PAGES = [
    // address, file, icon, name
    ["", "start", "start", () => say("Start", "开始")],
    ["data", "data", "data", () => say("Data", "数据")],
    ["train", "train", "train", () => say("Train", "训练")],
    ["chat", "chat", "chat", () => say("Chat", "对话")],
    ["evaluate", "evaluate", "evaluate", () => say("Evaluate", "评测")],
    ["compare", "compare", "compare", () => say("Compare", "对比")],
    ["ab", "ab", "ab", () => say("Blind test", "盲测")],
    ["export", "export", "export", () => say("Export", "导出")],
    ["learn", "learn", "learn", () => say("Learn", "教程")],
    ["settings", "settings", "settings", () => say("Settings", "设置")],
];
const main = document.getElementById("main"),
    bar = document.getElementById("bar");
let leaving = new AbortController(),
    broken = false; // broken: the page in sight is only an error

// ---- navigation -----------------------------------------------------------------------------------------------------

function navigation(current) {
    const nav = h(
        "nav",
        { id: "nav", "aria-label": say("Pages", "页面") },
        h(
            "ul",
            {},
            PAGES.map(([address, , name, label]) =>
                h(
                    "li",
                    {},
                    h(
                        "a",
                        {
                            href: `#/${address}`,
                            "aria-current": address === current ? "page" : null,
                            "data-page": address,
                        },
                        icon(name),
                        h("span", {}, label()),
                    ),
                ),
            ),
        ),
    );
    const menu = button(say("Menu", "菜单"), {
        kind: "quiet menu",
        icon: "menu",
        "aria-expanded": "false",
        "aria-controls": "nav",
        onclick: () => menu.setAttribute("aria-expanded", String(bar.classList.toggle("open"))),
    });
    fill(
        bar,
        h(
            "a",
            { class: "brand", href: "#/" },
            h("img", { src: "/assets/icon.svg", alt: "", width: "28", height: "28" }),
            h("span", {}, "lora"),
        ),
        menu,
        nav,
    );
    bar.classList.remove("open");
    showActivity();
}

// A dot beside Train while something is being worked on.
function showActivity() {
    const busy = store.state?.jobs.some(isActive) ?? false;
    const link = bar.querySelector('[data-page="train"]');
    if (!link || busy === !!link.querySelector(".dot")) return;
    if (busy) link.append(h("span", { class: "dot" }, h("span", { class: "unseen" }, say("(busy)", "（进行中）"))));
    else link.querySelector(".dot").remove();
}

// ---- pages ----------------------------------------------------------------------------------------------------------

function address() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
    return { words: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

async function show(focus) {
    leaving.abort();
    leaving = new AbortController();
    const { signal } = leaving,
        { words, query } = address();
    const page = PAGES.find(([name]) => name === (words[0] ?? "")) ?? PAGES[0];
    document.documentElement.lang = currentLanguage();
    document.title = `${page[3]()} · lora`;
    document.getElementById("skip").textContent = say("Skip to the content", "跳到正文");
    navigation(page[0]);
    const root = h("div", { class: `page page-${page[1]}` });
    broken = false;
    try {
        const module = await import(`./${page[1]}.js`);
        if (signal.aborted) return;
        fill(main, root);
        await module.render(root, { path: words.slice(1), query, signal });
    } catch (error) {
        if (signal.aborted || error.name === "AbortError") return;
        broken = true;
        fill(
            root,
            h("h1", { tabindex: "-1" }, page[3]()),
            notice("bad", error.message),
            button(say("Try again", "重试"), { kind: "primary", onclick: () => show(true) }),
        );
        fill(main, root);
    }
    if (focus && !signal.aborted) {
        scrollTo(0, 0);
        (root.querySelector("h1") ?? main).focus({ preventScroll: true });
        announce(root.querySelector("h1")?.textContent ?? document.title);
    }
}

// ---- the server comes and goes --------------------------------------------------------------------------------------

const notices = document.getElementById("notices");
connection.addEventListener("offline", () => {
    fill(
        notices,
        notice(
            "bad",
            h("strong", {}, say("The server does not answer.", "服务器没有响应。")),
            " ",
            say(
                "Is “lora serve” still running? This page keeps trying; nothing that was saved is lost.",
                "“lora serve” 还在运行吗？页面会一直重试，已保存的内容不会丢失。",
            ),
        ),
    );
});
connection.addEventListener("online", () => {
    fill(notices);
    announce(say("The server is back.", "服务器已恢复。"));
    if (broken) show(false);
});

let asking = false;
connection.addEventListener("locked", async () => {
    if (asking) return;
    asking = true;
    const token = await dialog(say("This page is locked", "页面已锁定"), close => {
        const input = textInput("", { type: "password" }),
            place = errorPlace();
        return h(
            "form",
            {
                onsubmit: event => {
                    event.preventDefault();
                    if (input.value.trim()) close(input.value.trim());
                },
            },
            field(
                say("Token", "令牌"),
                input,
                say(
                    "“lora serve” printed it when it started, at the end of the address.",
                    "“lora serve” 启动时显示的网址末尾就是令牌。",
                ),
            ),
            place,
            h("div", { class: "row end" }, h("button", { class: "button primary" }, say("Open", "打开"))),
        );
    });
    asking = false;
    if (!token) return;
    setToken(token);
    await begin();
});

// ---- beginning ------------------------------------------------------------------------------------------------------

function takeToken() {
    const match = /^#token=(.+)$/.exec(location.hash);
    if (!match) return;
    setToken(decodeURIComponent(match[1]));
    history.replaceState(null, "", "#/");
}

async function begin() {
    try {
        await refresh();
    } catch {
        /* the banner says so */
    }
    await show(false);
}

document.getElementById("skip").addEventListener("click", event => {
    event.preventDefault();
    main.focus();
    main.scrollIntoView();
});
addEventListener("hashchange", () => {
    if (/^#?(\/|$)/.test(location.hash)) show(true);
    else {
        takeToken();
        begin();
    }
});
addEventListener("reword", () => show(false));
watch(showActivity);
takeToken();
await begin();
performance.mark("interactive");
