// Asks the model, streamed.
import { post, stream, url, ApiError } from "./api.js";
import { refresh, store } from "./store.js";

// What one side of a conversation has seen so far: the questions, and its own answers.
export function past(messages, side, system) {
    const list = messages.map(m => ({ role: m.role, content: side === 1 && m.other ? m.other.content : m.content }));
    return system.trim() ? [{ role: "system", content: system.trim() }, ...list] : list;
}

async function makeReady(use) {
    const resting = use.filter(u => store.state.adapters.find(a => a.name === u.name)?.loaded === false);
    for (const { name } of resting) await post(url("api", "adapters", name, "load"));
    if (resting.length) await refresh();
}

// `use` is [{name, weight}]; onText(piece) as it comes.
export async function answer(use, messages, { temperature, longest }, onText, signal) {
    await makeReady(use);
    const single = use.length === 1 && use[0].weight === 1;
    const request = {
        model: single ? use[0].name : store.state.model.name,
        messages,
        stream: true,
        temperature,
        max_tokens: longest,
        ...(use.length && !single ? { adapters: use } : {}),
    };
    for await (const { data } of stream("/v1/chat/completions", request, signal)) {
        if (data.error) throw new ApiError(data.error.message, 500, data.error);
        const text = data.choices?.[0]?.delta?.content;
        if (text) onText(text);
    }
}
