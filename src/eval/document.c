// The judgement as one JSON object. Every constructor gives NULL when there is no memory, and takes the references it
// is given.
#include "src/eval/classes.h"
#include "src/eval/evaluation.h"

#include <math.h>

static json_t *number_or_null(double value) { return isfinite(value) ? json_real(value) : json_null(); }

// Sets a key; false when there is no memory for it.
static bool put(json_t *object, const char *key, json_t *value) { return json_object_set_new(object, key, value) == 0; }
static bool push(json_t *array, json_t *value) { return json_array_append_new(array, value) == 0; }

static json_t *built(json_t *value, bool whole)
{
    if (whole) return value;
    json_decref(value);
    return NULL;
}

// ---- scores ---------------------------------------------------------------------------------------------------------

static lora_status put_scores(const lr_judgement *j, json_t *document, json_t *intervals)
{
    bool whole = true;
    for (size_t i = 0; i < j->measure_count; i++) {
        const lr_measure *m = &j->measures[i];
        whole &= put(document, m->name, number_or_null(m->value[LORA_SYSTEM]));
        if (!m->metric) continue;
        lora_interval interval = {.struct_size = sizeof interval};
        LR_TRY(lora_metric_interval(m->metric, m->statistics[LORA_SYSTEM], j->e->count, &j->e->resampling, &interval));
        whole &=
            put(intervals, m->name, json_pack("[o, o]", number_or_null(interval.low), number_or_null(interval.high)));
    }
    return whole ? LORA_OK : lr_fail_memory(64);
}

static lora_status compare(const lr_judgement *j, const lr_measure *m, json_t *comparison)
{
    lora_significance s = {.struct_size = sizeof s};
    LR_TRY(lora_metric_compare(m->metric, m->statistics[LORA_SYSTEM], m->statistics[LORA_SYSTEM_BASELINE], j->e->count,
                               &j->e->resampling, &s));
    json_t *entry =
        json_pack("{s:o, s:o, s:o, s:f, s:f}", "difference", number_or_null(s.difference), "low", number_or_null(s.low),
                  "high", number_or_null(s.high), "p_bootstrap", s.p_bootstrap, "p_randomisation", s.p_randomisation);
    return put(comparison, m->name, entry) ? LORA_OK : lr_fail_memory(64);
}

static lora_status put_baseline(const lr_judgement *j, json_t *document)
{
    json_t *scores = json_object(), *comparison = json_object();
    json_t *baseline = json_pack("{s:o, s:o}", "scores", scores, "comparison", comparison);
    if (!put(document, "baseline", baseline)) return lr_fail_memory(64);
    for (size_t i = 0; i < j->measure_count; i++) {
        const lr_measure *m = &j->measures[i];
        if (isnan(m->value[LORA_SYSTEM_BASELINE])) continue;
        if (!put(scores, m->name, number_or_null(m->value[LORA_SYSTEM_BASELINE]))) return lr_fail_memory(64);
        if (m->metric) LR_TRY(compare(j, m, comparison));
    }
    return LORA_OK;
}

// ---- settings -------------------------------------------------------------------------------------------------------

static lora_status put_signature(const lr_measure *m, int32_t references, json_t *signatures)
{
    char text[256];
    size_t length;
    LR_TRY(lora_metric_signature(m->metric, references, text, sizeof text, &length));
    return put(signatures, m->name, json_string(text)) ? LORA_OK : lr_fail_memory(length);
}

static lora_status put_settings(const lr_judgement *j, json_t *document)
{
    static const char *const words[] = {[LORA_WORDS_LATIN] = "latin",
                                        [LORA_WORDS_CHARACTERS] = "characters",
                                        [LORA_WORDS_SPACES] = "spaces"};
    const lora_evaluation *e = j->e;
    const lora_generate_options *g = &e->generation;
    size_t references = e->examples[0].reference_count;
    for (size_t i = 0; i < e->count; i++)
        if (e->examples[i].reference_count != references) references = 0;
    json_t *signatures = json_object();
    json_t *settings =
        json_pack("{s:s, s:s, s:b, s:i, s:i, s:I, s:o}", "bleu_tokenizer", j->tokenizer, "words", words[j->words],
                  "stem", e->options.stem, "samples", e->resampling.samples, "trials", e->resampling.trials, "seed",
                  (json_int_t)e->resampling.seed, "signatures", signatures);
    if (!put(document, "settings", settings)) return lr_fail_memory(64);
    for (size_t i = 0; i < j->measure_count; i++) {
        const lr_measure *m = &j->measures[i];
        if (m->metric && m->metric->kind->row) LR_TRY(put_signature(m, (int32_t)references, signatures));
    }
    if (!e->from_data) return LORA_OK;
    json_t *generation =
        json_pack("{s:i, s:f, s:i, s:f, s:f, s:f, s:I}", "max_new_tokens", g->max_new_tokens, "temperature",
                  (double)g->temperature, "top_k", g->top_k, "top_p", (double)g->top_p, "min_p", (double)g->min_p,
                  "repetition_penalty", (double)g->repetition_penalty, "seed", (json_int_t)g->seed);
    return put(settings, "generation", generation) ? LORA_OK : lr_fail_memory(64);
}

