// Data quality: rows are read once (collect.c); each file here looks for its kinds of findings and adds hits; report.c
// makes the JSON document; fix.c writes the cleaned copy.
#ifndef LR_CHECK_H
#define LR_CHECK_H

#include "src/data/rows.h"

#include <iconv.h>
#include <lora/check.h>

typedef enum lr_kind {
    LR_UNREADABLE_ROW,
    LR_EMPTY_OUTPUT,
    LR_LEAK,
    LR_ENCODING_DAMAGE,
    LR_DUPLICATE,
    LR_CONTRADICTION,
    LR_NEAR_LEAK,
    LR_TOO_LONG,
    LR_UNBALANCED_LABELS,
    LR_TEMPLATE_REMNANT,
    LR_PLACEHOLDER,
    LR_PHONE,
    LR_RESIDENT_ID,
    LR_EMAIL,
    LR_BANK_CARD,
    LR_CONTROL_CHARACTER,
    LR_NEAR_DUPLICATE,
    LR_SHORT_OUTPUT,
    LR_ASSISTANT_PHRASE,
    LR_LANGUAGE_MISMATCH,
    LR_RARE_LANGUAGE,
    LR_NO_FINAL_PUNCTUATION,
    LR_BAD_ANSWER,
    LR_KIND_COUNT
} lr_kind;

// What is said about a kind; kinds.c.
typedef struct lr_kind_text {
    const char *name;
    int32_t severity;
    bool fixable;
    const char *title[2], *explanation[2], *cure[2]; // English, Chinese
} lr_kind_text;

extern const lr_kind_text lr_kind_texts[LR_KIND_COUNT];

// ---- rows ---------------------------------------------------------------------------------------------------------

typedef struct lr_check_row {
    json_t *row; // as read; NULL: unreadable
    const char *path;
    size_t number; // line, or row of the file
    bool is_line, validation, labelled;
    bool plain;      // running text, which stands in `answer`
    bool has_text;   // false: ids, an answer marked as bad, unreadable
    char *prompt;    // all turns before the last answer, one behind the other
    char *answer;    // the last answer; "" where there is none
    uint64_t roles;  // hash of who says what
    int64_t length;  // ids, counted or estimated
} lr_check_row;

typedef struct lr_hit {
    uint32_t row;
    int64_t other;     // a row, or -1
    double similarity; // NaN: none
    char *detail;      // or NULL
} lr_hit;

typedef struct lr_hits {
    lr_hit *items;
    size_t count, capacity;
} lr_hits;

struct lora_check {
    lora_context *context;
    lora_check_options options;
    char **files;
    size_t file_count, file_capacity;
    lr_check_row *rows; // the data, then what is held out
    size_t row_count, row_capacity;
    lr_hits hits[LR_KIND_COUNT];
    bool counted; // lengths are a tokenizer's
    int64_t cut_tokens;
    json_t *lengths, *languages, *labels; // parts of the report
    char *report;
    size_t report_length;
    lora_check_info info;
};

// Adds a hit; `detail` is copied, at most some 400 bytes of it.
lora_status lr_add_hit(lora_check *check, lr_kind kind, size_t row, const char *detail, size_t detail_length);
lora_status lr_add_pair(lora_check *check, lr_kind kind, size_t row, size_t other, double similarity);

// The texts of a row that was read: fills all but its place. The row's own texts are from the context's allocator.
lora_status lr_check_row_read(lora_context *context, const json_t *row, const lr_place *place, lr_check_row *out);
void lr_check_row_free(const lora_allocator *allocator, lr_check_row *row);
// Two rows with the same texts and roles, whitespace aside; and a hash that agrees.
bool lr_same_row(const lr_check_row *a, const lr_check_row *b);
bool lr_same_prompt(const lr_check_row *a, const lr_check_row *b);
uint64_t lr_row_hash(const lr_check_row *row);
uint64_t lr_prompt_hash(const lr_check_row *row);

// A multimap from hashes to rows: open addressing by the hash, chains through `next`.
typedef struct lr_row_map {
    uint64_t *hashes; // of each slot's chain
    uint32_t *heads;  // row + 1; 0: free
    uint32_t *next;   // of each row: row + 1
    size_t mask;
} lr_row_map;

lora_status lr_row_map_init(const lora_allocator *allocator, size_t rows, lr_row_map *map);
void lr_row_map_free(const lora_allocator *allocator, lr_row_map *map);
void lr_row_map_put(lr_row_map *map, uint64_t hash, size_t row); // in front of those with the same hash
// Walks: for (r = first; r; r = map->next[r - 1]) with row r - 1.
uint32_t lr_row_map_first(const lr_row_map *map, uint64_t hash);

// ---- what is looked for -------------------------------------------------------------------------------------------

lora_status lr_find_answers(lora_check *check);    // answers.c: empty, short, unbalanced, breaking off
lora_status lr_find_repeats(lora_check *check);    // repeats.c: duplicates, leaks, contradictions
lora_status lr_find_damage(lora_check *check);     // damage.c: encodings, control characters
lora_status lr_find_remnants(lora_check *check);   // remnants.c: of templates, placeholders, phrases
lora_status lr_find_personal(lora_check *check);   // personal.c
lora_status lr_find_languages(lora_check *check);  // languages.c
lora_status lr_find_lengths(lora_check *check, const lora_tokenizer *tokenizer); // lengths.c

lora_status lr_make_report(lora_check *check);

// ---- texts --------------------------------------------------------------------------------------------------------

// A script without spaces between words: a character is a unit of its own.
bool lr_is_unspaced(int32_t code);
// Words, and characters of scripts without spaces.
size_t lr_count_units(const char *text);

// Similarity of texts: sets of hashes of three successive units; shingles.c.
typedef struct lr_shingles {
    uint64_t *items; // sorted, each once
    size_t count, capacity;
} lr_shingles;

lora_status lr_shingles_make(const lora_allocator *allocator, const char *const *texts, size_t text_count,
                             lr_shingles *out);
double lr_jaccard(const lr_shingles *a, const lr_shingles *b);

// ---- repairs ------------------------------------------------------------------------------------------------------

// A converter from UTF-8 to GBK's bytes, for lr_repair_encoding; (iconv_t)-1 where the system has none.
iconv_t lr_gbk_open(void);
void lr_gbk_close(iconv_t gbk);

// Each appends the repaired text to `out` and says whether anything changed.
lora_status lr_repair_encoding(iconv_t gbk, const char *text, lr_bytes *out, bool *changed);
lora_status lr_drop_controls(const char *text, lr_bytes *out, bool *changed);
lora_status lr_cut_remnants(const char *text, bool is_answer, lr_bytes *out, bool *changed);
lora_status lr_mask_personal(const char *text, lr_bytes *out, bool *changed);

#endif
