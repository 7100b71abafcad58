// The settings that `lora compare` tries: every combination of the values that its options list.
#ifndef COMPARE_GRID_H
#define COMPARE_GRID_H

#include "train_settings.h"

typedef struct compare_settings {
    train_settings train; // what all settings share
    text_list ranks, alphas, rates, full_rates, dropouts, epochs, general;
    const char *targets, *report; // `targets`: "q_proj,v_proj;all-linear"
    int64_t seeds, answers, max_new_tokens;
} compare_settings;

// One setting of the grid, as the library takes it.
typedef struct grid_entry {
    char name[65];
    train_settings train;
    train_plan plan;
} grid_entry;

typedef struct grid {
    grid_entry *entries;
    size_t count;
} grid;

// Options of `lora train`, but for those that a comparison sets itself, with lists where they are compared.
const option *compare_options(void);

// Complains and returns EXIT_USAGE when a value makes no sense. Free with grid_free in either case.
int make_grid(const application *app, compare_settings *settings, grid *out);
void grid_free(grid *g);

#endif
