// Source to tokens. Whitespace control happens here: "-" strips, a newline after a block or comment goes (trim_blocks),
// and so does the indentation in front of one (lstrip_blocks) unless it says "+".
#include "lib/jinja/template.h"
#include "lib/jinja/text.h"

#include <string.h>

typedef struct lr_lexer {
    const lora_allocator *allocator;
    const char *name;
    const char *source;
    size_t length, at;
    int32_t line; // of `counted`
    size_t counted;
    lr_tokens *tokens;
} lr_lexer;

static int32_t line_at(lr_lexer *lexer, size_t at)
{
    for (; lexer->counted < at; lexer->counted++) lexer->line += lexer->source[lexer->counted] == '\n';
    return lexer->line;
}

static lora_status fail_at(lr_lexer *lexer, size_t at, const char *text)
{
    return lr_fail(LORA_ERROR_FORMAT, "%s:%d: %s", lexer->name, line_at(lexer, at), text);
}

static lora_status add(lr_lexer *lexer, lr_token_kind kind, size_t begin, size_t end)
{
    LR_TRY(lr_grow(lexer->allocator, (void **)&lexer->tokens->items, &lexer->tokens->capacity, lexer->tokens->count + 1,
                   sizeof(lr_token)));
    lexer->tokens->items[lexer->tokens->count++] =
        (lr_token){.kind = kind, .line = line_at(lexer, begin), .bytes = lexer->source + begin, .size = end - begin};
    return LORA_OK;
}

static char char_at(const lr_lexer *lexer, size_t at) { return at < lexer->length ? lexer->source[at] : '\0'; }

static bool starts_with(const lr_lexer *lexer, size_t at, const char *text)
{
    size_t size = strlen(text);
    return lexer->length - at >= size && memcmp(lexer->source + at, text, size) == 0;
}

static size_t skip_space(const lr_lexer *lexer, size_t at)
{
    return at + lr_leading_space(lexer->source + at, lexer->length - at);
}

// ---- data ---------------------------------------------------------------------------------------------------------

// The text in [begin, end) in front of a tag with this sign, without what whitespace control takes from its end.
static lora_status add_data(lr_lexer *lexer, size_t begin, size_t end, char sign, bool is_output)
{
    const char *text = lexer->source + begin;
    size_t size = end - begin;
    if (sign == '-') {
        size = lr_without_trailing_space(text, size);
    } else if (sign != '+' && !is_output) {
        const char *newline = memrchr(text, '\n', size);
        size_t line_begin = newline ? (size_t)(newline - text) + 1 : 0;
        bool starts_line = newline || begin == 0 || lexer->source[begin - 1] == '\n';
        if (starts_line && lr_leading_space(text + line_begin, size - line_begin) == size - line_begin)
            size = line_begin;
    }
    return size ? add(lexer, LR_TOKEN_DATA, begin, begin + size) : LORA_OK;
}

// The end of a block or comment whose closing delimiter starts at `at`: "-" takes all whitespace behind it, else one
// newline.
static size_t after_tag(const lr_lexer *lexer, size_t at, char sign)
{
    at += 2;
    if (sign == '-') return skip_space(lexer, at);
    return sign != '+' && char_at(lexer, at) == '\n' ? at + 1 : at;
}

static char sign_before(const lr_lexer *lexer, size_t begin, size_t at)
{
    char c = at > begin ? lexer->source[at - 1] : '\0';
    return c == '-' || c == '+' ? c : '\0';
}

static lora_status skip_comment(lr_lexer *lexer, size_t content)
{
    const char *end = memmem(lexer->source + content, lexer->length - content, "#}", 2);
    if (!end && content < lexer->length) return fail_at(lexer, content, "a comment has no end ('#}')");
    if (!end) return LORA_OK; // Jinja overlooks one that is opened at the very end
    size_t at = (size_t)(end - lexer->source);
    lexer->at = after_tag(lexer, at, sign_before(lexer, content, at));
    return LORA_OK;
}

// Matches "{%", a sign, a word and "%}" at `at`: sets the sign in front and the end of the tag.
static bool match_word_tag(const lr_lexer *lexer, size_t at, const char *word, char *sign, size_t *word_end)
{
    if (!starts_with(lexer, at, "{%")) return false;
    at += 2;
    *sign = char_at(lexer, at);
    if (*sign == '-' || *sign == '+')
        at++;
    else
        *sign = '\0';
    at = skip_space(lexer, at);
    if (!starts_with(lexer, at, word)) return false;
    *word_end = skip_space(lexer, at + strlen(word));
    return true;
}

