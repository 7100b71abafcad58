// Jobs: work that the server does one after another while chat goes on.
import { h, fill } from "./dom.js";
import { say, both, moment } from "./say.js";
import { get, post, remove, url, listen, saveFile } from "./api.js";
import { refresh, isActive, watch } from "./store.js";
import { actionButton, announce, confirm, errorPlace, linkButton, progress, toast } from "./parts.js";

const PLACES = { train: "train", evaluate: "evaluate", compare: "compare", ab: "ab", merge: "export" };
const jobAddress = job => `#/${PLACES[job.kind] ?? ""}/${encodeURIComponent(job.id)}`;

const KINDS = {
    train: () => say("Training", "训练"),
    evaluate: () => say("Evaluation", "评测"),
    compare: () => say("Comparison", "对比"),
    ab: () => say("Blind test", "盲测"),
    merge: () => say("Export", "导出"),
};
const kindName = job => KINDS[job.kind]?.() ?? job.kind;

const STATES = {
    queued: () => say("waiting its turn", "排队中"),
    running: () => say("running", "进行中"),
    stopping: () => say("stopping", "正在停止"),
    stopped: () => say("stopped", "已停止"),
    done: () => say("done", "已完成"),
    failed: () => say("failed", "失败"),
};
const stateName = job => STATES[job.state]?.() ?? job.state;

const stateBadge = job => h("span", { class: `badge ${job.state}` }, stateName(job));

// One line with a link: what it is, how far it is.
export function jobLine(job) {
    return h(
        "div",
        { class: "job-line" },
        h("a", { href: jobAddress(job) }, `${kindName(job)}: ${job.name}`),
        stateBadge(job),
        isActive(job)
            ? progress(job.progress, `${kindName(job)} ${job.name}`)
            : h("span", { class: "soft" }, moment(job.finished ?? job.created)),
    );
}

export const newest = (state, kind) =>
    state.jobs.filter(job => job.kind === kind).sort((a, b) => (String(b.created) < String(a.created) ? -1 : 1));

// The runs of a kind so far, kept up to date while the page is shown.
export function runsSoFar(kind, title, signal) {
    const place = h("div", {});
    watch(state => {
        const jobs = newest(state, kind);
        const lines = jobs.map(job => h("li", {}, jobLine(job)));
        fill(
            place,
            h(
                "section",
                { class: "stack tight" },
                h("h2", {}, title),
                jobs.length
                    ? h("ul", { class: "plain job-list" }, lines)
                    : h("p", { class: "soft" }, say("None yet.", "还没有。")),
            ),
        );
    }, signal);
    return place;
}

// ---- starting -------------------------------------------------------------------------------------------------------

// `key` keeps one press, one job: the server's answer takes the page to the job.
export async function startJob(kind, name, settings) {
    const job = await post("/api/jobs", { kind, name, settings });
    await refresh().catch(() => {});
    location.hash = jobAddress(job);
    return job;
}

// A name that nothing here has yet: report, report-2, report-3 …
export function freeName(stem, taken) {
    const clean =
        stem
            .replace(/[^\p{L}\p{N}_.-]+/gu, "-")
            .replace(/^[-.]+|[-.]+$/g, "")
            .slice(0, 56) || "skill";
    let name = clean;
    for (let i = 2; taken.includes(name); i++) name = `${clean}-${i}`;
    return name;
}

// ---- following ------------------------------------------------------------------------------------------------------

const pause = (ms, signal) =>
    new Promise(resolve => {
        const timer = setTimeout(resolve, ms);
        signal.addEventListener(
            "abort",
            () => {
                clearTimeout(timer);
                resolve();
            },
            { once: true },
        );
    });

// Calls on.restart() when the events begin anew, on.step(step), on.progress(progress), on.state(job), until rests().
// A connection that breaks is made again; the server replays what was missed.
async function follow(id, on, rests, signal) {
    while (!signal.aborted) {
        try {
            on.restart?.();
            for await (const { event, data } of listen(url("api", "jobs", id, "events"), signal)) on[event]?.(data);
            if (rests()) return;
        } catch (error) {
            if (error.name === "AbortError" || error.status >= 400) return;
        }
        await pause(1500, signal);
    }
}

// The frame of a job's page: name, state, progress, stop / resume / delete. show(job, place) fills what is below.
export async function jobPage(root, id, { signal, back, on = {}, show }) {
    let job = await get(url("api", "jobs", id), signal);
    const title = h("h1", { tabindex: "-1" }, job.name),
        badge = h("span", {}),
        message = h("p", { class: "lead" });
    const bar = progress(job.progress, say("Progress", "进度")),
        controls = h("div", { class: "row" }),
        place = errorPlace(),
        below = h("div", { class: "stack" });
    fill(
        root,
        linkButton(back.label, back.href, { kind: "quiet back", icon: "back" }),
        h("div", { class: "heading" }, h("div", {}, h("div", { class: "row tight" }, title, badge), message), controls),
        bar,
        place,
        below,
    );

    const act = (text, name, kind, work) => actionButton(text, { icon: name, kind }, work, place);
    const paint = () => {
        fill(badge, stateBadge(job));
        message.textContent = isActive(job) ? both(job.message) : "";
        bar.hidden = !isActive(job);
        bar.set(job.progress);
        fill(
            controls,
            job.state === "running" || job.state === "queued"
                ? act(say("Stop", "停止"), "stop", "", () => post(url("api", "jobs", id, "stop"))) // the events tell
                : null,
            job.state === "stopped" || job.state === "failed"
                ? act(say("Go on", "继续"), "play", "primary", async () => {
                      update(await post(url("api", "jobs", id, "resume")));
                  })
                : null,
            job.report
                ? act(say("Report", "报告"), "export", "", () =>
                      saveFile(url("api", "jobs", id, "report"), `${job.name}.html`),
                  )
                : null,
            isActive(job)
                ? null
                : act(say("Delete", "删除"), "trash", "quiet", async () => {
                      if (
                          !(await confirm(
                              say("Delete this run?", "删除这次运行？"),
                              say(
                                  "Its log, its figures and its checkpoints go. What it made (a skill, an " +
                                      "export) stays.",
                                  "它的日志、数据和检查点将被删除；它产生的技能或导出文件会保留。",
                              ),
                              say("Delete", "删除"),
                              { danger: true },
                          ))
                      )
                          return;
                      await remove(url("api", "jobs", id));
                      await refresh();
                      location.hash = back.href;
                      toast(say("Deleted.", "已删除。"));
                  }),
        );
        if (job.state === "failed" && job.error) place.show(new Error(both(job.error)));
        else place.clear();
    };
    let following = false;
    const begin = () => {
        if (following) return;
        following = true;
        follow(
            id,
            {
                ...on,
                progress: data => {
                    Object.assign(job, data);
                    paintProgress();
                },
                state: update,
            },
            () => !isActive(job),
            signal,
        ).finally(() => {
            following = false;
            if (!signal.aborted) refresh().catch(() => {});
        });
    };
    const paintProgress = () => {
        bar.set(job.progress);
        message.textContent = both(job.message);
    };
    async function update(next) {
        const before = job.state;
        job = { ...job, ...next };
        if (before !== job.state) announce(`${job.name}: ${stateName(job)}`);
        paint();
        if (before !== job.state && !isActive(job)) {
            job = await get(url("api", "jobs", id), signal);
            show(job, below);
        } else if (isActive(job)) begin();
    }
    paint();
    show(job, below);
    begin();
}
