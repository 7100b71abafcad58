// The pieces that every page is put together from.
import { h, fill, icon, newId } from "./dom.js";
import { say } from "./say.js";

// ---- words to the reader --------------------------------------------------------------------------------------------

// For a screen reader; nothing is seen.
export function announce(text) {
    const place = document.getElementById("announcer");
    place.textContent = "";
    setTimeout(() => {
        place.textContent = text;
    }, 50);
}

// A short note at the edge of the page; with `again`, a button that takes the deed back.
export function toast(text, again = null) {
    const note = h("div", { class: "toast" }, h("span", {}, text));
    const away = () => note.remove();
    if (again)
        note.append(
            button(again.label, {
                kind: "quiet",
                onclick: () => {
                    away();
                    again.run();
                },
            }),
        );
    document.getElementById("toasts").append(note);
    announce(text);
    setTimeout(away, again ? 12000 : 5000);
}

const NOTICE_ICONS = { bad: "warn", warn: "warn", good: "check", info: "info" };

export function notice(kind, ...content) {
    return h(
        "div",
        { class: `notice ${kind}`, role: kind === "bad" ? "alert" : null },
        icon(NOTICE_ICONS[kind]),
        h("div", {}, ...content),
    );
}

// A place below a form where what went wrong is said.
export function errorPlace() {
    const place = h("div", { class: "error-place", "aria-live": "assertive" });
    place.clear = () => fill(place);
    place.show = error => {
        if (error.name !== "AbortError") fill(place, notice("bad", error.message));
    };
    return place;
}

export function empty(name, title, text, ...actions) {
    return h(
        "div",
        { class: "empty" },
        icon(name),
        h("h2", {}, title),
        h("p", {}, text),
        actions.length ? h("div", { class: "row center" }, ...actions) : null,
    );
}

export const waiting = () => h("p", { class: "waiting" }, say("One moment…", "请稍候……"));

// ---- buttons --------------------------------------------------------------------------------------------------------

export function button(text, { kind = "", icon: name, onclick, label, ...more } = {}) {
    return h(
        "button",
        { type: "button", class: `button ${kind}`, onclick, "aria-label": label, title: label, ...more },
        name ? icon(name) : null,
        text ? h("span", {}, text) : null,
    );
}

export function linkButton(text, href, { kind = "", icon: name } = {}) {
    return h("a", { class: `button ${kind}`, href }, name ? icon(name) : null, h("span", {}, text));
}

// A button whose work is done once at a time, however often it is pressed; a failure is shown at `place`.
export function actionButton(text, options, work, place) {
    let running = false;
    const control = button(text, {
        ...options,
        onclick: async event => {
            if (running) return;
            running = true;
            control.setAttribute("aria-busy", "true");
            control.setAttribute("aria-disabled", "true");
            place?.clear();
            try {
                await work(event);
            } catch (error) {
                if (place) place.show(error);
                else if (error.name !== "AbortError") toast(error.message);
            } finally {
                running = false;
                control.removeAttribute("aria-busy");
                control.removeAttribute("aria-disabled");
            }
        },
    });
    return control;
}

// ---- fields ---------------------------------------------------------------------------------------------------------

export function field(label, control, hint) {
    const id = (control.id ||= newId("field"));
    const hintId = `${id}-hint`;
    if (hint) control.setAttribute("aria-describedby", hintId);
    return h(
        "div",
        { class: "field" },
        h("label", { for: id }, label),
        control,
        hint ? h("p", { class: "hint", id: hintId }, hint) : null,
    );
}

export const textInput = (value, more = {}) =>
    h("input", { type: "text", autocomplete: "off", spellcheck: "false", value: value ?? "", ...more });

export function textArea(value, more = {}) {
    const area = h("textarea", { rows: 3, value: value ?? "", ...more });
    const grow = () => {
        area.style.height = "auto";
        area.style.height = `${Math.min(area.scrollHeight + 2, 480)}px`;
    };
    if (more.grow !== false) {
        area.addEventListener("input", grow);
        area.grow = grow;
        queueMicrotask(() => area.isConnected && grow());
    }
    return area;
}

// options: [value, label] pairs
export function select(options, value, more = {}) {
    return h(
        "select",
        { value: value ?? options[0]?.[0] ?? "", ...more },
        options.map(([key, label]) => h("option", { value: key }, label)),
    );
}

export function checkbox(label, checked, onchange, hint) {
    const id = newId("check");
    const box = h("input", {
        type: "checkbox",
        id,
        checked,
        onchange: () => onchange?.(box.checked),
        "aria-describedby": hint ? `${id}-hint` : null,
    });
    const whole = h(
        "div",
        { class: "checkbox" },
        box,
        h("div", {}, h("label", { for: id }, label), hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null),
    );
    whole.box = box;
    return whole;
}

// One of a few, all in sight.
export function segments(legend, options, value, onchange, { hideLegend = false } = {}) {
    const name = newId("segments");
    return h(
        "fieldset",
        { class: "segments" },
        h("legend", { class: hideLegend ? "unseen" : null }, legend),
        h(
            "div",
            { class: "segment-row" },
            options.map(([key, label]) =>
                h(
                    "label",
                    {},
                    h("input", {
                        type: "radio",
                        name,
                        value: key,
                        checked: key === value,
                        onchange: () => onchange(key),
                    }),
                    h("span", {}, label),
                ),
            ),
        ),
    );
}