static bool match_raw_begin(const lr_lexer *lexer, size_t at, char *sign, size_t *end)
{
    size_t tail;
    if (!match_word_tag(lexer, at, "raw", sign, &tail)) return false;
    if (starts_with(lexer, tail, "-%}"))
        *end = skip_space(lexer, tail + 3);
    else if (starts_with(lexer, tail, "%}"))
        *end = tail + 2;
    else
        return false;
    return true;
}

static bool match_raw_end(const lr_lexer *lexer, size_t at, char *sign, size_t *end)
{
    size_t tail;
    if (!match_word_tag(lexer, at, "endraw", sign, &tail)) return false;
    char end_sign = char_at(lexer, tail);
    if (end_sign == '-' || end_sign == '+') tail++;
    if (!starts_with(lexer, tail, "%}")) return false;
    *end = after_tag(lexer, tail, end_sign);
    return true;
}

static lora_status lex_raw(lr_lexer *lexer, size_t begin)
{
    for (size_t at = begin; at < lexer->length; at++) {
        char sign;
        size_t end;
        if (!match_raw_end(lexer, at, &sign, &end)) continue;
        LR_TRY(add_data(lexer, begin, at, sign, false));
        lexer->at = end;
        return LORA_OK;
    }
    lexer->at = lexer->length;
    return begin < lexer->length ? fail_at(lexer, begin, "'raw' has no 'endraw'") : LORA_OK;
}

// ---- inside tags --------------------------------------------------------------------------------------------------

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_name_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

// Digits with single underscores between them.
static size_t skip_digits(const lr_lexer *lexer, size_t at)
{
    while (is_digit(char_at(lexer, at)) || (char_at(lexer, at) == '_' && is_digit(char_at(lexer, at + 1)))) at++;
    return at;
}

static size_t skip_exponent(const lr_lexer *lexer, size_t at)
{
    size_t digits = at + 1;
    if ((char_at(lexer, at) | 32) != 'e') return at;
    if (char_at(lexer, digits) == '+' || char_at(lexer, digits) == '-') digits++;
    return is_digit(char_at(lexer, digits)) ? skip_digits(lexer, digits) : at;
}

static lora_status lex_number(lr_lexer *lexer)
{
    size_t begin = lexer->at, at = begin;
    char letter = (char)(char_at(lexer, at + 1) | 32);
    if (char_at(lexer, at) == '0' && (letter == 'x' || letter == 'o' || letter == 'b')) {
        at += 2;
        while (is_name_char(char_at(lexer, at))) at++;
        lexer->at = at;
        return add(lexer, LR_TOKEN_INTEGER, begin, at);
    }
    size_t whole = skip_digits(lexer, at), end = whole;
    // "1.0" after a dot is an index and another: a.1.0
    bool after_dot = begin > 0 && lexer->source[begin - 1] == '.';
    if (!after_dot && char_at(lexer, end) == '.' && is_digit(char_at(lexer, end + 1)))
        end = skip_digits(lexer, end + 1);
    if (!after_dot) end = skip_exponent(lexer, end);
    lexer->at = end;
    return add(lexer, end > whole ? LR_TOKEN_REAL : LR_TOKEN_INTEGER, begin, end);
}

static lora_status lex_string(lr_lexer *lexer)
{
    size_t begin = lexer->at + 1, at = begin;
    char quote = lexer->source[lexer->at];
    while (at < lexer->length && lexer->source[at] != quote) at += lexer->source[at] == '\\' ? 2 : 1;
    if (at >= lexer->length) return fail_at(lexer, begin, "a string has no end");
    lexer->at = at + 1;
    return add(lexer, LR_TOKEN_STRING, begin, at);
}

static lora_status lex_operator(lr_lexer *lexer)
{
    static const char *const operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                            "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!starts_with(lexer, lexer->at, operators[i])) continue;
        size_t begin = lexer->at;
        lexer->at += strlen(operators[i]);
        return add(lexer, LR_TOKEN_OPERATOR, begin, lexer->at);
    }
    return lr_fail(LORA_ERROR_FORMAT, "%s:%d: unexpected character '%.*s'", lexer->name, line_at(lexer, lexer->at),
                   (int)lr_point_size(lexer->source + lexer->at), lexer->source + lexer->at);
}

