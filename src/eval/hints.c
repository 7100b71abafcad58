// The checklist's questions, and hints that a program can find: each says where a person should look, none is a
// verdict.
#include "src/eval/evaluation.h"

#include "src/core/validate.h"

#include "lib/unicode.h"

#include <stdlib.h>
#include <utf8proc.h>

enum { FOLLOWS, COHERENT, FLAVOUR, AVOIDS };

const lr_question lr_questions[] = {
    [FOLLOWS] = {"follows_instruction", "Does the answer do what was asked?", "回答按要求做了吗？"},
    [COHERENT] = {"coherent", "Is it clear and consistent, without breaks or repetition?",
                  "表达是否清楚连贯，没有中断和重复？"},
    [FLAVOUR] = {"domain_flavour", "Does it sound like your examples?", "读起来像您给的例子吗？"},
    [AVOIDS] = {"avoids_base_mistakes", "Does it avoid the mistakes of the base model?", "避免了基础模型的错误吗？"},
};
const size_t lr_question_count = sizeof lr_questions / sizeof *lr_questions;

// ---- a row as hints see it ------------------------------------------------------------------------------------------

struct lr_hinter {
    const lr_judgement *j;
    lora_metric *words, *order; // ROUGE-1 and ROUGE-L in the judgement's words
};

typedef struct sample {
    const lr_hinter *hinter;
    const char *prompt, *answer, *expected, *base; // prompt "" where there is none; expected and base may be NULL
    int32_t finish;
    int64_t answer_words, expected_words;
    lora_repetition repetition;
    lora_status status; // of what a test had to compute
} sample;

void lr_count_letters(const char *text, lr_letters *letters)
{
    int32_t code;
    for (size_t at = 0, length = strlen(text); at < length;) {
        at += lr_utf8_next(text + at, length - at, &code);
        utf8proc_category_t category = utf8proc_category(code);
        if (category < UTF8PROC_CATEGORY_LU || category > UTF8PROC_CATEGORY_LO) continue;
        if (lr_is_cjk(code))
            letters->cjk += 2;
        else if ((code | 32) >= 'a' && (code | 32) <= 'z')
            letters->latin++;
        else
            letters->other++;
    }
}

static size_t visible(const char *text)
{
    size_t count = 0;
    int32_t code;
    for (size_t at = 0, length = strlen(text); at < length;) {
        at += lr_utf8_next(text + at, length - at, &code);
        count += !lr_is_python_space(code);
    }
    return count;
}

static bool holds_any(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcasestr(text, *words)) return true;
    return false;
}

// ---- what was asked -------------------------------------------------------------------------------------------------

static bool is_empty(sample *s) { return visible(s->answer) == 0; }

static bool is_short(sample *s)
{
    return !is_empty(s) && s->expected && s->expected_words >= 8 && s->answer_words * 4 < s->expected_words;
}

// Scripts differ from the expected answer's, or where none is known the prompt's.
static bool is_other_language(sample *s)
{
    lr_letters own = {0}, other = {0};
    lr_count_letters(s->answer, &own);
    lr_count_letters(s->expected ? s->expected : s->prompt, &other);
    if (own.latin + own.cjk + own.other < 8 || other.latin + other.cjk + other.other < 8) return false;
    return lr_mostly_chinese(own) != lr_mostly_chinese(other);
}

static bool copies_prompt(sample *s)
{
    size_t space = lr_leading_space(s->answer, strlen(s->answer)),
           length = lr_without_trailing_space(s->answer + space, strlen(s->answer + space));
    if (visible(s->answer) < 20 || strlen(s->prompt) < length) return false;
    for (const char *at = s->prompt; (at = strchr(at, s->answer[space])) && strlen(at) >= length; at++)
        if (memcmp(at, s->answer + space, length) == 0) return true;
    return false;
}

// Lines that begin with a mark or a number.
static int list_items(const char *text)
{
    int items = 0;
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *at = line + strspn(line, " \t");
        size_t digits = strspn(at, "0123456789");
        const char *behind = at + digits;
        items += digits ? *behind == '.' || *behind == ')' || strncmp(behind, "、", 3) == 0 ||
                              strncmp(behind, "．", 3) == 0 || strncmp(behind, "）", 3) == 0
                        : ((*at == '-' || *at == '*') && at[1] == ' ') || strncmp(at, "•", 3) == 0 ||
                              strncmp(at, "·", 2) == 0;
    }
    return items;
}

