// Settings: language, colours; and how other programs use this server.
import { h, fill } from "./dom.js";
import { say, currentLanguage, setLanguage, recall, remember, parameters, size } from "./say.js";
import { hasToken } from "./api.js";
import { store } from "./store.js";
import { card, copyButton, figures, heading, segments } from "./parts.js";

const systemDark = matchMedia("(prefers-color-scheme: dark)");

function applyTheme() {
    const chosen = recall("theme");
    document.documentElement.dataset.theme =
        chosen === "dark" || (chosen !== "light" && systemDark.matches) ? "dark" : "light";
}
systemDark.addEventListener("change", applyTheme);

function example(title, code) {
    return h(
        "div",
        { class: "stack tight" },
        h("div", { class: "row" }, h("h3", { class: "grow" }, title), copyButton(code)),
        h("pre", { tabindex: "0" }, h("code", {}, code)),
    );
}

function apiPart() {
    const model = store.state.adapters[0]?.name ?? store.state.model.name,
        address = location.origin,
        token = hasToken();
    const question = say("Hello!", "你好！");
    return card(
        h("h2", {}, say("For other programs", "给其他程序使用")),
        h(
            "p",
            {},
            say(
                "This server speaks OpenAI's interface: programs made for it work here when they are given " +
                    "this address. Each skill is a model name of its own.",
                "本服务器兼容 OpenAI 接口：为它编写的程序只要填上这个地址就能使用。每个技能都是一个模型名。",
            ),
        ),
        token ? h("p", {}, say("Put your token in the place of TOKEN.", "请把 TOKEN 换成您的令牌。")) : null,
        example(
            say("In a terminal", "在终端中"),
            `curl ${address}/v1/chat/completions` +
                (token ? " \\\n  -H 'Authorization: Bearer TOKEN'" : "") +
                " \\\n  -H 'Content-Type: application/json'" +
                ` \\\n  -d '${JSON.stringify({ model, messages: [{ role: "user", content: question }] })}'`,
        ),
        example(
            say("In Python", "在 Python 中"),
            "from openai import OpenAI\n\n" +
                `client = OpenAI(base_url="${address}/v1", api_key="${token ? "TOKEN" : "none"}")\n` +
                `answer = client.chat.completions.create(\n    model=${JSON.stringify(model)},\n` +
                `    messages=[{"role": "user", "content": ${JSON.stringify(question)}}])\n` +
                "print(answer.choices[0].message.content)",
        ),
    );
}

export function render(root) {
    const { model, version } = store.state;
    fill(
        root,
        heading(say("Settings", "设置")),
        card(
            segments(
                "Language · 语言",
                [
                    ["en", "English"],
                    ["zh", "中文"],
                ],
                currentLanguage(),
                setLanguage,
            ),
            segments(
                say("Colours", "颜色"),
                [
                    ["auto", say("As the system", "跟随系统")],
                    ["light", say("Light", "浅色")],
                    ["dark", say("Dark", "深色")],
                ],
                recall("theme", "auto"),
                name => {
                    remember("theme", name === "auto" ? null : name);
                    applyTheme();
                },
            ),
        ),
        apiPart(),
        card(
            h("h2", {}, say("About", "关于")),
            h(
                "p",
                {},
                say(
                    "liblora, LoRA fine-tuning as a small C library. Everything runs on the computer that " +
                        "started it; nothing is sent anywhere else.",
                    "liblora：小型 C 语言 LoRA 微调库。一切都在启动它的电脑上运行，不会向别处发送任何内容。",
                ),
            ),
            figures([
                [say("Version", "版本"), version],
                [say("Model", "模型"), model.name],
                [say("Parameters", "参数"), parameters(model.parameters)],
                [say("Size", "大小"), size(model.bytes)],
            ]),
        ),
    );
}
