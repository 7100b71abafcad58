// --report of `lora train`: summary, settings, data, curves, and a few answers before and after.
#ifndef TRAIN_REPORT_H
#define TRAIN_REPORT_H

#include "train_settings.h"

typedef struct train_report {
    const application *app;
    const train_settings *settings;
    const lora_model *model;
    const lora_adapter *adapter;
    const lora_dataset *data, *samples; // `samples`: rows whose prompts are answered
    const char *log;                    // JSON lines
} train_report;

// `summary` is what --json prints; the reference is taken.
int write_train_report(const train_report *r, json_t *summary);

#endif
