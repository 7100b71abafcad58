#include "src/eval/bootstrap.h"
#include "src/eval/evaluation.h"

#include "src/core/validate.h"

#include "lib/unicode.h"

#include <math.h>

// ---- options --------------------------------------------------------------------------------------------------------

void(lora_evaluation_options_init)(lora_evaluation_options *options, size_t struct_size)
{
    const lora_evaluation_options defaults = {.words = -1, .checklist = 1};
    lr_give_defaults(options, struct_size, &defaults, sizeof defaults);
}

static const char *const measure_names[] = {"loss",        "perplexity", "bleu",      "bleu4",    "chrf",
                                            "chrf++",      "rouge1",     "rouge2",    "rougeL",   "rougeLsum",
                                            "exact_match", "accuracy",   "f1_macro",  "f1_micro", "f1_weighted",
                                            "distinct_1",  "distinct_2", "repetition"};
#define MEASURE_NAMES (sizeof measure_names / sizeof *measure_names)

static bool begins_with(const char *name, const char *start) { return strncmp(name, start, strlen(start)) == 0; }

bool lr_evaluation_wants(const lora_evaluation *e, const char *measure)
{
    for (size_t i = 0; i < e->metric_count; i++)
        if (begins_with(measure, e->metrics[i])) return true;
    return e->metric_count == 0;
}

static lora_status check_metric(const char *name)
{
    LR_CHECK_ARGUMENT(name && *name, "a metric's name is NULL or empty");
    for (size_t i = 0; i < MEASURE_NAMES; i++)
        if (begins_with(measure_names[i], name)) return LORA_OK;
    return lr_fail(
        LORA_ERROR_ARGUMENT,
        "there is no metric '%.40s': loss, perplexity, bleu, chrf, rouge, exact_match, accuracy, f1, distinct, "
        "repetition",
        name);
}

static lora_status copy_list(const lora_allocator *allocator, const char *const *from, size_t count, char ***to,
                             size_t *copied)
{
    LR_CHECK_ARGUMENT(from || count == 0, "a list of texts is NULL");
    *to = lr_alloc_zeroed(allocator, count, sizeof **to);
    if (!*to) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        LR_CHECK_ARGUMENT(from[i], "text %zu of a list is NULL", i);
        (*to)[i] = lr_duplicate(allocator, from[i]);
        if (!(*to)[i]) return LORA_ERROR_MEMORY;
        ++*copied;
    }
    return LORA_OK;
}

static void free_list(const lora_allocator *allocator, char **list, size_t count)
{
    for (size_t i = 0; list && i < count; i++) lr_free(allocator, list[i]);
    lr_free(allocator, list);
}

static lora_status take_options(lora_evaluation *e, const lora_evaluation_options *given)
{
    const lora_allocator *allocator = &e->context->allocator;
    lora_evaluation_options *o = &e->options;
    lora_evaluation_options_init(o);
    LR_TRY(lr_take_options(o, sizeof *o, given, "lora_evaluation_create"));
    LR_CHECK_ARGUMENT(o->words >= -1 && o->words <= LORA_WORDS_SPACES,
                      "words is %d; it must be one of LORA_WORDS_, or -1", o->words);
    LR_CHECK_ARGUMENT(o->classify >= LORA_CLASSIFY_AUTO && o->classify <= LORA_CLASSIFY_BY_LIKELIHOOD,
                      "classify is %d; it must be one of LORA_CLASSIFY_", o->classify);
    LR_CHECK_ARGUMENT(o->label_count <= LR_MOST_LABELS, "there are %zu labels; %d are the most", o->label_count,
                      LR_MOST_LABELS);
    LR_CHECK_ARGUMENT(!o->bleu_tokenizer || lr_bleu_tokenizer(o->bleu_tokenizer),
                      "there is no tokenizer '%.40s': 13a, zh, char, intl, none", o->bleu_tokenizer);
    lora_generate_options_init(&e->generation);
    e->generation.temperature = 0;
    LR_TRY(lr_take_options(&e->generation, sizeof e->generation, o->generation, "lora_evaluation_create"));
    LR_TRY(lr_take_resampling(&e->resampling, o->resampling, "lora_evaluation_create"));
    for (size_t i = 0; o->metrics && i < o->metric_count; i++) LR_TRY(check_metric(o->metrics[i]));
    LR_TRY(copy_list(allocator, o->metrics, o->metric_count, &e->metrics, &e->metric_count));
    LR_TRY(copy_list(allocator, o->labels, o->label_count, &e->labels, &e->label_count));
    if (o->bleu_tokenizer && !(e->bleu_tokenizer = lr_duplicate(allocator, o->bleu_tokenizer)))
        return LORA_ERROR_MEMORY;
    o->metrics = o->labels = NULL;
    o->bleu_tokenizer = NULL;
    o->generation = NULL;
    o->resampling = NULL;
    return LORA_OK;
}