static bool lacks_list(sample *s)
{
    static const char *const words[] = {"a list of", "list the", "as a list", "bullet", "numbered", "列表",
                                        "清单",      "分点",     "逐条",      "列举",   "列出",     NULL};
    return holds_any(s->prompt, words) && list_items(s->answer) < 2 && (!s->expected || list_items(s->expected) >= 2);
}

static bool is_json(const char *text)
{
    const char *begin = text + strspn(text, " \t\r\n");
    if (strncmp(begin, "```", 3) == 0) begin += strcspn(begin, "\n");
    size_t length = strlen(begin);
    while (length > 0 && strchr(" \t\r\n`", begin[length - 1])) length--;
    json_t *value = json_loadb(begin, length, 0, NULL);
    json_decref(value);
    return value != NULL;
}

static bool lacks_json(sample *s)
{
    return strcasestr(s->prompt, "json") && !is_json(s->answer) && (!s->expected || is_json(s->expected));
}

static bool stands_before(const char *text, const char *at, const char *const *words, size_t reach)
{
    char before[64];
    size_t size = (size_t)(at - text) < reach ? (size_t)(at - text) : reach;
    memcpy(before, at - size, size);
    before[size] = '\0';
    return holds_any(before, words);
}

// "within 50 words", "50字以内": the number, and whether it counts characters; 0: nothing of the kind.
static int64_t asked_length(const char *prompt, bool *characters)
{
    static const char *const english[] = {"within", "at most", "under", "than", "up to", "maximum", "limit", NULL};
    static const char *const chinese[] = {"不超过", "不要超过", "少于", "最多", "不多于", "控制在", NULL};
    for (const char *at = prompt; (at = strpbrk(at, "0123456789"));) {
        char *end;
        long number = strtol(at, &end, 10);
        const char *unit = end + strspn(end, " ");
        if (strncmp(unit, "个", 3) == 0) unit += 3;
        bool of_words = strncasecmp(unit, "word", 4) == 0 && stands_before(prompt, at, english, 20);
        *characters =
            strncmp(unit, "字", 3) == 0 && (strncmp(unit + 3, "以内", 6) == 0 || strncmp(unit + 3, "之内", 6) == 0 ||
                                            stands_before(prompt, at, chinese, 24));
        if ((of_words || *characters) && number > 0 && number < 1000000) return number;
        at = end;
    }
    return 0;
}

static bool is_longer_than_asked(sample *s)
{
    bool characters;
    int64_t most = asked_length(s->prompt, &characters);
    return most > 0 && (characters ? (int64_t)visible(s->answer) : s->answer_words) * 10 > most * 11;
}

// ---- how it reads ---------------------------------------------------------------------------------------------------

static bool repeats(sample *s)
{
    return s->repetition.share > 0.3 ||
           (s->repetition.longest >= 16 && s->repetition.longest * 3 > s->repetition.words);
}

static bool is_cut(sample *s) { return s->finish == LORA_FINISH_LENGTH; }

static bool is_damaged(sample *s)
{
    static const char *const remnants[] = {"\xEF\xBF\xBD", "<|",   "|>", "### Response", "### Instruction", "[INST]",
                                           "<s>",          "</s>", NULL};
    return holds_any(s->answer, remnants) && !(s->expected && holds_any(s->expected, remnants));
}

// ROUGE of the answer against another text; 0 to 100.
static double likeness(const lora_metric *metric, sample *s, const char *other, bool recall)
{
    double statistics[4] = {0}, score = 0;
    if (s->status == LORA_OK) s->status = lora_metric_rows(metric, &s->answer, &other, 1, 1, statistics, &score);
    return recall ? 100 * statistics[1] : score;
}

static bool shares_few_words(sample *s)
{
    return !is_empty(s) && s->expected && s->expected_words >= 5 &&
           likeness(s->hinter->words, s, s->expected, true) < 15;
}

