// Talks to the server: JSON calls, event streams, files. A failure is an ApiError whose message can be shown as it is.
import { say, currentLanguage } from "./say.js";

export class ApiError extends Error {
    constructor(message, status, details = {}) {
        super(message);
        Object.assign(this, { status, code: details.code, param: details.param });
    }
    get gone() {
        return this.status === 0;
    } // the server did not answer at all
}

// "online" and "offline" as the server comes and goes; "locked" when it asks for its token.
export const connection = new EventTarget();
let online = true;
function note(answers) {
    if (answers !== online) connection.dispatchEvent(new Event(answers ? "online" : "offline"));
    online = answers;
}

// ---- the token: from the address, kept for this tab -----------------------------------------------------------------

export function setToken(token) {
    sessionStorage.setItem("token", token);
}

export const hasToken = () => sessionStorage.getItem("token") !== null;

function headers(type) {
    const all = { "Accept-Language": currentLanguage() };
    if (hasToken()) all.Authorization = `Bearer ${sessionStorage.getItem("token")}`;
    if (type) all["Content-Type"] = type;
    return all;
}

// ---- calls ----------------------------------------------------------------------------------------------------------

async function complaint(response) {
    let error = {};
    try {
        error = (await response.json()).error ?? {};
    } catch {
        /* no JSON: the status has to do */
    }
    if (response.status === 401) connection.dispatchEvent(new Event("locked"));
    const wait = Number(response.headers.get("Retry-After"));
    let message = error.message || say(`The server answered ${response.status}.`, `服务器返回了 ${response.status}。`);
    if (response.status === 429)
        message = say(
            `The server is busy. Please try again${wait ? ` in ${wait} s` : " soon"}.`,
            `服务器正忙，请${wait ? ` ${wait} 秒后` : "稍后"}再试。`,
        );
    return new ApiError(message, response.status, error);
}

async function request(method, path, { body, type, signal } = {}) {
    let response;
    try {
        response = await fetch(path, { method, body, signal, headers: headers(type), cache: "no-store" });
    } catch (error) {
        if (error.name === "AbortError") throw error;
        note(false);
        throw new ApiError(
            say(
                "The server does not answer. Is “lora serve” still running?",
                "服务器没有响应。“lora serve” 还在运行吗？",
            ),
            0,
        );
    }
    note(true);
    if (!response.ok) throw await complaint(response);
    return response;
}

async function json(response) {
    const text = await response.text();
    return text ? JSON.parse(text) : null;
}

const send = (method, path, value, signal) =>
    request(method, path, { body: JSON.stringify(value ?? {}), type: "application/json", signal }).then(json);

export const get = (path, signal) => request("GET", path, { signal }).then(json);
export const post = (path, value, signal) => send("POST", path, value, signal);
export const put = (path, value, signal) => send("PUT", path, value, signal);
export const remove = path => send("DELETE", path);
export const upload = (path, body, type) => request("PUT", path, { body, type }).then(json);

// A path from plain words and names: url("api", "datasets", name).
export const url = (...words) => "/" + words.map(encodeURIComponent).join("/");

// ---- event streams --------------------------------------------------------------------------------------------------

// The events of a response as {event, data}, data parsed; ends with the stream.
async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        rest += value.replaceAll("\r\n", "\n");
        for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
            const found = { event: "message", data: "" };
            for (const line of rest.slice(0, end).split("\n")) {
                const match = /^(event|data): ?(.*)$/.exec(line);
                if (match)
                    found[match[1]] = match[1] === "data" && found.data ? `${found.data}\n${match[2]}` : match[2];
            }
            if (found.data === "[DONE]") return;
            if (found.data) yield { event: found.event, data: JSON.parse(found.data) };
        }
    }
}

export async function* listen(path, signal) {
    yield* events(await request("GET", path, { signal }));
}

export async function* stream(path, value, signal) {
    yield* events(await request("POST", path, { body: JSON.stringify(value), type: "application/json", signal }));
}

// ---- files ----------------------------------------------------------------------------------------------------------

export async function saveFile(path, name) {
    let address = path;
    if (hasToken()) address = URL.createObjectURL(await (await request("GET", path)).blob());
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    if (address !== path) setTimeout(() => URL.revokeObjectURL(address), 60000);
}