lora_status lora_evaluation_create(lora_context *context, const lora_evaluation_options *options, lora_evaluation **out)
{
    LR_CHECK_HANDLE(context);
    LR_CHECK_ARGUMENT(out, "out is NULL");
    *out = NULL;
    lora_evaluation *e = lr_alloc_zeroed(&context->allocator, 1, sizeof *e);
    if (!e) return LORA_ERROR_MEMORY;
    e->context = lr_context_retain(context);
    lora_status status = take_options(e, options);
    if (status != LORA_OK) {
        lora_evaluation_free(e);
        return status;
    }
    *out = e;
    return LORA_OK;
}

void lora_evaluation_free(lora_evaluation *e)
{
    if (!e) return;
    lora_context *context = e->context;
    const lora_allocator *allocator = &context->allocator;
    for (int32_t s = LR_SYSTEMS - 1; s >= 0; s--) {
        lr_evaluation_clear(e, s);
        lr_free(allocator, e->outcomes[s]);
    }
    lr_free(allocator, e->examples);
    free_list(allocator, e->metrics, e->metric_count);
    free_list(allocator, e->labels, e->label_count);
    lr_free(allocator, e->bleu_tokenizer);
    lr_free(allocator, e->json);
    lr_free(allocator, e);
    lr_context_release(context);
}

void lora_evaluation_cancel(lora_evaluation *evaluation)
{
    if (evaluation) atomic_store(&evaluation->cancelled, 1);
}

// ---- rows -----------------------------------------------------------------------------------------------------------

// Valid UTF-8, as JSON needs it.
static char *copy_valid(const lora_allocator *allocator, const char *text, size_t length)
{
    lr_bytes valid;
    lr_bytes_init(&valid, allocator, SIZE_MAX);
    lora_status status = lr_utf8_repair(text, length, &valid);
    if (status == LORA_OK && !valid.data) status = lr_bytes_append(&valid, "", 0);
    if (status == LORA_OK) return valid.data;
    lr_bytes_free(&valid);
    return NULL;
}

lora_status lr_evaluation_add_example(lora_evaluation *e, const char *prompt, const char *const *references,
                                      size_t count)
{
    const lora_allocator *allocator = &e->context->allocator;
    LR_TRY(lr_grow(allocator, (void **)&e->examples, &e->capacity, e->count + 1, sizeof *e->examples));
    lr_example *x = &e->examples[e->count];
    *x = (lr_example){.references = lr_alloc_zeroed(allocator, count, sizeof *x->references)};
    lora_status status = x->references ? LORA_OK : LORA_ERROR_MEMORY;
    if (prompt && !(x->prompt = copy_valid(allocator, prompt, strlen(prompt)))) status = LORA_ERROR_MEMORY;
    for (size_t i = 0; i < count && status == LORA_OK; i++, x->reference_count++)
        if (!(x->references[i] = copy_valid(allocator, references[i], strlen(references[i]))))
            status = LORA_ERROR_MEMORY;
    if (status == LORA_OK) {
        e->count++;
        return LORA_OK;
    }
    free_list(allocator, x->references, x->reference_count);
    lr_free(allocator, x->prompt);
    return status;
}

lora_status lr_evaluation_add_outcome(lora_evaluation *e, int32_t system, const char *text, size_t length,
                                      lr_outcome **out)
{
    const lora_allocator *allocator = &e->context->allocator;
    LR_TRY(lr_grow(allocator, (void **)&e->outcomes[system], &e->outcome_capacity[system], e->outcome_count[system] + 1,
                   sizeof **e->outcomes));
    lr_outcome *o = &e->outcomes[system][e->outcome_count[system]];
    *o = (lr_outcome){.nll = NAN, .label = -1};
    if (text && !(o->text = copy_valid(allocator, text, length))) return LORA_ERROR_MEMORY;
    e->outcome_count[system]++;
    if (out) *out = o;
    return LORA_OK;
}

