/** @file check.h
 *  Data quality: what is wrong with rows before a model learns it, and a cleaned copy.
 *
 *  Nothing is drawn at random and nothing depends on the number of threads: the same rows give the same report.
 */
#ifndef LORA_CHECK_H
#define LORA_CHECK_H

#include "tokenizer.h"

LORA_BEGIN_DECLS

typedef struct lora_check lora_check;

#define LORA_CHECK_NOTE 0    /**< worth a look */
#define LORA_CHECK_WARNING 1 /**< likely to make the result worse */
#define LORA_CHECK_ERROR 2   /**< wrong, or makes a measurement worthless */

typedef struct lora_check_options {
    size_t struct_size;
    int32_t max_length;    /**< ids a row may have in training; default 512 */
    int32_t max_listed;    /**< rows that the report lists for each finding; 0: all. Default 1000 */
    double near_duplicate; /**< two rows are near duplicates from this similarity on, in (0, 1]; default 0.8 */
    const char *template_source; /**< as in lora_dataset_options */
} lora_check_options;

LORA_API void lora_check_options_init(lora_check_options *options, size_t struct_size);
#define lora_check_options_init(options) lora_check_options_init(options, sizeof *(options))

/** Reads data as lora_dataset_load does, and `validation_paths` (count 0: none) as data that is held out, and judges
 *  it. With a tokenizer lengths are counted in its ids; with NULL they are estimated, and the report says so. A row
 *  that cannot be read is a finding, not an error.
 *
 *  Kinds of findings, as the report names them:
 *    error    unreadable_row; empty_output; leak: a held-out question is also in the data; encoding_damage: U+FFFD,
 *             锟斤拷, UTF-8 that was read as Windows-1252 or GBK
 *    warning  duplicate: the same row, whitespace aside; contradiction: one question with different answers (similarity
 *             of the answers below 0.5, or different labels); near_leak; too_long: more than max_length ids;
 *             unbalanced_labels: the commonest at least 4 times the rarest; template_remnant: <|im_start|>, [INST],
 *             ### Response: and the like; placeholder: {{name}}; phone, resident_id (Chinese, with its check digit),
 *             email, bank_card (with Luhn's check digit); control_character
 *    note     short_output: at most 2 words or characters where the median has 20; near_duplicate; assistant_phrase:
 *             "As an AI language model"; language_mismatch: question and answer in different scripts, and no
 *             translation; rare_language: a script of fewer than 5 % of the rows; no_final_punctuation: a sentence
 *             that breaks off, where most answers end with punctuation; bad_answer: rows that KTO's label leaves out
 *
 *  Similarity is Jaccard's of the sets of three successive words, or characters in scripts without spaces, of question
 *  and answer together. Candidates come from MinHash (Broder 1997), 25 bands of 5 values: a pair of similarity 0.8 is
 *  missed with a probability of 5e-5, one of 0.7 with 1e-2, one of 0.6 with 0.13; each is then compared exactly.
 *  Errors: as lora_dataset_load. */
LORA_API lora_status lora_check_create(lora_context *context, const lora_tokenizer *tokenizer, const char *const *paths,
                                       size_t path_count, const char *const *validation_paths, size_t validation_count,
                                       const lora_check_options *options, lora_check **out);
LORA_API void lora_check_free(lora_check *check);

/** Set struct_size first. */
typedef struct lora_check_info {
    size_t struct_size;
    int64_t rows;            /**< of the data, unreadable ones included */
    int64_t validation_rows;
    int64_t errors;          /**< kinds of findings of each severity */
    int64_t warnings;
    int64_t notes;
    int64_t error_rows;      /**< rows of the data and held-out rows with an error */
    int64_t warning_rows;    /**< ... with a warning and no error */
    int64_t too_long_rows;
    int32_t estimated;       /**< 1: lengths are estimated, without a tokenizer */
    int32_t reserved;
} lora_check_info;
LORA_API lora_status lora_check_get_info(const lora_check *check, lora_check_info *info);

/** The report as one JSON document, zero-terminated, lent by the check:
 *    rows, validation_rows, errors, warnings, notes as above; files: names
 *    findings: worst first, [{kind, severity ("error", "warning", "note"), count, fixable (lora_check_fix mends it),
 *      title, explanation, cure ({"en", "zh"} each), example (text of the first row of it), rows: [{place ("FILE:LINE"
 *      or "FILE: row N"), file, row (the line or N), set ("data" or "validation"), detail?, other?, other_file?,
 *      other_row? (the place of the row that it repeats or contradicts), similarity?}], unlisted_rows}]. Personal data
 *      is masked in examples and details.
 *    lengths: {unit ("tokens"), estimated, max_length, mean, p5, p25, p50, p75, p95, p99, longest, too_long,
 *      cut_tokens}
 *    languages: rows by the script of their answer, or of the question where the answer has no letters
 *    labels: rows by label, where the answers are labels */
LORA_API lora_status lora_check_report(const lora_check *check, const char **json, size_t *length);

typedef struct lora_check_fix_options {
    size_t struct_size;
    int32_t mask_personal; /**< 1: personal data becomes [PHONE], [ID], [EMAIL], [CARD]. Default 0: it stays */
    int32_t overwrite;     /**< 1: what is there gives way. Default 0 */
} lora_check_fix_options;

LORA_API void lora_check_fix_options_init(lora_check_fix_options *options, size_t struct_size);
#define lora_check_fix_options_init(options) lora_check_fix_options_init(options, sizeof *(options))

/** Set struct_size first. */
typedef struct lora_check_fix_info {
    size_t struct_size;
    int64_t kept_rows;
    int64_t dropped_rows;
    int64_t changed_rows; /**< of those kept */
} lora_check_fix_info;

/** Writes the data (not what is held out) as `path`, .jsonl or .json, with harmless repairs alone: unreadable rows,
 *  rows without an answer and exact duplicates are left out; whitespace around texts, control characters and template
 *  remnants are cut (in an answer with everything behind them, where they end a turn); text that was read in the wrong
 *  encoding is restored where that gives back the same bytes. Keys stay as they are. PATH.changes.jsonl lists every
 *  change: {place, file, row, action ("dropped" or "changed"), reasons: [a kind, "personal_data" or "whitespace"],
 *  key?, before?, after?, other?}; where personal data was masked, without `before`. `info` may be NULL.
 *  Errors: EXISTS, UNSUPPORTED (another ending), DATA (no row is left), IO, MEMORY. */
LORA_API lora_status lora_check_fix(const lora_check *check, const char *path, const lora_check_fix_options *options,
                                    lora_check_fix_info *info);

LORA_END_DECLS
#endif
