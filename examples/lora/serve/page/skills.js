// Choosing skills (adapters): cards to press, and weights when several work together.
import { h, fill, icon, newId } from "./dom.js";
import { say, size } from "./say.js";

export const skillNames = use =>
    use.length === 0
        ? say("the model alone", "仅模型")
        : use.map(u => (u.weight === 1 ? u.name : `${u.name} × ${u.weight}`)).join(" + ");

function skillCard(title, text, pressed, onclick, name) {
    return h(
        "button",
        { type: "button", class: "skill", "aria-pressed": String(pressed), onclick },
        h("strong", {}, icon(name), title),
        h("span", { class: "soft" }, text),
    );
}

const about = adapter =>
    say(`rank ${adapter.rank}, ${size(adapter.bytes)}`, `秩 ${adapter.rank}，${size(adapter.bytes)}`);

// `use` is [{name, weight}], empty for the base alone. several: more than one may be pressed, each with its weight.
export function skillPicker(state, use, onchange, { several = false, base = true, legend } = {}) {
    const whole = h("div", { class: "stack tight", role: "group", "aria-label": legend ?? say("Skills", "技能") });
    const choose = next => {
        use = next;
        onchange(next);
        paint();
    };
    const toggle = name => {
        const has = use.some(u => u.name === name);
        if (several) choose(has ? use.filter(u => u.name !== name) : [...use, { name, weight: 1 }]);
        else choose(has && base ? [] : [{ name, weight: 1 }]);
    };
    const slider = entry => {
        const id = newId("weight"),
            output = h("output", { for: id }, entry.weight.toFixed(2));
        const range = h("input", {
            type: "range",
            id,
            min: "0",
            max: "2",
            step: "0.05",
            value: String(entry.weight),
            oninput: () => {
                output.textContent = Number(range.value).toFixed(2);
                use = use.map(u => (u.name === entry.name ? { ...u, weight: Number(range.value) } : u));
                onchange(use);
            },
        });
        return h("div", {}, h("label", { for: id }, entry.name), range, output);
    };
    const paint = () => {
        const focused = whole.contains(document.activeElement)
            ? [...whole.querySelectorAll("button")].indexOf(document.activeElement)
            : -1;
        fill(
            whole,
            h(
                "div",
                { class: "skills" },
                base
                    ? skillCard(
                          say("The model alone", "仅模型"),
                          say("no skill", "不使用技能"),
                          use.length === 0,
                          () => choose([]),
                          "start",
                      )
                    : null,
                state.adapters.map(a =>
                    skillCard(
                        a.name,
                        about(a),
                        use.some(u => u.name === a.name),
                        () => toggle(a.name),
                        "skill",
                    ),
                ),
            ),
            several && use.length ? h("div", { class: "weights" }, use.map(slider)) : null,
        );
        if (focused >= 0) whole.querySelectorAll("button")[focused]?.focus();
    };
    paint();
    return whole;
}
