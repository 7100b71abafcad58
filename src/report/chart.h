// Drawings in SVG: lines over steps, and values with their intervals. Colours come from the page's style; what a point
// says stands in a <title>, so that no script is needed.
#ifndef LR_CHART_H
#define LR_CHART_H

#include "src/report/page.h"

#define LR_CHART_SERIES 8

typedef struct lr_series {
    const char *name; // foreign text; NULL: the chart has no legend
    const double *x, *y; // [count]; a y that is not finite is left out
    size_t count;
    bool dots;        // few points: with marks; else a plain line
} lr_series;

// Nothing is drawn when no series has two points.
void lr_draw_lines(lr_page *page, const char *title, const char *x_name, const char *y_name, const lr_series *series,
                   size_t count);

typedef struct lr_bar {
    const char *name; // foreign text
    double value, low, high; // low, high: NaN without an interval
    bool chosen;
} lr_bar;

// Horizontal, from zero (or the lowest end when below).
void lr_draw_bars(lr_page *page, const char *title, const lr_bar *bars, size_t count, int digits);

#endif
