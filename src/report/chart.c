#include "src/report/chart.h"

#include <math.h>
#include <string.h>

#define WIDTH 720.0
#define HEIGHT 280.0
#define LEFT 64.0
#define RIGHT 16.0
#define TOP 16.0
#define BOTTOM 52.0
#define MOST_POINTS 600 // of a line; more are averaged in groups
#define MOST_TITLES 80

typedef struct scale {
    double low, high, step; // of the axis, step between ticks
    double from, to;        // on the drawing
} scale;

// Steps of 1, 2 or 5 times a power of ten (Heckbert 1990).
static double nice_step(double range, int ticks)
{
    double rough = range / ticks, power = pow(10, floor(log10(rough))), part = rough / power;
    return power * (part < 1.5 ? 1 : part < 3 ? 2 : part < 7 ? 5 : 10);
}

static scale make_scale(double low, double high, double from, double to, int ticks)
{
    if (!(high > low)) {
        double pad = fabs(low) > 0 ? fabs(low) * 0.1 : 1;
        low -= pad, high += pad;
    }
    double step = nice_step(high - low, ticks);
    return (scale){floor(low / step) * step, ceil(high / step) * step, step, from, to};
}

static double place(const scale *s, double value)
{
    return s->from + (value - s->low) / (s->high - s->low) * (s->to - s->from);
}

// ---- lines ---------------------------------------------------------------------------------------------------------

static bool extent(const lr_series *series, size_t count, double box[4])
{
    size_t points = 0;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < series[s].count; i++) {
            double x = series[s].x[i], y = series[s].y[i];
            if (!isfinite(x) || !isfinite(y) || fabs(y) > 1e30) continue;
            if (points++ == 0) box[0] = box[1] = x, box[2] = box[3] = y;
            box[0] = fmin(box[0], x), box[1] = fmax(box[1], x), box[2] = fmin(box[2], y), box[3] = fmax(box[3], y);
        }
    return points > 1;
}

static void draw_axes(lr_page *page, const scale *x, const scale *y, const char *x_name, const char *y_name)
{
    lr_put(page, "<g class=\"axis\">\n");
    for (int i = 0; i <= 20 && y->low + i * y->step <= y->high + y->step / 2; i++) {
        double value = y->low + i * y->step, at = place(y, value);
        lr_put_format(page,
                      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
                      "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.6g</text>\n",
                      x->from, at, x->to, at, x->from - 8, at + 4, fabs(value) < y->step / 1e6 ? 0 : value);
    }
    for (int i = 0; i <= 20 && x->low + i * x->step <= x->high + x->step / 1e6; i++) {
        double value = x->low + i * x->step;
        lr_put_format(page, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.6g</text>\n", place(x, value),
                      y->from + 20, value);
    }
    lr_put_format(page, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", (x->from + x->to) / 2,
                  HEIGHT - 6);
    lr_put_text(page, x_name);
    lr_put_format(page,
                  "</text><text class=\"name\" transform=\"translate(14 %.1f) rotate(-90)\" text-anchor=\"middle\">",
                  (y->from + y->to) / 2);
    lr_put_text(page, y_name);
    lr_put(page, "</text></g>\n");
}

// Points in groups of `group`: mean of x and y.
static bool point_of(const lr_series *s, size_t first, size_t group, double *x, double *y)
{
    double count = 0;
    *x = *y = 0;
    for (size_t i = first; i < first + group && i < s->count; i++)
        if (isfinite(s->x[i]) && isfinite(s->y[i]) && fabs(s->y[i]) <= 1e30) *x += s->x[i], *y += s->y[i], count++;
    *x /= count, *y /= count;
    return count > 0;
}

static void draw_mark(lr_page *page, const lr_series *s, double px, double py, double x, double y)
{
    lr_put_format(page, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"%s><title>", px, py, s->dots ? "4" : "7",
                  s->dots ? "" : " class=\"hover\"");
    lr_put_text(page, s->name);
    lr_put_format(page, "%s%.6g: %.5g</title></circle>", s->name ? " · " : "", x, y);
}

static void draw_series(lr_page *page, const lr_series *s, size_t number, const scale *sx, const scale *sy)
{
    size_t group = (s->count + MOST_POINTS - 1) / MOST_POINTS, points = group ? (s->count + group - 1) / group : 0;
    size_t every = (points + MOST_TITLES - 1) / MOST_TITLES;
    double x, y;
    lr_put_format(page, "<g class=\"s%zu\"><polyline points=\"", number);
    for (size_t i = 0; i < points; i++)
        if (point_of(s, i * group, group, &x, &y)) lr_put_format(page, "%.1f,%.1f ", place(sx, x), place(sy, y));
    lr_put(page, "\"/>");
    for (size_t i = 0; i < points; i += every)
        if (point_of(s, i * group, group, &x, &y)) draw_mark(page, s, place(sx, x), place(sy, y), x, y);
    lr_put(page, "</g>\n");
}

