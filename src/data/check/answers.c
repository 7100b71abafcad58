// Answers that are empty, very short or break off, and labels of very different frequency.
#include "src/data/check/check.h"

#include "lib/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_MEDIAN 20   // units: among such answers one of at most SHORT is very short
#define SHORT 2
#define SENTENCE 6       // units of a last line from which it is a sentence
#define LABEL_BYTES 40   // a longer answer is no label
#define MAX_LABELS 50
#define MIN_LABELLED 20  // rows
#define UNBALANCED 4     // times

static bool is_blank(const char *text) { return text[strspn(text, " \t\r\n")] == '\0'; }

static bool is_answered(const lr_check_row *row) { return row->has_text && !row->plain && !is_blank(row->answer); }

// ---- labels -------------------------------------------------------------------------------------------------------

static lora_status count_label(json_t *counts, const char *label)
{
    json_t *count = json_object_get(counts, label);
    int failed = count ? json_integer_set(count, json_integer_value(count) + 1)
                       : json_object_set_new(counts, label, json_integer(1));
    return failed ? lr_fail_memory(sizeof(json_t)) : LORA_OK;
}

// Counts the answers of the data as labels; *are_labels: few, short and often repeated, or said to be labels.
static lora_status count_labels(lora_check *check, bool *are_labels)
{
    size_t rows = 0, labelled = 0;
    check->labels = json_object();
    if (!check->labels) return lr_fail_memory(sizeof(json_t));
    *are_labels = true;
    for (size_t i = 0; i < check->row_count && *are_labels; i++) {
        const lr_check_row *row = &check->rows[i];
        if (!is_answered(row) || row->validation) continue;
        rows++;
        labelled += row->labelled;
        *are_labels = strlen(row->answer) <= LABEL_BYTES && json_object_size(check->labels) <= MAX_LABELS;
        if (*are_labels) LR_TRY(count_label(check->labels, row->answer));
    }
    bool few = rows >= MIN_LABELLED && 5 * json_object_size(check->labels) <= rows;
    *are_labels = *are_labels && rows > 0 && (few || labelled == rows);
    if (!*are_labels) json_object_clear(check->labels);
    return LORA_OK;
}

// Rows of labels that the commonest label outnumbers.
static lora_status find_rare_labels(lora_check *check)
{
    json_int_t most = 0;
    const char *label;
    json_t *count;
    json_object_foreach(check->labels, label, count)
        most = json_integer_value(count) > most ? json_integer_value(count) : most;
    for (size_t i = 0; i < check->row_count; i++) {
        const lr_check_row *row = &check->rows[i];
        if (!is_answered(row) || row->validation) continue;
        json_int_t own = json_integer_value(json_object_get(check->labels, row->answer));
        if (own * UNBALANCED > most) continue;
        char detail[128];
        int length = snprintf(detail, sizeof detail, "%.60s: %lld, the commonest %lld", row->answer, (long long)own,
                              (long long)most);
        LR_TRY(lr_add_hit(check, LR_UNBALANCED_LABELS, i, detail, (size_t)length));
    }
    return LORA_OK;
}

// ---- lengths ------------------------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

static lora_status find_short(lora_check *check)
{
    const lora_allocator *allocator = &check->context->allocator;
    size_t *units = lr_alloc_array(allocator, check->row_count, 2 * sizeof *units), *sorted = units + check->row_count;
    size_t count = 0;
    lora_status status = LORA_OK;
    if (!units) return LORA_ERROR_MEMORY;
    for (size_t i = 0; i < check->row_count; i++) {
        units[i] = is_answered(&check->rows[i]) ? lr_count_units(check->rows[i].answer) : SHORT + 1;
        if (is_answered(&check->rows[i])) sorted[count++] = units[i];
    }
    if (count > 0) qsort(sorted, count, sizeof *sorted, by_value);
    for (size_t i = 0; i < check->row_count && count > 0 && status == LORA_OK; i++)
        if (units[i] <= SHORT && sorted[count / 2] >= LONG_MEDIAN)
            status = lr_add_hit(check, LR_SHORT_OUTPUT, i, check->rows[i].answer, strlen(check->rows[i].answer));
    lr_free(allocator, units);
    return status;
}

// ---- endings ------------------------------------------------------------------------------------------------------

typedef enum ending { ENDING_NONE, ENDING_MARKED, ENDING_OPEN } ending;

static bool is_item(const char *line)
{
    static const char *const marks[] = {"-", "*", "•", "#", "|", ">", "+"};
    line += strspn(line, " \t");
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strncmp(line, marks[i], strlen(marks[i])) == 0) return true;
    size_t digits = strspn(line, "0123456789");
    return digits > 0 && (strchr(".)", line[digits]) || strncmp(line + digits, "、", 3) == 0);
}

// How an answer's last line ends, where it is a sentence: with a letter, or with something else.
static ending ending_of(const char *answer)
{
    size_t length = strlen(answer);
    while (length > 0 && strchr(" \t\r\n", answer[length - 1])) length--;
    size_t begin = length;
    while (begin > 0 && answer[begin - 1] != '\n') begin--;
    const char *line = answer + begin;
    if (length == begin || is_item(line) || strstr(answer, "```") || strstr(line, "://") || strchr(line, '`') ||
        lr_count_units(line) < SENTENCE)
        return ENDING_NONE;
    int32_t code;
    lr_utf8_next(answer + lr_utf8_previous(answer, length), 4, &code);
    return lr_is_word(code) && !lr_is_numeric(code) ? ENDING_OPEN : ENDING_MARKED;
}

static lora_status find_open_endings(lora_check *check)
{
    size_t counts[3] = {0};
    for (size_t i = 0; i < check->row_count; i++)
        if (is_answered(&check->rows[i])) counts[ending_of(check->rows[i].answer)]++;
    // Where most do without, that is how these answers are written.
    if (counts[ENDING_MARKED] < 5 || 2 * counts[ENDING_MARKED] < 3 * counts[ENDING_OPEN]) return LORA_OK;
    for (size_t i = 0; i < check->row_count; i++) {
        const char *answer = check->rows[i].answer;
        if (!is_answered(&check->rows[i]) || ending_of(answer) != ENDING_OPEN) continue;
        size_t length = strlen(answer), from = length > 60 ? lr_utf8_previous(answer, length - 59) : 0;
        LR_TRY(lr_add_hit(check, LR_NO_FINAL_PUNCTUATION, i, answer + from, length - from));
    }
    return LORA_OK;
}

lora_status lr_find_answers(lora_check *check)
{
    bool are_labels;
    for (size_t i = 0; i < check->row_count; i++)
        if (check->rows[i].has_text && is_blank(check->rows[i].answer))
            LR_TRY(lr_add_hit(check, LR_EMPTY_OUTPUT, i, NULL, 0));
    LR_TRY(count_labels(check, &are_labels));
    if (are_labels) return find_rare_labels(check);
    LR_TRY(find_short(check));
    return find_open_endings(check);
}