// ---- classes --------------------------------------------------------------------------------------------------------

static json_t *make_confusion(const lr_judgement *j)
{
    size_t classes = j->labels.count;
    json_t *matrix = json_array();
    bool whole = true;
    for (size_t truth = 0; truth < classes; truth++) {
        json_t *line = json_array();
        for (size_t said = 0; said < classes; said++) {
            json_int_t count = 0;
            for (size_t row = 0; row < j->e->count; row++)
                count += j->truth[row] == (int32_t)truth && j->predicted[LORA_SYSTEM][row] == (int32_t)said;
            whole &= push(line, json_integer(count));
        }
        whole &= push(matrix, line);
    }
    return built(matrix, whole);
}

static lora_status put_classes(const lr_judgement *j, json_t *document)
{
    const lr_measure *counted = NULL;
    double counts[3 * LR_MOST_LABELS] = {0};
    size_t classes = j->labels.count;
    for (size_t i = 0; i < j->measure_count; i++)
        if (j->measures[i].metric && j->measures[i].metric->statistics == 3 * classes &&
            !j->measures[i].metric->kind->row)
            counted = &j->measures[i];
    if (!counted || classes == 0) return LORA_OK;
    for (size_t i = 0; i < j->e->count * 3 * classes; i++)
        counts[i % (3 * classes)] += counted->statistics[LORA_SYSTEM][i];
    json_t *labels = json_array(), *scores = json_array();
    bool whole = true;
    for (size_t c = 0; c < classes; c++) {
        lora_class_score s = lr_score_class(counts, classes, c);
        whole &= push(labels, json_string(j->labels.names[c]));
        whole &= push(scores, json_pack("{s:s, s:f, s:f, s:f, s:I, s:I}", "label", j->labels.names[c], "precision",
                                        s.precision, "recall", s.recall, "f1", s.f1, "support", (json_int_t)s.support,
                                        "predicted", (json_int_t)s.predicted));
    }
    lora_classification all = lr_summarise_counts(counts, classes);
    json_t *entry =
        json_pack("{s:o, s:s, s:I, s:o, s:o}", "labels", labels, "by", j->by_likelihood ? "likelihood" : "answer",
                  "unknown", (json_int_t)all.unknown, "scores", scores, "confusion", make_confusion(j));
    whole &= put(document, "classes", entry);
    return whole ? LORA_OK : lr_fail_memory(64);
}

// ---- checklist ------------------------------------------------------------------------------------------------------

static json_t *make_questions(void)
{
    json_t *list = json_array();
    bool whole = true;
    for (size_t q = 0; q < lr_question_count; q++)
        whole &= push(list, json_pack("{s:s, s:s, s:s}", "id", lr_questions[q].id, "en", lr_questions[q].english, "zh",
                                      lr_questions[q].chinese));
    return built(list, whole);
}

// A row's form: each question open, with the hints that bear on it.
static json_t *make_form(uint32_t bits)
{
    json_t *form = json_object();
    bool whole = true;
    for (size_t q = 0; q < lr_question_count; q++) {
        json_t *hints = json_array();
        for (size_t h = 0; h < lr_hint_count; h++)
            if (bits >> h & 1 && lr_hints[h].question == q)
                whole &= push(hints, json_pack("{s:s, s:s, s:s}", "id", lr_hints[h].id, "en", lr_hints[h].english, "zh",
                                               lr_hints[h].chinese));
        whole &= put(form, lr_questions[q].id, json_pack("{s:n, s:s, s:o}", "verdict", "note", "", "hints", hints));
    }
    return built(form, whole);
}

static lora_status put_checklist(const uint32_t *bits, size_t rows, json_t *document)
{
    json_t *hints = json_object();
    bool whole = true;
    for (size_t h = 0; h < lr_hint_count; h++) {
        json_int_t count = 0;
        for (size_t row = 0; row < rows; row++) count += bits[row] >> h & 1;
        if (count) whole &= put(hints, lr_hints[h].id, json_integer(count));
    }
    whole &= put(document, "checklist", json_pack("{s:o, s:o}", "questions", make_questions(), "hints", hints));
    return whole ? LORA_OK : lr_fail_memory(64);
}

static lora_status find_hints(const lr_judgement *j, uint32_t *bits)
{
    lr_hinter *hinter = NULL;
    lora_status status = lr_hinter_create(j, &hinter);
    for (size_t row = 0; row < j->e->count && status == LORA_OK; row++) status = lr_hints_of(hinter, row, &bits[row]);
    lr_hinter_free(hinter);
    return status;
}

