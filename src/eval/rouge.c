// ROUGE (Lin 2004): F1 of shared n-grams, or of the longest common subsequence, of the best reference.
#include "src/eval/metric.h"

#include <string.h>

typedef struct shares {
    double precision, recall, f1;
} shares;

static shares shares_of(double found, double predicted, double expected)
{
    shares s = {predicted > 0 ? found / predicted : 0, expected > 0 ? found / expected : 0, 0};
    if (s.precision + s.recall > 0) s.f1 = 2 * s.precision * s.recall / (s.precision + s.recall);
    return s;
}

// Keeps the better of what stands there and another reference's; the first always.
static void keep_best(double *statistics, shares s)
{
    if (statistics[3] > 0 && s.f1 <= statistics[2]) return;
    statistics[0] = s.precision;
    statistics[1] = s.recall;
    statistics[2] = s.f1;
    statistics[3] = 1;
}

double lr_rouge_score(const lora_metric *m, const double *sums)
{
    (void)m;
    return sums[3] > 0 ? 100 * sums[2] / sums[3] : 0;
}

// ---- n-grams --------------------------------------------------------------------------------------------------------

static shares compare_grams(lr_grams *g, size_t reference, bool distinct)
{
    const int32_t *own = lr_grams_count(g, 0), *other = lr_grams_count(g, reference);
    int64_t found = 0, predicted = 0, expected = 0;
    for (int32_t i = 0; i < g->gram_count; i++) {
        int32_t a = distinct && own[i] > 1 ? 1 : own[i], b = distinct && other[i] > 1 ? 1 : other[i];
        predicted += a;
        expected += b;
        found += a < b ? a : b;
    }
    return shares_of((double)found, (double)predicted, (double)expected);
}

static lora_status score_grams(const lora_metric *m, lr_grams *g, double *statistics)
{
    while (g->order < m->order) LR_TRY(lr_grams_next(g));
    for (size_t t = 1; t < g->texts; t++) keep_best(statistics, compare_grams(g, t, m->options.distinct != 0));
    return LORA_OK;
}

lora_status lr_rouge_n_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                           double *statistics)
{
    lr_grams grams;
    lora_status status = lr_row_grams(&grams, &m->context->allocator, &m->steps, prediction, references, count);
    if (status == LORA_OK) status = score_grams(m, &grams, statistics);
    lr_grams_free(&grams);
    return status;
}

// ---- longest common subsequence -------------------------------------------------------------------------------------

typedef struct run {
    const int32_t *ids;
    size_t count;
} run;

static run text_run(const lr_grams *g, size_t text)
{
    return (run){lr_grams_words(g, text) ? g->ids + g->begins[text] : NULL, lr_grams_words(g, text)};
}

enum { STEP_LEFT, STEP_UP, STEP_MATCH };

// Fills lengths[0..b.count] with those of the last row. Where steps [a.count, b.count] is given it says how to walk
// back from each cell as rouge_score does: to the left only where that is longer.
static void lcs(run a, run b, uint32_t *lengths, uint8_t *steps)
{
    memset(lengths, 0, (b.count + 1) * sizeof *lengths);
    for (size_t i = 0; i < a.count; i++) {
        uint32_t diagonal = 0;
        for (size_t j = 0; j < b.count; j++) {
            uint32_t up = lengths[j + 1], left = lengths[j];
            bool match = a.ids[i] == b.ids[j];
            lengths[j + 1] = match ? diagonal + 1 : up > left ? up : left;
            if (steps) steps[i * b.count + j] = match ? STEP_MATCH : left > up ? STEP_LEFT : STEP_UP;
            diagonal = up;
        }
    }
}

static lora_status score_lcs(const lora_allocator *allocator, const lr_grams *g, double *statistics)
{
    run own = text_run(g, 0);
    uint32_t *lengths = lr_alloc_array(allocator, own.count + 1, sizeof *lengths);
    if (!lengths) return LORA_ERROR_MEMORY;
    for (size_t t = 1; t < g->texts; t++) {
        run reference = text_run(g, t);
        lcs(reference, own, lengths, NULL);
        keep_best(statistics, shares_of(lengths[own.count], (double)own.count, (double)reference.count));
    }
    lr_free(allocator, lengths);
    return LORA_OK;
}

lora_status lr_rouge_l_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                           double *statistics)
{
    lr_grams grams;
    lora_status status = lr_row_grams(&grams, &m->context->allocator, &m->steps, prediction, references, count);
    if (status == LORA_OK) status = score_lcs(&m->context->allocator, &grams, statistics);
    lr_grams_free(&grams);
    return status;
}

// ---- of summaries ---------------------------------------------------------------------------------------------------

