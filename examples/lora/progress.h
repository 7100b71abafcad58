// How a run is shown: a live line on a terminal, a line now and then elsewhere; and what the run's summary needs.
#ifndef PROGRESS_H
#define PROGRESS_H

#include "app.h"

typedef struct progress_bar {
    const application *app;
    FILE *log; // --log FILE, or NULL
    bool terminal;
    double *rates; // tokens/s of each step after the first two
    size_t rate_count, rate_capacity;
    double begin, last_line;
    int64_t first_step;
    lora_step_info last;
    double last_eval; // NaN: none yet
    int64_t tokens;
} progress_bar;

void progress_init(progress_bar *progress, const application *app, FILE *log, int64_t first_step);
int32_t progress_step(const lora_step_info *info, void *user); // a lora_step_fn
void progress_end_line(const progress_bar *progress);          // what follows begins on a line of its own
void progress_free(progress_bar *progress);
double progress_rate(const progress_bar *progress);            // the median

#endif