void lr_evaluation_clear(lora_evaluation *e, int32_t system)
{
    const lora_allocator *allocator = &e->context->allocator;
    for (size_t i = 0; i < e->outcome_count[system]; i++) lr_free(allocator, e->outcomes[system][i].text);
    e->outcome_count[system] = 0;
    if (system != LORA_SYSTEM) return;
    for (size_t i = 0; i < e->count; i++) {
        free_list(allocator, e->examples[i].references, e->examples[i].reference_count);
        lr_free(allocator, e->examples[i].prompt);
    }
    e->count = 0;
    e->from_data = false;
}

static lora_status check_system(const lora_evaluation *e, int32_t system)
{
    LR_CHECK_HANDLE(e);
    LR_CHECK_ARGUMENT(system == LORA_SYSTEM || system == LORA_SYSTEM_BASELINE,
                      "system is %d; it must be LORA_SYSTEM or LORA_SYSTEM_BASELINE", system);
    return LORA_OK;
}

lora_status lora_evaluation_add(lora_evaluation *e, int32_t system, const lora_evaluation_row *given)
{
    lora_evaluation_row row = {0};
    LR_TRY(check_system(e, system));
    LR_CHECK_ARGUMENT(given, "row is NULL");
    LR_TRY(lr_take_options(&row, sizeof row, given, __func__));
    LR_CHECK_ARGUMENT(row.prediction, "the row has no prediction");
    size_t length = strlen(row.prediction);
    if (system == LORA_SYSTEM_BASELINE) {
        if (e->outcome_count[system] >= e->count)
            return lr_fail(LORA_ERROR_STATE, "the baseline has an answer to each of the %zu rows already", e->count);
        return lr_evaluation_add_outcome(e, system, row.prediction, length, NULL);
    }
    if (e->from_data) return lr_fail(LORA_ERROR_STATE, "the evaluation holds rows of a data set");
    LR_CHECK_ARGUMENT(row.references && row.reference_count > 0, "the row has no reference");
    for (size_t i = 0; i < row.reference_count; i++)
        LR_CHECK_ARGUMENT(row.references[i], "reference %zu of the row is NULL", i);
    LR_TRY(lr_evaluation_add_example(e, row.prompt, row.references, row.reference_count));
    lora_status status = lr_evaluation_add_outcome(e, system, row.prediction, length, NULL);
    if (status != LORA_OK) {
        e->count--;
        free_list(&e->context->allocator, e->examples[e->count].references, e->examples[e->count].reference_count);
        lr_free(&e->context->allocator, e->examples[e->count].prompt);
    }
    return status;
}

// ---- results --------------------------------------------------------------------------------------------------------

static double value_of(const lr_judgement *j, int32_t system, const char *name)
{
    for (size_t i = 0; i < j->measure_count; i++)
        if (strcmp(j->measures[i].name, name) == 0) return j->measures[i].value[system];
    return NAN;
}

lora_status lora_evaluation_get_scores(lora_evaluation *e, int32_t system, lora_scores *scores)
{
    LR_TRY(check_system(e, system));
    lora_scores found = {.rows = (int64_t)e->count};
    double *const fields[MEASURE_NAMES] = {&found.loss,       &found.perplexity,  &found.bleu,
                                           &found.bleu4,      &found.chrf,        &found.chrf_plus_plus,
                                           &found.rouge1,     &found.rouge2,      &found.rouge_l,
                                           &found.rouge_lsum, &found.exact_match, &found.accuracy,
                                           &found.f1_macro,   &found.f1_micro,    &found.f1_weighted,
                                           &found.distinct1,  &found.distinct2,   &found.repetition};
    LR_TRY(lr_give_info(scores, &found, sizeof found, __func__));
    lr_judgement j;
    lora_status status = lr_judge(e, &j);
    if (status == LORA_OK && system >= j.systems) status = lr_fail(LORA_ERROR_STATE, "there is no baseline");
    for (size_t i = 0; i < MEASURE_NAMES && status == LORA_OK; i++) *fields[i] = value_of(&j, system, measure_names[i]);
    lr_judgement_free(&j);
    return status == LORA_OK ? lr_give_info(scores, &found, sizeof found, __func__) : status;
}

lora_status lora_evaluation_json(lora_evaluation *e, int32_t examples, const char **text)
{
    LR_CHECK_HANDLE(e);
    LR_CHECK_ARGUMENT(text, "text is NULL");
    lr_judgement j;
    json_t *document = NULL;
    lora_status status = lr_judge(e, &j);
    if (status == LORA_OK) status = lr_judgement_json(&j, examples != 0, &document);
    lr_judgement_free(&j);
    if (status == LORA_OK) return lr_json_lend(&e->context->allocator, document, &e->json, text);
    json_decref(document);
    return status;
}