// ---- rows -----------------------------------------------------------------------------------------------------------

static bool put_references(json_t *entry, const lr_example *x)
{
    if (x->reference_count == 1) return put(entry, "reference", json_string(x->references[0]));
    if (x->reference_count == 0) return true;
    json_t *list = json_array();
    bool whole = true;
    for (size_t i = 0; i < x->reference_count; i++) whole &= push(list, json_string(x->references[i]));
    return put(entry, "references", list) && whole;
}

static bool put_row_scores(const lr_judgement *j, size_t row, json_t *entry)
{
    bool whole = true;
    const lr_outcome *o = &j->e->outcomes[LORA_SYSTEM][row];
    for (size_t i = 0; i < j->measure_count && o->text; i++) {
        double score = lr_measure_row(&j->measures[i], LORA_SYSTEM, row);
        if (!isnan(score)) whole &= put(entry, j->measures[i].name, json_real(score));
    }
    if (!j->truth || j->truth[row] < 0) return whole;
    int32_t predicted = j->predicted[LORA_SYSTEM][row];
    whole &= put(entry, "label", json_string(j->labels.names[j->truth[row]]));
    return whole &&
           put(entry, "predicted_label", predicted >= 0 ? json_string(j->labels.names[predicted]) : json_null());
}

static json_t *make_example(const lr_judgement *j, size_t row, const uint32_t *bits)
{
    const lr_example *x = &j->e->examples[row];
    const lr_outcome *o = &j->e->outcomes[LORA_SYSTEM][row];
    json_t *entry = json_pack("{s:I, s:s*, s:s*}", "row", (json_int_t)row, "prompt", x->prompt, "prediction", o->text);
    bool whole = entry && put_references(entry, x);
    if (whole && !isnan(o->nll))
        whole = put(entry, "nll", json_real(o->nll)) && put(entry, "tokens", json_integer(o->label_tokens));
    if (whole) whole = put_row_scores(j, row, entry);
    const char *base = j->systems == 2 ? j->e->outcomes[LORA_SYSTEM_BASELINE][row].text : NULL;
    if (whole && base) whole = put(entry, "baseline", json_string(base));
    if (whole && bits && o->text) whole = put(entry, "checklist", make_form(bits[row]));
    return built(entry, whole);
}

static lora_status put_examples(const lr_judgement *j, const uint32_t *bits, json_t *document)
{
    json_t *list = json_array();
    if (!put(document, "examples", list)) return lr_fail_memory(64);
    for (size_t row = 0; row < j->e->count; row++)
        if (!push(list, make_example(j, row, bits))) return lr_fail_memory(64);
    return LORA_OK;
}

// ---- all of it ------------------------------------------------------------------------------------------------------

static bool put_sizes(const lr_judgement *j, json_t *document)
{
    json_int_t tokens = 0, labels = 0;
    for (size_t row = 0; row < j->e->count; row++) {
        tokens += j->e->outcomes[LORA_SYSTEM][row].tokens;
        labels += j->e->outcomes[LORA_SYSTEM][row].label_tokens;
    }
    if (!put(document, "rows", json_integer((json_int_t)j->e->count))) return false;
    return labels == 0 ||
           (put(document, "tokens", json_integer(tokens)) && put(document, "label_tokens", json_integer(labels)));
}

static lora_status put_all(lr_judgement *j, bool examples, uint32_t *bits, json_t *document)
{
    json_t *intervals = json_object();
    if (!put_sizes(j, document)) return lr_fail_memory(64);
    if (!put(document, "intervals", intervals) || !put(document, "confidence", json_real(j->e->resampling.confidence)))
        return lr_fail_memory(64);
    LR_TRY(put_scores(j, document, intervals));
    LR_TRY(put_classes(j, document));
    if (j->systems == 2) LR_TRY(put_baseline(j, document));
    LR_TRY(put_settings(j, document));
    if (bits) {
        LR_TRY(find_hints(j, bits));
        LR_TRY(put_checklist(bits, j->e->count, document));
    }
    return examples ? put_examples(j, bits, document) : LORA_OK;
}

lora_status lr_judgement_json(lr_judgement *j, bool examples, json_t **out)
{
    const lora_allocator *allocator = &j->e->context->allocator;
    uint32_t *bits = NULL;
    lora_status status = LORA_OK;
    *out = json_object();
    if (!*out) return lr_fail_memory(64);
    if (j->e->options.checklist && !(bits = lr_alloc_zeroed(allocator, j->e->count, sizeof *bits)))
        status = LORA_ERROR_MEMORY;
    if (status == LORA_OK) status = put_all(j, examples, bits, *out);
    lr_free(allocator, bits);
    return status;
}