// Several of a few: chips that can be pressed. `chosen` is a Set that follows.
export function chips(legend, options, chosen, onchange) {
    return h(
        "fieldset",
        { class: "chips" },
        h("legend", {}, legend),
        h(
            "div",
            { class: "row tight" },
            options.map(([key, label]) => {
                const chip = h(
                    "button",
                    {
                        type: "button",
                        class: "chip",
                        "aria-pressed": String(chosen.has(key)),
                        onclick: () => {
                            chosen.has(key) ? chosen.delete(key) : chosen.add(key);
                            chip.setAttribute("aria-pressed", String(chosen.has(key)));
                            onchange?.();
                        },
                    },
                    label,
                );
                return chip;
            }),
        ),
    );
}

// ---- showing --------------------------------------------------------------------------------------------------------

export function heading(title, lead, ...actions) {
    return h(
        "div",
        { class: "heading" },
        h("div", {}, h("h1", { tabindex: "-1" }, title), lead ? h("p", { class: "lead" }, lead) : null),
        actions.length ? h("div", { class: "row" }, ...actions) : null,
    );
}

export const card = (...content) => h("section", { class: "card" }, ...content);

export function progress(value, label) {
    const inner = h("div", { class: "progress-fill" });
    const bar = h(
        "div",
        { class: "progress", role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" },
        inner,
    );
    bar.set = share => {
        const whole = Math.round(Math.min(1, Math.max(0, share || 0)) * 100);
        inner.style.width = `${whole}%`;
        bar.setAttribute("aria-valuenow", String(whole));
    };
    bar.set(value);
    return bar;
}

// figures: [label, value] pairs
export function figures(pairs) {
    return h(
        "dl",
        { class: "figures" },
        pairs.filter(Boolean).map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))),
    );
}

// columns: {label, cell(row) -> node or text, number, main}. Keeps its meaning when a phone shows rows as blocks.
export function table(caption, columns, rows, { rowProperties } = {}) {
    return h(
        "div",
        { class: "table-place" },
        h(
            "table",
            { role: "table" },
            h("caption", { class: "unseen" }, caption),
            h(
                "thead",
                { role: "rowgroup" },
                h(
                    "tr",
                    { role: "row" },
                    columns.map(c =>
                        h("th", { scope: "col", role: "columnheader", class: c.number ? "number" : null }, c.label),
                    ),
                ),
            ),
            h(
                "tbody",
                { role: "rowgroup" },
                rows.map((row, index) =>
                    h(
                        "tr",
                        { role: "row", ...rowProperties?.(row, index) },
                        columns.map(c =>
                            h(
                                c.main ? "th" : "td",
                                {
                                    scope: c.main ? "row" : null,
                                    role: c.main ? "rowheader" : "cell",
                                    class: c.number ? "number" : null,
                                    "data-label": c.label,
                                },
                                c.cell(row, index),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    );
}

export function folded(summary, ...content) {
    return h("details", { class: "folded" }, h("summary", {}, summary), h("div", { class: "folded-body" }, ...content));
}

export function copyButton(text) {
    return actionButton(say("Copy", "复制"), { kind: "quiet small", icon: "copy" }, async () => {
        await copyText(typeof text === "function" ? text() : text);
        toast(say("Copied.", "已复制。"));
    });
}

async function copyText(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = h("textarea", { class: "unseen", value: text }); // pages opened over plain http from another machine
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
}

// ---- dialogs: the browser's own keep the focus inside and close with Escape -----------------------------------------

// build(close) returns the content; resolves with what close was given, or null.
export function dialog(title, build, { wide = false } = {}) {
    return new Promise(resolve => {
        const id = newId("dialog"),
            before = document.activeElement;
        const box = h("dialog", { class: wide ? "wide" : null, "aria-labelledby": id });
        let result = null;
        const close = value => {
            result = value ?? null;
            box.close();
        };
        box.append(
            h(
                "div",
                { class: "dialog-head" },
                h("h2", { id }, title),
                button("", { kind: "quiet", icon: "close", label: say("Close", "关闭"), onclick: () => close(null) }),
            ),
            h("div", { class: "dialog-body" }, build(close)),
        );
        box.addEventListener("close", () => {
            box.remove();
            if (before?.isConnected) before.focus();
            resolve(result);
        });
        document.body.append(box);
        box.showModal();
        box.querySelectorAll("textarea").forEach(area => area.grow?.());
        (
            box.querySelector("[autofocus]") ??
            box.querySelector("input,textarea,select") ??
            box.querySelector(".dialog-body button")
        )?.focus();
    });
}

export async function confirm(title, text, yes, { danger = false } = {}) {
    return (
        (await dialog(title, close => [
            h("p", {}, text),
            h(
                "div",
                { class: "row end" },
                button(say("Cancel", "取消"), { onclick: () => close(false) }),
                button(yes, { kind: danger ? "danger" : "primary", onclick: () => close(true) }),
            ),
        ])) === true
    );
}
