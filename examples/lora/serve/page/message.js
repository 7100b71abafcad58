// How one message of a conversation is shown.
import { h } from "./dom.js";
import { say } from "./say.js";
import { button, copyButton } from "./parts.js";
import { skillNames } from "./skills.js";

function bubble(who, text, kind, actions) {
    const place = h("div", { class: "text", dir: "auto" }, text);
    const whole = h("div", { class: `message ${kind}` }, h("div", { class: "who" }, who), place, actions);
    whole.grow = piece => place.append(piece);
    return whole;
}

// again(): asks anew; null where that makes no sense. The view has grow(side, text) for an answer that is still coming.
export function messageView(message, again) {
    if (message.role !== "assistant")
        return bubble(message.role === "user" ? say("You", "您") : message.role, message.content, "user", null);
    const finished = message.content || message.other?.content;
    const actions = text =>
        finished ? h("div", { class: "actions" }, copyButton(text)) : h("div", { class: "actions" });
    const bubbles = [
        bubble(skillNames(message.adapters ?? []), message.content, "assistant", actions(message.content)),
    ];
    if (message.other)
        bubbles.push(
            bubble(
                skillNames(message.other.adapters),
                message.other.content,
                "assistant",
                actions(message.other.content),
            ),
        );
    if (again)
        bubbles[0]
            .querySelector(".actions")
            .append(button(say("Ask again", "重新回答"), { kind: "quiet small", icon: "again", onclick: again }));
    const whole = message.other ? h("div", { class: "pair" }, bubbles) : bubbles[0];
    const grows = bubbles.map(b => b.grow);
    whole.grow = (side, piece) => grows[side](piece);
    return whole;
}
