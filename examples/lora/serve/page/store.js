// What the server has: /api/state, asked for now and then while the page is seen, and at once after a change.
import { get } from "./api.js";

const RUNNING_MS = 3000,
    RESTING_MS = 15000,
    GONE_MS = 2000;
const changes = new EventTarget();
export const store = { state: null };
let timer = 0,
    running = null;

const activeStates = new Set(["queued", "running", "stopping"]);
export const isActive = job => activeStates.has(job.state);

export function watch(callback, signal) {
    changes.addEventListener("change", () => callback(store.state), { signal });
    if (store.state) callback(store.state);
}

function plan(delay) {
    clearTimeout(timer);
    timer = setTimeout(() => document.hidden || refresh().catch(() => {}), delay);
}

async function load() {
    try {
        const state = await get("/api/state");
        const changed = JSON.stringify(state) !== JSON.stringify(store.state);
        store.state = state;
        if (changed) changes.dispatchEvent(new Event("change"));
        plan(state.jobs.some(isActive) ? RUNNING_MS : RESTING_MS);
    } catch (error) {
        plan(error.status ? RESTING_MS : GONE_MS);
        throw error;
    }
}

export function refresh() {
    running ??= load().finally(() => {
        running = null;
    });
    return running;
}

document.addEventListener("visibilitychange", () => document.hidden || refresh().catch(() => {}));