// Adds each line that is not empty as a text of its own.
static lora_status add_lines(lr_grams *g, const char *text, const lr_text_steps *steps, const lora_allocator *allocator)
{
    lora_status status = LORA_OK;
    while (*text && status == LORA_OK) {
        size_t length = strcspn(text, "\n");
        if (length > 0) {
            char *line = lr_duplicate_range(allocator, text, length);
            status = line ? lr_grams_add(g, line, steps) : LORA_ERROR_MEMORY;
            lr_free(allocator, line);
        }
        text += length + (text[length] != '\0');
    }
    return status;
}

typedef struct summary {
    const lora_allocator *allocator;
    lr_grams grams; // the prediction's lines, then the reference's
    size_t lines;   // of the prediction
    uint32_t *lengths;
    uint8_t *steps, *in_union; // of the longest pair of lines; of the longest line
    int32_t *left[2];          // how often each word may still count: prediction, reference
} summary;

static lora_status open_summary(summary *s)
{
    const lr_grams *g = &s->grams;
    size_t longest[2] = {0}, cells, words = (size_t)g->gram_count;
    for (size_t t = 0; t < g->texts; t++) {
        size_t *most = &longest[t >= s->lines];
        if (lr_grams_words(g, t) > *most) *most = lr_grams_words(g, t);
    }
    if (__builtin_mul_overflow(longest[0], longest[1], &cells)) return lr_fail_memory(SIZE_MAX);
    s->lengths = lr_alloc_array(s->allocator, longest[0] + 1, sizeof *s->lengths);
    s->steps = lr_alloc_array(s->allocator, cells, 1);
    s->in_union = lr_alloc_array(s->allocator, longest[1], 1);
    for (int side = 0; side < 2; side++) s->left[side] = lr_alloc_zeroed(s->allocator, words, sizeof(int32_t));
    if (!s->lengths || !s->steps || !s->in_union || !s->left[0] || !s->left[1]) return LORA_ERROR_MEMORY;
    for (size_t t = 0; t < g->texts; t++)
        for (size_t i = g->begins[t]; i < g->begins[t + 1]; i++) s->left[t >= s->lines][g->ids[i]]++;
    return LORA_OK;
}

static void close_summary(summary *s)
{
    lr_grams_free(&s->grams);
    lr_free(s->allocator, s->lengths);
    lr_free(s->allocator, s->steps);
    lr_free(s->allocator, s->in_union);
    for (int side = 0; side < 2; side++) lr_free(s->allocator, s->left[side]);
}

// Marks the words of a reference's line that a longest common subsequence with a line of the prediction holds.
static void mark_lcs(summary *s, run reference, run line)
{
    size_t i = reference.count, j = line.count;
    lcs(reference, line, s->lengths, s->steps);
    while (i > 0 && j > 0) {
        uint8_t step = s->steps[(i - 1) * line.count + j - 1];
        if (step == STEP_MATCH) s->in_union[i - 1] = 1;
        i -= step != STEP_LEFT;
        j -= step != STEP_UP;
    }
}

// Union LCS (Lin 2004, section 3.2); a word counts no more often than either side has it.
static shares score_summary(summary *s)
{
    const lr_grams *g = &s->grams;
    int64_t hits = 0;
    for (size_t t = s->lines; t < g->texts; t++) {
        run reference = text_run(g, t);
        memset(s->in_union, 0, reference.count);
        for (size_t l = 0; l < s->lines; l++) mark_lcs(s, reference, text_run(g, l));
        for (size_t i = 0; i < reference.count; i++) {
            int32_t id = reference.ids[i];
            if (!s->in_union[i] || s->left[0][id] <= 0 || s->left[1][id] <= 0) continue;
            hits++;
            s->left[0][id]--;
            s->left[1][id]--;
        }
    }
    size_t predicted = g->texts ? g->begins[s->lines] : 0, expected = g->words.count - predicted;
    return shares_of((double)hits, (double)predicted, (double)expected);
}

static lora_status compare_summaries(const lora_metric *m, const char *prediction, const char *reference, shares *out)
{
    summary s = {.allocator = &m->context->allocator};
    lora_status status;
    lr_grams_init(&s.grams, s.allocator);
    LR_GOTO(done, status, add_lines(&s.grams, prediction, &m->steps, s.allocator));
    s.lines = s.grams.texts;
    LR_GOTO(done, status, add_lines(&s.grams, reference, &m->steps, s.allocator));
    LR_GOTO(done, status, lr_grams_number(&s.grams));
    LR_GOTO(done, status, open_summary(&s));
    *out = score_summary(&s);
done:
    close_summary(&s);
    return status;
}

lora_status lr_rouge_lsum_row(const lora_metric *m, const char *prediction, const char *const *references, size_t count,
                              double *statistics)
{
    shares found = {0};
    for (size_t i = 0; i < count; i++) {
        if (!references[i]) continue;
        LR_TRY(compare_summaries(m, prediction, references[i], &found));
        keep_best(statistics, found);
    }
    return LORA_OK;
}