// The end of an output or block tag at the current place: bytes of its delimiter with the sign, or 0.
static size_t match_end(const lr_lexer *lexer, bool is_output, char *sign)
{
    const char *delimiter = is_output ? "}}" : "%}";
    size_t at = lexer->at;
    char c = char_at(lexer, at);
    *sign = c == '-' || (c == '+' && !is_output) ? c : '\0';
    if (*sign) at++;
    return starts_with(lexer, at, delimiter) ? at + 2 - lexer->at : 0;
}

static lora_status lex_tag(lr_lexer *lexer, bool is_output)
{
    size_t begin = lexer->at;
    int64_t open = 0; // brackets: a closing delimiter inside them is none
    LR_TRY(add(lexer, is_output ? LR_TOKEN_OUTPUT_BEGIN : LR_TOKEN_BLOCK_BEGIN, begin, begin));
    for (;;) {
        char sign;
        lexer->at = skip_space(lexer, lexer->at);
        if (lexer->at >= lexer->length)
            return fail_at(lexer, begin, is_output ? "'{{' has no '}}'" : "'{%' has no '%}'");
        size_t end = open > 0 ? 0 : match_end(lexer, is_output, &sign);
        if (end) {
            LR_TRY(add(lexer, is_output ? LR_TOKEN_OUTPUT_END : LR_TOKEN_BLOCK_END, lexer->at, lexer->at + end));
            lexer->at += end;
            if (is_output)
                lexer->at = sign == '-' ? skip_space(lexer, lexer->at) : lexer->at;
            else
                lexer->at = after_tag(lexer, lexer->at - 2, sign);
            return LORA_OK;
        }
        char c = lexer->source[lexer->at];
        if (is_digit(c)) {
            LR_TRY(lex_number(lexer));
        } else if (is_name_char(c)) {
            size_t name = lexer->at;
            while (is_name_char(char_at(lexer, lexer->at))) lexer->at++;
            LR_TRY(add(lexer, LR_TOKEN_NAME, name, lexer->at));
        } else if (c == '\'' || c == '"') {
            LR_TRY(lex_string(lexer));
        } else {
            if (c == '(' || c == '[' || c == '{') open++;
            if ((c == ')' || c == ']' || c == '}') && open-- == 0)
                return fail_at(lexer, lexer->at, "a bracket was never opened");
            LR_TRY(lex_operator(lexer));
        }
    }
}

static size_t find_tag(const lr_lexer *lexer, size_t at)
{
    for (; at + 1 < lexer->length; at++) {
        char next = lexer->source[at + 1];
        if (lexer->source[at] == '{' && (next == '{' || next == '%' || next == '#')) return at;
    }
    return lexer->length;
}

static lora_status lex_next(lr_lexer *lexer)
{
    size_t begin = lexer->at, tag = find_tag(lexer, begin);
    if (tag == lexer->length) {
        lexer->at = tag;
        return add(lexer, LR_TOKEN_DATA, begin, tag);
    }
    char kind = lexer->source[tag + 1], sign;
    size_t raw;
    if (kind == '%' && match_raw_begin(lexer, tag, &sign, &raw)) {
        LR_TRY(add_data(lexer, begin, tag, sign, false));
        return lex_raw(lexer, raw);
    }
    sign = char_at(lexer, tag + 2);
    bool has_sign = sign == '-' || sign == '+';
    LR_TRY(add_data(lexer, begin, tag, sign, kind == '{'));
    lexer->at = tag + 2 + has_sign;
    return kind == '#' ? skip_comment(lexer, lexer->at) : lex_tag(lexer, kind == '{');
}

lora_status lr_jinja_lex(const lora_allocator *allocator, const char *name, const char *source, size_t length,
                         lr_tokens *out)
{
    lr_lexer lexer = {
        .allocator = allocator, .name = name, .source = source, .length = length, .line = 1, .tokens = out};
    while (lexer.at < length) LR_TRY(lex_next(&lexer));
    return add(&lexer, LR_TOKEN_STOP, length, length);
}
