// The comparison as one JSON document: what comparison.json holds, with the figures worked out.
#include "src/eval/answer.h"
#include "src/compare/comparison.h"
#include "src/compare/prompt.h"

#include "src/core/validate.h"

#include <math.h>

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *interval(double low, double high)
{
    return json_pack("[o, o]", real_or_null(low), real_or_null(high));
}

static json_t *make_figures(const lora_comparison_row *row)
{
    static const char *const states[] = {"waiting", "done", "failed"};
    json_t *quality = json_pack(
        "{s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "state", states[row->state], "full", row->full,
        "loss", real_or_null(row->loss), "loss_interval", interval(row->loss_low, row->loss_high), "loss_spread",
        real_or_null(row->loss_spread), "general_loss", real_or_null(row->general_loss), "bleu",
        real_or_null(row->bleu), "rougeL", real_or_null(row->rouge_l), "chrf", real_or_null(row->chrf), "gain_share",
        real_or_null(row->gain_share), "gain_share_interval", interval(row->gain_share_low, row->gain_share_high));
    json_t *costs =
        json_pack("{s:s*, s:s*, s:I, s:f, s:I, s:I, s:s, s:I, s:o, s:o}", "path", row->path, "failure", row->failure,
                  "trainable_parameters", (json_int_t)row->trainable_parameters, "parameter_share",
                  row->parameter_share, "file_bytes", (json_int_t)row->file_bytes, "peak_memory_bytes",
                  (json_int_t)row->peak_memory_bytes, "peak_memory_source",
                  row->peak_source == LORA_PEAK_MEASURED ? "measured" : "planned", "steps", (json_int_t)row->steps,
                  "seconds", real_or_null(row->seconds), "tokens_per_second", real_or_null(row->tokens_per_second));
    if (quality) json_object_update(quality, costs);
    json_decref(costs);
    return quality;
}

static json_t *make_settings(lora_comparison *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->setting_count; i++) {
        const lr_setting *setting = &c->settings[i];
        lora_comparison_row row = {0};
        json_t *figures = lr_comparison_fill_row(c, i, &row) == LORA_OK ? make_figures(&row) : NULL;
        json_t *entry = json_pack("{s:s, s:o, s:O, s:O}", "name", setting->name, "figures", figures, "options",
                                  setting->options, "runs", setting->runs);
        if (json_array_append_new(list, entry) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

// The base with its figures beside what was measured.
static json_t *make_base(lora_comparison *c)
{
    lora_comparison_row row = {0};
    if (!c->base) return json_null();
    json_t *base = json_copy(c->base);
    json_t *figures = lr_comparison_fill_base(c, &row) == LORA_OK ? make_figures(&row) : NULL;
    if (base && figures && json_object_set_new(base, "figures", figures) == 0) return base;
    json_decref(base);
    return NULL;
}

static json_t *name_of(const lora_comparison *c, int64_t index)
{
    return index < 0 ? json_null() : json_string(c->settings[index].name);
}

static json_t *make_verdict(lora_comparison *c)
{
    lora_comparison_verdict v = {0};
    if (lr_comparison_fill_verdict(c, &v) != LORA_OK) return NULL;
    json_t *claim = json_pack("{s:o, s:o, s:{s:s, s:s}}", "setting", name_of(c, v.claim_setting), "holds",
                              v.claim < 0 ? json_null() : json_boolean(v.claim), "sentence", "en", v.claim_sentence_en,
                              "zh", v.claim_sentence_zh);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:{s:s, s:s}, s:o}", "best", name_of(c, v.best), "recommended",
                     name_of(c, v.recommended), "runner_up", name_of(c, v.runner_up), "margin", real_or_null(v.margin),
                     "margin_interval", interval(v.margin_low, v.margin_high), "clear", v.clear, "sentence", "en",
                     v.sentence_en, "zh", v.sentence_zh, "claim", claim);
}

// The rows that are answered, with what was expected.
static json_t *make_prompts(const lora_comparison *c)
{
    json_t *list = json_array();
    size_t count = json_array_size(json_object_get(c->base, "answers"));
    for (size_t row = 0; row < c->validation->row_count && json_array_size(list) < count; row++) {
        const lr_row *r = &c->validation->rows[row];
        if (!lr_answer_possible(c->validation, row)) continue;
        char *prompt = lr_prompt_for_people(c->model->tokenizer, c->validation, row);
        json_array_append_new(
            list, json_pack("{s:I, s:s*, s:s*}", "row", (json_int_t)row, "prompt", prompt, "reference", r->answer));
        lr_free(&c->context->allocator, prompt);
    }
    return list;
}

lora_status lora_comparison_json(lora_comparison *c, const char **text)
{
    LR_CHECK_HANDLE(c);
    LR_CHECK_HANDLE(text);
    LR_TRY(lr_comparison_open(c));
    json_t *document = json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "kind", "comparison", "version",
                                 LR_COMPARISON_VERSION, "about", lr_comparison_about(c), "base", make_base(c),
                                 "prompts", make_prompts(c), "settings", make_settings(c), "verdict", make_verdict(c));
    return lr_json_lend(&c->context->allocator, document, &c->document, text);
}
