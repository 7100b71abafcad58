// The page speaks English and Chinese: both texts stand side by side where they are used, as in the rest of the
// program.

export function recall(key, fallback = null) {
    try {
        return localStorage.getItem(key) ?? fallback;
    } catch {
        return fallback;
    }
}

export function remember(key, value) {
    try {
        value === null ? localStorage.removeItem(key) : localStorage.setItem(key, value);
    } catch {
        /* private window */
    }
}

const chosen = recall("language");
let language =
    chosen === "zh" || chosen === "en"
        ? chosen
        : (navigator.language || "en").toLowerCase().startsWith("zh")
          ? "zh"
          : "en";

export const currentLanguage = () => language;

export function setLanguage(name) {
    language = name;
    remember("language", name);
    dispatchEvent(new Event("reword")); // the page is written anew
}

export const say = (english, chinese) => (language === "zh" ? chinese : english);

// A text that the server gives in both languages, or a plain string.
export const both = text =>
    text == null ? "" : typeof text === "string" ? text : String(text[language] ?? text.en ?? "");

// ---- figures --------------------------------------------------------------------------------------------------------

export const count = n => new Intl.NumberFormat(language).format(n);

export function decimal(value, digits = 2) {
    return typeof value === "number" && Number.isFinite(value) ? value.toFixed(digits) : "–";
}

export function percent(value, digits = 0) {
    return typeof value === "number" ? `${(value * 100).toFixed(digits)} %` : "–";
}

export function size(bytes) {
    if (typeof bytes !== "number") return "–";
    const units = ["B", "KB", "MB", "GB", "TB"];
    let unit = 0;
    for (; bytes >= 1000 && unit < units.length - 1; unit++) bytes /= 1000;
    return `${bytes >= 100 || unit === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}

export function parameters(n) {
    if (typeof n !== "number") return "–";
    if (language === "zh")
        return n >= 1e8
            ? `${decimal(n / 1e8, 1)} 亿`
            : n >= 1e4
              ? `${decimal(n / 1e4, n >= 1e6 ? 0 : 1)} 万`
              : String(n);
    return n >= 1e9 ? `${decimal(n / 1e9, 1)} billion` : n >= 1e6 ? `${decimal(n / 1e6, 1)} million` : count(n);
}

export function duration(seconds) {
    if (typeof seconds !== "number" || !(seconds >= 0)) return "–";
    if (seconds < 1) return say("under a second", "不到一秒");
    if (seconds < 60) return say(`${Math.round(seconds)} s`, `${Math.round(seconds)} 秒`);
    const minutes = Math.round(seconds / 60);
    if (minutes < 60) return say(`${minutes} min`, `${minutes} 分钟`);
    return say(
        `${Math.floor(minutes / 60)} h ${minutes % 60} min`,
        `${Math.floor(minutes / 60)} 小时 ${minutes % 60} 分钟`,
    );
}

// Moments come as ISO texts or as seconds since 1970.
export function moment(value) {
    if (value == null) return "";
    const date = new Date(typeof value === "number" ? value * 1000 : value);
    return Number.isNaN(date.getTime())
        ? ""
        : new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(date);
}
