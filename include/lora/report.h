/** @file report.h
 *  One self-contained HTML file that shows what a run did: curves, figures, answers before and after, settings.
 *
 *  The page holds its style and its drawings (SVG); it asks for nothing from outside, runs no script, is readable in
 *  light and dark, prints, and opens from disk. Every text that comes from data, models or settings is escaped.
 */
#ifndef LORA_REPORT_H
#define LORA_REPORT_H

#include "context.h"

LORA_BEGIN_DECLS

typedef struct lora_report lora_report;

typedef struct lora_report_options {
    size_t struct_size;
    const char *title;    /**< NULL: made from the parts. Copied */
    const char *language; /**< "en" (default) or "zh" */
} lora_report_options;

LORA_API void lora_report_options_init(lora_report_options *options, size_t struct_size);
#define lora_report_options_init(options) lora_report_options_init(options, sizeof *(options))

/** Errors: ARGUMENT (another language), MEMORY. */
LORA_API lora_status lora_report_create(lora_context *context, const lora_report_options *options, lora_report **out);
LORA_API void lora_report_free(lora_report *report);

/** Adds a part; parts are shown in the order in which they are added. What a document lacks is left out. `kind`:
 *
 *      "train"     an object: summary of a run (`steps`, `loss`, `eval_loss`, `tokens_per_second`, `seconds`,
 *                  `peak_memory_bytes`, `trainable_params`, `all_params`, `output`, `diagnosis`), and where there are
 *                  any: `model` and `settings` and `data` (objects of plain values), `general` ({`before`, `after`}),
 *                  `samples`
 *      "log"       JSON lines as `lora train --log` writes them: `step`, `loss`, `learning_rate`, `grad_norm`,
 *                  `tokens_per_second`, `eval_loss`, `memory`
 *      "samples"   a list of {`prompt`, `reference`, `before`, `after`}
 *      "evaluate"  the document of an evaluation
 *      "compare"   the document of lora_comparison_json
 *      "ab"        the document of lora_ab_json
 *      "check"     the document of a data check
 *
 *  Errors: ARGUMENT (another kind), FORMAT (no JSON, or of another shape: names the kind), MEMORY. */
LORA_API lora_status lora_report_add(lora_report *report, const char *kind, const char *json, size_t length);

/** The page, UTF-8, zero-terminated; lent until the report's next call. Errors: STATE (no part), MEMORY. */
LORA_API lora_status lora_report_html(lora_report *report, const char **html, size_t *length);
/** Written whole or not at all. Errors: those of lora_report_html, EXISTS (without `overwrite`), IO. */
LORA_API lora_status lora_report_save(lora_report *report, const char *path, int32_t overwrite);

LORA_END_DECLS
#endif
