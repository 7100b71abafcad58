/** @file dataset.h
 *  Training and evaluation data: rows from files or from the host, turned into token ids with a label for each.
 *
 *  A label is the id to be learnt at that position, or -100 where nothing is (the prompt). Labels are aligned with ids;
 *  the shift by one happens in the loss.
 */
#ifndef LORA_DATASET_H
#define LORA_DATASET_H

#include "tokenizer.h"

LORA_BEGIN_DECLS

typedef struct lora_dataset lora_dataset;

#define LORA_LABEL_IGNORED (-100)

typedef struct lora_dataset_options {
    size_t struct_size;
    int32_t max_length;      /**< ids per row; longer rows are cut in the prompt first; the end token is never cut.
                                  Default 512 */
    int32_t train_on_prompt; /**< 1: prompt tokens are learnt too. Default 0 */
    /** How rows become text: NULL: the tokenizer's chat template, or where it has none "alpaca". Else "alpaca", "chat"
     *  or Jinja text. Rows of plain `text` are taken as they are. */
    const char *template_source;
    int32_t raw_text_split;  /**< rows of plain `text` longer than max_length: 1 (default) continue in the next example,
                                  0 are cut */
    int32_t max_rows;        /**< 0: all */
} lora_dataset_options;

LORA_API void lora_dataset_options_init(lora_dataset_options *options, size_t struct_size);
#define lora_dataset_options_init(options) lora_dataset_options_init(options, sizeof *(options))

/** Reads rows from files: .json (an array), .jsonl, .csv, .tsv, .txt, each also .gz; "-" is standard input (JSON
 *  lines). A folder with LLaMA-Factory's dataset_info.json stands for all its sets that have a file of text;
 *  FOLDER:NAME or FOLDER/dataset_info.json:NAME for one of them, read under the columns and tags that it declares (as
 *  there: alpaca and sharegpt formatting, ranking, kto_tag, tools; of num_samples the first are taken).
 *
 *  Encoding: UTF-8, UTF-16 (either order) with a byte-order mark or recognised by its zero bytes, or GB18030.
 *  Tables: the delimiter (comma, tab, semicolon, |, 、 or ，) is the one under which the first line names the most
 *  columns; else that of the file's ending. Fields in double quotes may hold it, line breaks and doubled quotes. A .txt
 *  whose first line names columns and nothing else is a table too; any other is one running text (with a warning where
 *  all its lines have equally many fields between tabs).
 *
 *  Row shapes, recognised by their keys or columns, whatever their letter case; each line is one meaning:
 *    instruction, 指令, 任务 (+ input, 输入; system; history) -> output, 输出, target
 *    prompt, question, 问题, 提问, 问, 提示词, 提示, query -> completion, response, answer, 回答, 答案, 答, 回复, 答复
 *    messages, conversations, conversation, chosen_messages, 对话: a list of role/content or from/value; the roles
 *      function_call and observation are a tool's call and its answer; `tools` is handed to the chat template
 *    text, sentence, review, content, 文本, 内容, 正文, 句子, 评论 -> label, category, class, 标签, 类别, 分类; without a
 *      label running text
 *    system, system_prompt, 系统提示, 系统; history, 历史
 *    chosen (+ rejected) in place of an answer or behind messages: what was chosen is learnt
 *    input_ids (+ labels)
 *  Questions and answers of different lines may stand together (instruction -> response); `query` beside another
 *  question is its input. A row of questions or messages whose `label` is false is not learnt (KTO).
 *
 *  `tokenizer` may be NULL when every row holds input_ids.
 *  Errors: NOT_FOUND, IO, FORMAT (file:line), UNSUPPORTED, DATA (a row without output, with images, no rows, another
 *  encoding, an id outside the vocabulary: file:row), MEMORY. */
LORA_API lora_status lora_dataset_load(lora_context *context, const lora_tokenizer *tokenizer, const char *const *paths,
                                       size_t path_count, const lora_dataset_options *options, lora_dataset **out);

/** One row of a file: a JSON object of `length` bytes, zero-terminated, lent for the call; `number` is its line, or its
 *  place from 1 where lines mean nothing. Return other than 0 to stop. */
typedef int32_t (*lora_row_fn)(const char *json, size_t length, int64_t number, void *user);
/** The rows of what lora_dataset_load reads, as they are and whatever they mean: for showing, editing and converting
 *  data. The keys are the file's own; encoding and delimiter are dealt with as there. Errors: as there. */
LORA_API lora_status lora_dataset_read_rows(lora_context *context, const char *path, lora_row_fn callback, void *user);

/** An empty dataset for rows of ids that the host adds. */
LORA_API lora_status lora_dataset_create(lora_context *context, lora_dataset **out);
/** labels NULL: every id but the first is learnt. Errors: ARGUMENT (an id is negative, no ids), MEMORY. */
LORA_API lora_status lora_dataset_add(lora_dataset *dataset, const int32_t *ids, const int32_t *labels, size_t count);

/** Moves round(fraction * rows) rows, chosen by `seed`, into a new dataset. Errors: ARGUMENT, DATA (either would be
 *  empty). */
LORA_API lora_status lora_dataset_split(lora_dataset *dataset, double fraction, uint64_t seed, lora_dataset **out);

/** Rows to mix in, and their share of all rows afterwards. */
typedef struct lora_mix {
    const lora_dataset *general;
    double fraction; /**< 0 to below 1; together below 1 */
} lora_mix;
/** Copies rows of general data to the end of `dataset`, so that each part makes up its fraction of all rows: of N own
 *  rows and fractions that sum to F, round(fraction / (1 - F) * N), or all the part has. Own rows are never left out,
 *  none is copied twice; `seed` chooses. *added (may be NULL): how many. What a model forgets is measured on general
 *  rows that were split off before. Errors: ARGUMENT, MEMORY (`dataset` is as it was). */
LORA_API lora_status lora_dataset_mix(lora_dataset *dataset, const lora_mix *parts, size_t count, uint64_t seed,
                                      int64_t *added);
LORA_API void lora_dataset_free(lora_dataset *dataset);

/** Set struct_size first. */
typedef struct lora_dataset_info {
    size_t struct_size;
    int64_t rows;
    int64_t tokens;
    int64_t label_tokens;   /**< ids that are learnt */
    int64_t cut_rows;       /**< rows that were longer than max_length */
    int64_t terminated_rows;/**< rows whose last learnt id is an end-of-turn token */
    int64_t longest_row;    /**< ids, after cutting */
    int64_t response_rows;  /**< rows that have a prompt and an answer (not plain text) */
    int64_t skipped_rows;   /**< rows that were left out because their label says that the answer is bad (KTO) */
} lora_dataset_info;
LORA_API lora_status lora_dataset_get_info(const lora_dataset *dataset, lora_dataset_info *info);

/** One row; the arrays are lent by the dataset. */
LORA_API lora_status lora_dataset_row(const lora_dataset *dataset, size_t index, const int32_t **ids,
                                      const int32_t **labels, size_t *count);
/** The prompt and the expected answer of a row as text, for showing and for evaluation by generation; NULL where the
 *  row has none (plain text, ids). Lent. */
LORA_API lora_status lora_dataset_row_text(const lora_dataset *dataset, size_t index, const char **prompt,
                                           const char **answer);

LORA_END_DECLS
#endif
