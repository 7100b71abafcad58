// Learn: the tutorials.
import { h, fill } from "./dom.js";
import { say, both, currentLanguage } from "./say.js";
import { get, url } from "./api.js";
import { empty, heading, linkButton, waiting } from "./parts.js";

const ALLOWED = new Set([
    "P",
    "H1",
    "H2",
    "H3",
    "H4",
    "UL",
    "OL",
    "LI",
    "PRE",
    "CODE",
    "STRONG",
    "EM",
    "B",
    "I",
    "A",
    "TABLE",
    "THEAD",
    "TBODY",
    "TR",
    "TH",
    "TD",
    "BLOCKQUOTE",
    "BR",
    "HR",
    "KBD",
]);

// Text with markup becomes elements of the kinds above and nothing else; links go to this page or to the web.
function copy(node) {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    const children = [...node.childNodes].map(copy);
    if (!ALLOWED.has(node.tagName))
        return node.nodeType === Node.ELEMENT_NODE && !["SCRIPT", "STYLE"].includes(node.tagName) ? children : [];
    const href =
        node.tagName === "A" && /^(#\/|https?:\/\/)/.test(node.getAttribute("href") ?? "")
            ? node.getAttribute("href")
            : null;
    const name = node.tagName === "H1" ? "h2" : node.tagName.toLowerCase();
    return h(
        name,
        {
            href,
            tabindex: name === "pre" ? "0" : null,
            rel: href?.startsWith("http") ? "noopener" : null,
            target: href?.startsWith("http") ? "_blank" : null,
        },
        children,
    );
}

async function show(root, id, signal) {
    const [list, text] = await Promise.all([
        get("/api/tutorials", signal),
        get(`${url("api", "tutorials", id)}?lang=${currentLanguage()}`, signal),
    ]);
    const at = list.findIndex(t => t.id === id),
        next = list[at + 1];
    const body = new DOMParser().parseFromString(text.html, "text/html").body;
    body.querySelector("h1")?.remove();
    fill(
        root,
        linkButton(say("All tutorials", "全部教程"), "#/learn", { kind: "quiet back", icon: "back" }),
        heading(both(list[at]?.title ?? id)),
        h("article", { class: "reading" }, [...body.childNodes].map(copy)),
        next
            ? h(
                  "div",
                  { class: "row" },
                  linkButton(
                      say(`Next: ${both(next.title)}`, `下一篇：${both(next.title)}`),
                      `#/learn/${encodeURIComponent(next.id)}`,
                      { kind: "primary", icon: "next" },
                  ),
              )
            : null,
    );
}

export async function render(root, { path: [id], signal }) {
    fill(root, waiting());
    if (id) return show(root, id, signal);
    const list = await get("/api/tutorials", signal);
    fill(
        root,
        heading(
            say("Learn", "教程"),
            say(
                "Four short tutorials, one a week, from the first answer to an assistant on the web.",
                "四篇短教程，每周一篇：从第一次推理到网页上的助手。",
            ),
        ),
        list.length
            ? h(
                  "ol",
                  { class: "steps" },
                  list.map((t, i) =>
                      h(
                          "li",
                          { class: "step" },
                          h("div", { class: "step-mark" }, i + 1),
                          h(
                              "div",
                              { class: "step-body" },
                              h("h2", {}, h("a", { href: `#/learn/${encodeURIComponent(t.id)}` }, both(t.title))),
                              t.text ? h("p", {}, both(t.text)) : null,
                          ),
                      ),
                  ),
              )
            : empty(
                  "learn",
                  say("No tutorials here", "这里没有教程"),
                  say("This build came without them.", "这个版本没有附带教程。"),
              ),
    );
}
