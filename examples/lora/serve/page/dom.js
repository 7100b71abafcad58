// Elements are made from data, never from markup: whatever a text holds, it is shown as text.
const PROPERTIES = new Set([
    "value",
    "checked",
    "disabled",
    "hidden",
    "open",
    "required",
    "multiple",
    "selected",
    "readOnly",
    "tabIndex",
]);

function apply(element, name, value) {
    if (value == null || (value === false && !PROPERTIES.has(name))) return;
    if (name.startsWith("on") && typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
}

function append(element, children) {
    for (const child of children.flat(Infinity))
        if (child != null && child !== false) element.append(child instanceof Node ? child : String(child));
}

function build(element, properties, children) {
    append(element, children); // before the properties: a select's value needs its options
    for (const [name, value] of Object.entries(properties ?? {})) apply(element, name, value);
    return element;
}

export const h = (tag, properties, ...children) => build(document.createElement(tag), properties, children);
export const svg = (tag, attributes, ...children) =>
    build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

export function fill(element, ...children) {
    element.replaceChildren();
    append(element, children);
    return element;
}

let lastId = 0;
export const newId = stem => `${stem}-${++lastId}`;

// ---- icons: strokes on a grid of 24 ---------------------------------------------------------------------------------
const ICONS = {
    start: "M4 11 12 4l8 7M6 9.5V20h12V9.5M10 20v-6h4v6",
    data: "M4 5h16v14H4zM4 10h16M4 14.5h16M10 10v9",
    train: "M4 20V4M4 20h16M7 8c3 0 3 8 7 8 3 0 3-2 6-2",
    chat: "M4 5h16v11H10l-4 4v-4H4z",
    evaluate: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M8 12l3 3 5-6",
    compare: "M5 20v-7M12 20V5M19 20v-10M3 20h18",
    ab: "M12 4v16M8 20h8M5 7h14M5 7l-3 7h6zM19 7l-3 7h6z",
    export: "M12 4v11M7 11l5 5 5-5M4 20h16",
    learn: "M12 7c-2-2-5-2-8-2v13c3 0 6 0 8 2 2-2 5-2 8-2V5c-3 0-6 0-8 2zM12 7v13",
    settings: "M4 7h10M18 7h2M4 17h2M10 17h10M16 4.5v5M8 14.5v5",
    plus: "M12 5v14M5 12h14",
    trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
    copy: "M9 9h11v11H9zM5 15H4V4h11v1",
    stop: "M7 7h10v10H7z",
    again: "M19 12a7 7 0 1 1-2-5M19 4v4h-4",
    play: "M8 5l11 7-11 7z",
    close: "M6 6l12 12M18 6L6 18",
    menu: "M4 7h16M4 12h16M4 17h16",
    upload: "M12 20V8M7 12l5-5 5 5M4 4h16",
    edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
    check: "M5 12l5 5 9-10",
    warn: "M12 4 2.5 20h19zM12 10v4M12 17v.5",
    info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 11v5M12 8v.5",
    undo: "M9 6 4 11l5 5M4 11h10a5 5 0 0 1 0 10h-3",
    send: "M4 12 20 4l-5 16-4-6zM11 14l9-10",
    columns: "M4 5h16v14H4zM12 5v14",
    skill: "M12 3l2.5 6.5L21 12l-6.5 2.5L12 21l-2.5-6.5L3 12l6.5-2.5z",
    mix: "M5 4v16M12 4v16M19 4v16M3 9h4M10 15h4M17 8h4",
    next: "M5 12h14M13 6l6 6-6 6",
    back: "M19 12H5M11 6l-6 6 6 6",
    sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5 19 19M5 19l1.5-1.5M17.5 6.5 19 5",
    moon: "M20 14A8 8 0 0 1 10 4a8 8 0 1 0 10 10z",
};

export function icon(name) {
    return svg(
        "svg",
        { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" },
        svg("path", { d: ICONS[name] }),
    );
}
