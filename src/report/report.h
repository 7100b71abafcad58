// The report: parts in the order in which they were added, each with a function that shows it.
//
//   report.c          the handle, the page around the parts   page.c      text, numbers, tables
//   chart.c           drawings                                 style.c     CSS
//   part_train.c      train, log, samples                      part_compare.c, part_evaluate.c, part_ab.c, part_check.c
#ifndef LR_REPORT_H
#define LR_REPORT_H

#include "src/report/chart.h"
#include "src/report/page.h"

extern const char *const lr_report_style[]; // lines, ended by NULL

// Each shows what its document holds and leaves out what it lacks.
void lr_show_train(lr_page *page, const json_t *document);
void lr_show_log(lr_page *page, const json_t *lines); // a list of the log's objects
void lr_show_samples(lr_page *page, const json_t *samples);
void lr_show_evaluate(lr_page *page, const json_t *document);
void lr_show_compare(lr_page *page, const json_t *document);
void lr_show_ab(lr_page *page, const json_t *document);
void lr_show_check(lr_page *page, const json_t *document);

// The numbers of `y_key` over `x_key` in a list of objects that have both; the caller frees both arrays with lr_free.
lora_status lr_curve_of(const lora_allocator *allocator, const json_t *list, const char *x_key, const char *y_key,
                        double **x, double **y, size_t *count);

#endif
