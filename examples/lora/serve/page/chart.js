// Small charts drawn as SVG at the size they are shown in. Each says in words what it shows.
import { h, svg, fill } from "./dom.js";

const LEFT = 52,
    RIGHT = 14,
    TOP = 14,
    BOTTOM = 40,
    MOST_POINTS = 400;

// Round numbers that cover [low, high]: 1, 2 or 5 times a power of ten apart.
function ticks(low, high, wanted = 5) {
    if (!(high > low)) {
        low -= 0.5;
        high = low + 1;
    }
    const raw = (high - low) / wanted,
        power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find(m => m * power >= raw);
    const list = [];
    for (let i = Math.floor(low / step + 1e-9); i * step <= high + step * (1 - 1e-9); i++)
        list.push(Number((i * step).toPrecision(12)));
    return list;
}

// Many points become means of neighbours, so that drawing stays quick and the line readable.
function thinned(points) {
    const group = Math.ceil(points.length / MOST_POINTS);
    if (group <= 1) return points;
    const out = [];
    for (let i = 0; i < points.length; i += group) {
        const part = points.slice(i, i + group);
        out.push([part.at(-1)[0], part.reduce((sum, p) => sum + p[1], 0) / part.length]);
    }
    return out;
}

function drawLines(place, { series, xLabel, label, height = 280 }) {
    const width = Math.max(260, place.clientWidth || 640);
    const all = series.flatMap(s => s.points).filter(p => Number.isFinite(p[1]));
    if (!all.length) return fill(place);
    const xs = ticks(Math.min(...all.map(p => p[0])), Math.max(...all.map(p => p[0])), width > 500 ? 8 : 4).filter(
        Number.isInteger,
    );
    const ys = ticks(Math.min(...all.map(p => p[1])), Math.max(...all.map(p => p[1])));
    const [x0, x1] = [Math.min(xs[0] ?? 0, all[0][0]), Math.max(...all.map(p => p[0]), (xs[0] ?? 0) + 1)],
        [y0, y1] = [ys[0], ys.at(-1)];
    const x = v => LEFT + ((v - x0) / (x1 - x0)) * (width - LEFT - RIGHT),
        y = v => height - BOTTOM - ((v - y0) / (y1 - y0)) * (height - TOP - BOTTOM);
    const path = points => points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
    fill(
        place,
        svg(
            "svg",
            { class: "chart", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label },
            ys.map(v => [
                svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v) }),
                svg("text", { x: LEFT - 8, y: y(v) + 4, "text-anchor": "end" }, String(v)),
            ]),
            xs
                .filter(v => v >= x0 && v <= x1)
                .map(v => svg("text", { x: x(v), y: height - BOTTOM + 20, "text-anchor": "middle" }, String(v))),
            svg("text", { x: width - RIGHT, y: height - 4, "text-anchor": "end" }, xLabel),
            series.map((s, i) => {
                const points = thinned(s.points.filter(p => Number.isFinite(p[1])));
                return [
                    svg("path", { class: `series series-${i + 1}`, d: path(points) }),
                    s.dots || points.length === 1
                        ? points.map(([a, b]) =>
                              svg(
                                  "circle",
                                  { class: `point-${i + 1}`, cx: x(a), cy: y(b), r: 4 },
                                  svg("title", {}, `${s.name} ${b.toFixed(3)}`),
                              ),
                          )
                        : null,
                ];
            }),
        ),
    );
}

// series: [{name, points: [[x, y]…], dots}]; update(series, label) draws anew.
export function lineChart({ xLabel }) {
    const place = h("div", { class: "chart-place" }),
        legend = h("ul", { class: "legend" }),
        whole = h("figure", {}, place, legend);
    let current = { series: [], xLabel, label: "" },
        due = false;
    const draw = () => {
        due = false;
        drawLines(place, current);
        fill(
            legend,
            current.series
                .filter(s => s.points.length)
                .map((s, i) => h("li", {}, h("span", { class: `swatch fill-${i + 1}` }), s.name)),
        );
    };
    whole.update = (series, label) => {
        current = { series, xLabel, label };
        if (!due) {
            due = true;
            requestAnimationFrame(draw);
        }
    };
    new ResizeObserver(() => current.series.length && draw()).observe(whole);
    return whole;
}

// Horizontal bars, one a row: [{name, value, best}], with the value written out.
export function bars(rows, { label, format }) {
    const most = Math.max(...rows.map(r => r.value), 1e-12);
    return h(
        "div",
        { class: "bars", role: "group", "aria-label": label },
        rows.map(r => [
            h("span", {}, r.name),
            h(
                "div",
                { class: r.best ? "best" : null },
                h("span", { class: "bar", style: { width: `${(r.value / most) * 75}%` } }),
                format(r.value),
            ),
        ]),
    );
}
