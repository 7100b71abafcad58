// Rows that say again what another says: exact and near duplicates, held-out rows that are trained on, and questions
// with several answers. Exact ones by hash tables; near ones by MinHash and bands (Broder 1997; Leskovec, Rajaraman,
// Ullman: Mining of Massive Datasets, ch. 3), each candidate then compared exactly.
#include "src/data/check/check.h"

#include <math.h>

#define BANDS 25
#define BAND_ROWS 5
#define HASHES (BANDS * BAND_ROWS)
#define MAX_CANDIDATES 100      // compared for one row
#define CONTRADICTION_BELOW 0.5 // similarity of two answers to one question

// ---- exact --------------------------------------------------------------------------------------------------------

typedef struct repeats {
    lora_check *check;
    lr_row_map whole, prompts; // rows by all their text, and by their question
    bool *repeated;         // exact duplicates, which need no other comparison
    lr_shingles *sets;      // of each row; made when wanted
    uint32_t *signatures;   // [rows, HASHES]
    lr_row_map bands[BANDS];
} repeats;

static int64_t find_same(const repeats *job, size_t i)
{
    const lr_check_row *rows = job->check->rows;
    for (uint32_t r = lr_row_map_first(&job->whole, lr_row_hash(&rows[i])); r; r = job->whole.next[r - 1])
        if (lr_same_row(&rows[r - 1], &rows[i])) return r - 1;
    return -1;
}

static lora_status compare_answers(repeats *job, size_t a, size_t b, double *similarity)
{
    const lora_allocator *allocator = &job->check->context->allocator;
    lr_shingles sets[2] = {0};
    lora_status status = LORA_OK;
    for (size_t i = 0; i < 2 && status == LORA_OK; i++)
        status = lr_shingles_make(allocator, (const char *const[]){job->check->rows[i ? b : a].answer}, 1, &sets[i]);
    *similarity = lr_jaccard(&sets[0], &sets[1]);
    lr_free(allocator, sets[0].items);
    lr_free(allocator, sets[1].items);
    return status;
}

// Against the first row with the same question, which stands for all of them.
static lora_status compare_prompts(repeats *job, size_t i)
{
    const lr_check_row *rows = job->check->rows, *row = &rows[i];
    uint64_t hash = lr_prompt_hash(row);
    uint32_t r = lr_row_map_first(&job->prompts, hash);
    while (r && !lr_same_prompt(&rows[r - 1], row)) r = job->prompts.next[r - 1];
    if (!r) {
        lr_row_map_put(&job->prompts, hash, i);
        return LORA_OK;
    }
    size_t first = r - 1;
    if (row->validation) return rows[first].validation ? LORA_OK : lr_add_pair(job->check, LR_LEAK, i, first, 1);
    if (job->repeated[i]) return LORA_OK;
    double similarity;
    LR_TRY(compare_answers(job, first, i, &similarity));
    if (similarity == 1 || (similarity >= CONTRADICTION_BELOW && !row->labelled)) return LORA_OK;
    return lr_add_pair(job->check, LR_CONTRADICTION, i, first, NAN);
}

static lora_status find_exact(repeats *job)
{
    lora_check *check = job->check;
    for (size_t i = 0; i < check->row_count; i++) {
        const lr_check_row *row = &check->rows[i];
        if (!row->has_text) continue;
        int64_t same = find_same(job, i);
        job->repeated[i] = same >= 0;
        if (same >= 0 && (!row->validation || check->rows[same].validation))
            LR_TRY(lr_add_pair(check, LR_DUPLICATE, i, (size_t)same, 1));
        if (row->plain && same >= 0 && row->validation && !check->rows[same].validation)
            LR_TRY(lr_add_pair(check, LR_LEAK, i, (size_t)same, 1));
        if (!row->plain && *row->prompt) LR_TRY(compare_prompts(job, i));
        if (same < 0) lr_row_map_put(&job->whole, lr_row_hash(row), i);
    }
    return LORA_OK;
}

// ---- near ---------------------------------------------------------------------------------------------------------

// Multiplications and additions that stand for permutations: odd factors from splitmix64 (Steele, Lea, Flood 2014).
static void make_permutations(uint64_t factors[HASHES], uint64_t terms[HASHES])
{
    uint64_t state = 0;
    for (size_t i = 0; i < 2 * HASHES; i++) {
        uint64_t z = state += 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        if (i < HASHES) factors[i] = z | 1;
        else terms[i - HASHES] = z;
    }
}

