// The script that a text is mostly written in, and rows where it is not what one would expect.
#include "src/data/check/check.h"

#include "lib/unicode.h"

#include <string.h>

#define MIN_ROWS 20      // for one script to be rare among them
#define RARE_SHARE 20    // one row in so many
#define MIN_LETTERS 12   // for a text to speak a language

typedef enum script {
    NO_SCRIPT,
    CHINESE,
    JAPANESE,
    KOREAN,
    LATIN,
    CYRILLIC,
    ARABIC,
    OTHER_SCRIPT,
    MIXED, // none has seven tenths
    SCRIPT_COUNT
} script;

static const char *const script_names[SCRIPT_COUNT] = {"none",  "chinese",  "japanese", "korean",
                                                       "latin", "cyrillic", "arabic",   "other",    "mixed"};

static script script_of_letter(int32_t code)
{
    if (code < 0x80) return (code | 32) >= 'a' && (code | 32) <= 'z' ? LATIN : NO_SCRIPT;
    if (!lr_is_word(code) || lr_is_numeric(code)) return NO_SCRIPT;
    if (code < 0x250) return LATIN;
    if (code >= 0x400 && code < 0x530) return CYRILLIC;
    if (code >= 0x600 && code < 0x780) return ARABIC;
    if (code >= 0x3040 && code < 0x3100) return JAPANESE;
    if ((code >= 0xAC00 && code < 0xD7B0) || (code >= 0x1100 && code < 0x1200)) return KOREAN;
    if ((code >= 0x3400 && code < 0xA000) || (code >= 0x20000 && code < 0x40000)) return CHINESE;
    return OTHER_SCRIPT;
}

// A Chinese character says about as much as three Latin letters. Some kana among the characters make it Japanese.
static script script_of(const char *text, size_t *letters)
{
    size_t counts[SCRIPT_COUNT] = {0}, length = strlen(text);
    for (size_t at = 0; at < length;) {
        int32_t code;
        at += lr_utf8_next(text + at, length - at, &code);
        counts[script_of_letter(code)]++;
    }
    if (10 * counts[JAPANESE] > counts[CHINESE]) counts[JAPANESE] += counts[CHINESE], counts[CHINESE] = 0;
    counts[CHINESE] *= 3, counts[JAPANESE] *= 3, counts[KOREAN] *= 2;
    script most = NO_SCRIPT;
    size_t all = 0;
    counts[NO_SCRIPT] = 0;
    for (int i = 0; i < SCRIPT_COUNT; i++) {
        all += counts[i];
        if (counts[i] > counts[most]) most = (script)i;
    }
    *letters = counts[most];
    return 10 * counts[most] < 7 * all ? MIXED : most;
}

// The question asks for another language, or for code.
static bool expects_another(const lr_check_row *row)
{
    static const char *const words[] = {"ranslat", "翻译",  "译成",    "英文",   "英语",   "中文",
                                        "汉语",    "日语",  "法语",    "nglish", "hinese", "panish",
                                        "rench",   "erman", "apanese", "代码",   "SQL",    "ython"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(row->prompt, words[i])) return true;
    return strstr(row->answer, "```") != NULL;
}

static lora_status find_rare(lora_check *check, const unsigned char *scripts, const size_t *counts)
{
    size_t all = 0;
    for (int i = NO_SCRIPT + 1; i < SCRIPT_COUNT; i++) all += counts[i];
    if (all < MIN_ROWS) return LORA_OK;
    for (size_t i = 0; i < check->row_count; i++)
        if (scripts[i] != NO_SCRIPT && counts[scripts[i]] * RARE_SHARE < all)
            LR_TRY(lr_add_hit(check, LR_RARE_LANGUAGE, i, script_names[scripts[i]], strlen(script_names[scripts[i]])));
    return LORA_OK;
}

static lora_status count_scripts(lora_check *check, unsigned char *scripts, size_t *counts)
{
    for (size_t i = 0; i < check->row_count; i++) {
        const lr_check_row *row = &check->rows[i];
        size_t letters, asked;
        if (!row->has_text) continue;
        script answer = script_of(row->answer, &letters), question = script_of(row->prompt, &asked);
        counts[answer == NO_SCRIPT ? question : answer]++; // where the answer is a number
        if (letters < MIN_LETTERS || answer == MIXED) continue; // a label, a name, a formula; or nothing to say
        scripts[i] = (unsigned char)answer;
        if (asked >= MIN_LETTERS && question != MIXED && question != answer && !expects_another(row))
            LR_TRY(lr_add_hit(check, LR_LANGUAGE_MISMATCH, i, NULL, 0));
    }
    check->languages = json_object();
    for (int i = 0; i < SCRIPT_COUNT; i++)
        if (counts[i] > 0 &&
            json_object_set_new(check->languages, script_names[i], json_integer((json_int_t)counts[i])) != 0)
            return lr_fail_memory(sizeof(json_t));
    return check->languages ? LORA_OK : lr_fail_memory(sizeof(json_t));
}

lora_status lr_find_languages(lora_check *check)
{
    size_t counts[SCRIPT_COUNT] = {0};
    unsigned char *scripts = lr_alloc_zeroed(&check->context->allocator, check->row_count, 1);
    if (!scripts) return LORA_ERROR_MEMORY;
    lora_status status = count_scripts(check, scripts, counts);
    if (status == LORA_OK) status = find_rare(check, scripts, counts);
    lr_free(&check->context->allocator, scripts);
    return status;
}
