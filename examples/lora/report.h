// --report FILE.html of the verbs.
#ifndef REPORT_H
#define REPORT_H

#include "app.h"

// Complains when FILE is there already and --force was not given. `path` may be NULL.
int check_report(const application *app, const char *path);
// One part: its kind as in lora/report.h, and its JSON.
typedef struct report_part {
    const char *kind, *json;
} report_part;
// Writes the page and says so. Parts without JSON are passed over.
int write_report(const application *app, const char *path, const report_part *parts, size_t count);

#endif