static void sign(const lr_shingles *set, const uint64_t *factors, const uint64_t *terms, uint32_t *signature)
{
    for (size_t k = 0; k < HASHES; k++) {
        uint32_t least = UINT32_MAX;
        for (size_t i = 0; i < set->count; i++) {
            uint32_t value = (uint32_t)((set->items[i] * factors[k] + terms[k]) >> 32);
            if (value < least) least = value;
        }
        signature[k] = least;
    }
}

static uint64_t band_hash(const uint32_t *signature, size_t band)
{
    uint64_t hash = band;
    for (size_t i = 0; i < BAND_ROWS; i++) hash = (hash ^ signature[band * BAND_ROWS + i]) * 0x100000001B3u;
    return hash ^ hash >> 32;
}

// The most similar earlier row among the candidates; the earliest of equals. -1: none is near.
static int64_t find_near(const repeats *job, size_t i, double *similarity)
{
    const uint32_t *signature = job->signatures + i * HASHES;
    uint32_t seen[MAX_CANDIDATES];
    size_t count = 0;
    int64_t best = -1;
    *similarity = job->check->options.near_duplicate;
    for (size_t band = 0; band < BANDS; band++)
        for (uint32_t r = lr_row_map_first(&job->bands[band], band_hash(signature, band)); r && count < MAX_CANDIDATES;
             r = job->bands[band].next[r - 1]) {
            bool is_new = true;
            for (size_t k = 0; k < count && is_new; k++) is_new = seen[k] != r;
            if (!is_new) continue;
            seen[count++] = r;
            double found = lr_jaccard(&job->sets[r - 1], &job->sets[i]);
            if (found < *similarity || (found == *similarity && best >= 0 && best < (int64_t)r - 1)) continue;
            *similarity = found;
            best = r - 1;
        }
    return best;
}

static lora_status take_near(repeats *job, size_t i)
{
    lora_check *check = job->check;
    double similarity;
    int64_t near = find_near(job, i, &similarity);
    if (near >= 0) {
        bool leak = check->rows[i].validation && !check->rows[near].validation;
        if (!leak || !lr_same_prompt(&check->rows[near], &check->rows[i]) || check->rows[i].plain)
            LR_TRY(lr_add_pair(check, leak ? LR_NEAR_LEAK : LR_NEAR_DUPLICATE, i, (size_t)near, similarity));
    }
    for (size_t band = 0; band < BANDS; band++)
        lr_row_map_put(&job->bands[band], band_hash(job->signatures + i * HASHES, band), i);
    return LORA_OK;
}

static lora_status find_near_rows(repeats *job)
{
    uint64_t factors[HASHES], terms[HASHES];
    const lora_check *check = job->check;
    make_permutations(factors, terms);
    for (size_t i = 0; i < check->row_count; i++) {
        const lr_check_row *row = &check->rows[i];
        if (!row->has_text || job->repeated[i]) continue;
        const char *texts[] = {row->prompt, row->answer};
        LR_TRY(lr_shingles_make(&check->context->allocator, texts, 2, &job->sets[i]));
        if (job->sets[i].count == 0) continue;
        sign(&job->sets[i], factors, terms, job->signatures + i * HASHES);
        LR_TRY(take_near(job, i));
    }
    return LORA_OK;
}

static lora_status repeats_init(repeats *job)
{
    const lora_allocator *allocator = &job->check->context->allocator;
    size_t count = job->check->row_count;
    LR_TRY(lr_row_map_init(allocator, count, &job->whole));
    LR_TRY(lr_row_map_init(allocator, count, &job->prompts));
    for (size_t band = 0; band < BANDS; band++) LR_TRY(lr_row_map_init(allocator, count, &job->bands[band]));
    job->repeated = lr_alloc_zeroed(allocator, count, sizeof *job->repeated);
    job->sets = lr_alloc_zeroed(allocator, count, sizeof *job->sets);
    job->signatures = lr_alloc_array(allocator, count, HASHES * sizeof *job->signatures);
    return job->repeated && job->sets && job->signatures ? LORA_OK : LORA_ERROR_MEMORY;
}

lora_status lr_find_repeats(lora_check *check)
{
    const lora_allocator *allocator = &check->context->allocator;
    repeats job = {.check = check};
    lora_status status = repeats_init(&job);
    if (status == LORA_OK) status = find_exact(&job);
    if (status == LORA_OK) status = find_near_rows(&job);
    lr_row_map_free(allocator, &job.whole);
    lr_row_map_free(allocator, &job.prompts);
    for (size_t band = 0; band < BANDS; band++) lr_row_map_free(allocator, &job.bands[band]);
    for (size_t i = 0; job.sets && i < check->row_count; i++) lr_free(allocator, job.sets[i].items);
    lr_free(allocator, job.repeated);
    lr_free(allocator, job.sets);
    lr_free(allocator, job.signatures);
    return status;
}
