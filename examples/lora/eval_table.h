// An evaluation's document on a terminal: scores with intervals, classes, the baseline, the checklist.
#ifndef EVAL_TABLE_H
#define EVAL_TABLE_H

#include "app.h"

// `all`: scores of texts even where answers are classes, which they say little about. `samples`: each sample that has a
// hint.
void print_evaluation(const application *app, const json_t *document, bool all, bool samples);

#endif