static bool is_like_base(sample *s)
{
    if (!s->base || is_empty(s) || (s->expected && strcmp(s->answer, s->expected) == 0)) return false;
    return strcmp(s->answer, s->base) == 0 ||
           (s->answer_words >= 5 && likeness(s->hinter->order, s, s->base, false) >= 90);
}

// ---- all of them ----------------------------------------------------------------------------------------------------

static bool (*const tests[])(sample *s) = {is_empty,   is_short,   is_other_language,    copies_prompt,
                                           lacks_list, lacks_json, is_longer_than_asked, repeats,
                                           is_cut,     is_damaged, shares_few_words,     is_like_base};

const lr_hint lr_hints[] = {
    {"empty", FOLLOWS, "the answer is empty", "回答为空"},
    {"short", FOLLOWS, "much shorter than the expected answer", "比参考答案短很多"},
    {"language", FOLLOWS, "in another language than expected", "语言与预期不同"},
    {"copy", FOLLOWS, "copied from the prompt", "照抄了提问"},
    {"no_list", FOLLOWS, "a list was asked for; there is none", "要求列出条目，但没有列表"},
    {"no_json", FOLLOWS, "JSON was asked for; this is none", "要求 JSON 格式，但不是合法的 JSON"},
    {"long", FOLLOWS, "longer than was asked for", "超过了要求的长度"},
    {"repeats", COHERENT, "repeats itself", "内容重复"},
    {"cut", COHERENT, "stopped by the length limit, without an end of its own", "到长度上限被截断，没有自然结束"},
    {"damaged", COHERENT, "holds damaged characters or parts of a template", "含有乱码或模板残留"},
    {"few_words", FLAVOUR, "shares hardly a word with the expected answer", "与参考答案几乎没有相同的词"},
    {"like_base", AVOIDS, "almost the base model's answer, which is not the expected one",
     "与基础模型的回答几乎相同，而那不是期望的答案"},
};
const size_t lr_hint_count = sizeof lr_hints / sizeof *lr_hints;
_Static_assert(sizeof tests / sizeof *tests == sizeof lr_hints / sizeof *lr_hints, "a test for each hint");

lora_status lr_hinter_create(const lr_judgement *j, lr_hinter **out)
{
    lora_context *context = j->e->context;
    lora_metric_options options;
    lora_metric_options_init(&options);
    options.words = j->words;
    *out = lr_alloc_zeroed(&context->allocator, 1, sizeof **out);
    if (!*out) return LORA_ERROR_MEMORY;
    (*out)->j = j;
    LR_TRY(lora_metric_create(context, "rouge1", &options, &(*out)->words));
    return lora_metric_create(context, "rougeL", &options, &(*out)->order);
}

void lr_hinter_free(lr_hinter *hinter)
{
    if (!hinter) return;
    const lora_allocator *allocator = &hinter->j->e->context->allocator;
    lora_metric_free(hinter->words);
    lora_metric_free(hinter->order);
    lr_free(allocator, hinter);
}

lora_status lr_hints_of(lr_hinter *hinter, size_t row, uint32_t *bits)
{
    lora_evaluation *e = hinter->j->e;
    const lr_example *x = &e->examples[row];
    const lr_outcome *o = &e->outcomes[LORA_SYSTEM][row];
    sample s = {.hinter = hinter, .prompt = x->prompt ? x->prompt : "", .answer = o->text, .finish = o->finish};
    s.expected = x->reference_count ? x->references[0] : NULL;
    s.base = hinter->j->systems == 2 ? e->outcomes[LORA_SYSTEM_BASELINE][row].text : NULL;
    *bits = 0;
    if (!o->text) return LORA_OK;
    s.repetition.struct_size = sizeof s.repetition;
    if (s.expected) {
        LR_TRY(lora_text_repetition(e->context, s.expected, 4, LORA_WORDS_CHARACTERS, &s.repetition));
        s.expected_words = s.repetition.words;
    }
    LR_TRY(lora_text_repetition(e->context, o->text, 4, LORA_WORDS_CHARACTERS, &s.repetition));
    s.answer_words = s.repetition.words;
    for (size_t h = 0; h < lr_hint_count; h++)
        if (tests[h](&s)) *bits |= (uint32_t)1 << h;
    return s.status;
}