static void draw_legend(lr_page *page, const lr_series *series, size_t count)
{
    if (!series[0].name) return;
    lr_put(page, "<figcaption>");
    for (size_t s = 0; s < count; s++) {
        lr_put_format(page, "<span class=\"key s%zu\">", s);
        lr_put_text(page, series[s].name);
        lr_put(page, "</span> ");
    }
    lr_put(page, "</figcaption>\n");
}

static void begin_drawing(lr_page *page, const char *title, double height)
{
    page->charts++;
    lr_put_format(page,
                  "<figure><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-labelledby=\"c%d\"><title id=\"c%d\">",
                  WIDTH, height, page->charts, page->charts);
    lr_put_text(page, title);
    lr_put(page, "</title>\n");
}

void lr_draw_lines(lr_page *page, const char *title, const char *x_name, const char *y_name, const lr_series *series,
                   size_t count)
{
    double box[4];
    if (count > LR_CHART_SERIES) count = LR_CHART_SERIES;
    if (count == 0 || !extent(series, count, box)) return;
    scale x = make_scale(box[0], box[1], LEFT, WIDTH - RIGHT, 8),
          y = make_scale(box[2], box[3], HEIGHT - BOTTOM, TOP, 5);
    x.low = box[0];
    if (box[1] > box[0]) x.high = box[1], x.low = floor(box[0] / x.step) * x.step;
    begin_drawing(page, title, HEIGHT);
    draw_axes(page, &x, &y, x_name, y_name);
    for (size_t s = 0; s < count; s++) draw_series(page, &series[s], s, &x, &y);
    lr_put(page, "</svg>\n");
    draw_legend(page, series, count);
    lr_put(page, "</figure>\n");
}

// ---- bars ----------------------------------------------------------------------------------------------------------

static void draw_bar(lr_page *page, const lr_bar *bar, const scale *s, double top, int digits)
{
    double zero = place(s, s->low > 0 ? s->low : 0), end = place(s, bar->value);
    lr_put_format(page, "<g class=\"%s\"><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">",
                  bar->chosen ? "bar chosen" : "bar", s->from - 10, top + 15);
    lr_put_text(page, bar->name);
    lr_put_format(page, "</text><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"18\" rx=\"3\"><title>",
                  fmin(zero, end), top, fmax(1, fabs(end - zero)));
    lr_put_text(page, bar->name);
    lr_put_format(page, ": %.*f", digits, bar->value);
    bool interval = isfinite(bar->low) && isfinite(bar->high);
    if (interval) lr_put_format(page, " (%.*f – %.*f)", digits, bar->low, digits, bar->high);
    lr_put(page, "</title></rect>");
    if (interval)
        lr_put_format(page, "<path class=\"whisker\" d=\"M%.1f %.1fv8m0-4H%.1fm0-4v8\"/>", place(s, bar->low), top + 5,
                      place(s, bar->high));
    lr_put_format(page, "<text x=\"%.1f\" y=\"%.1f\">%.*f</text></g>\n",
                  fmax(end, interval ? place(s, bar->high) : end) + 8, top + 14, digits, bar->value);
}

void lr_draw_bars(lr_page *page, const char *title, const lr_bar *bars, size_t count, int digits)
{
    double low = 0, high = 0, height = 12 + 30.0 * (double)count, longest = 0;
    for (size_t i = 0; i < count; i++) {
        low = fmin(low, fmin(bars[i].value, isfinite(bars[i].low) ? bars[i].low : 0));
        high = fmax(high, fmax(bars[i].value, isfinite(bars[i].high) ? bars[i].high : 0));
        longest = fmax(longest, (double)strlen(bars[i].name));
    }
    if (count == 0) return;
    double left = fmin(260, fmax(90, 8.5 * longest + 16));
    scale s = make_scale(low, high, left, WIDTH - 80, 6);
    s.low = low, s.high = high > low ? high : low + 1;
    begin_drawing(page, title, height);
    for (size_t i = 0; i < count; i++) draw_bar(page, &bars[i], &s, 6 + 30.0 * (double)i, digits);
    lr_put(page, "</svg></figure>\n");
}
