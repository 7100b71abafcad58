// Numbers as text, and text as numbers, whatever the host's locale.
#include "lib/jinja/text.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'z') return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
    return 99;
}

// 0x, 0o and 0b are skipped where they say the base; base 0 takes it from them.
static size_t skip_prefix(const char *at, size_t size, int *base)
{
    int named = 0;
    if (size > 2 && at[0] == '0') {
        char letter = (char)(at[1] | 32);
        named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    }
    if (named && (*base == named || *base == 0)) {
        *base = named;
        return 2;
    }
    if (*base == 0) *base = 10;
    return 0;
}

bool lr_text_to_integer(const lr_text *text, int base, int64_t *out)
{
    const char *at = text->bytes + lr_leading_space(text->bytes, text->size);
    const char *end = text->bytes + lr_without_trailing_space(text->bytes, text->size);
    if (at >= end || base < 0 || base == 1 || base > 36) return false;
    bool negative = *at == '-';
    if (*at == '-' || *at == '+') at++;
    size_t prefix = at < end ? skip_prefix(at, (size_t)(end - at), &base) : 0;
    at += prefix;
    bool after_digit = prefix > 0; // an underscore may follow
    int64_t value = 0;
    if (at >= end) return false;
    for (; at < end; at++) {
        if (*at == '_' && after_digit && at + 1 < end) {
            after_digit = false;
            continue;
        }
        int digit = digit_value(*at);
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return false;
        after_digit = true;
    }
    if (!negative && value == INT64_MIN) return false;
    *out = negative ? value : -value;
    return true;
}

static bool is_word(const char *at, size_t size, const char *word)
{
    if (size != strlen(word)) return false;
    for (size_t i = 0; i < size; i++)
        if ((at[i] | 32) != word[i]) return false;
    return true;
}

static bool special_real(const char *at, size_t size, double *out)
{
    double sign = size && *at == '-' ? -1 : 1;
    if (size && (*at == '-' || *at == '+')) at++, size--;
    if (is_word(at, size, "inf") || is_word(at, size, "infinity"))
        *out = sign * HUGE_VAL;
    else if (is_word(at, size, "nan"))
        *out = NAN;
    else
        return false;
    return true;
}

bool lr_text_to_real(const lr_text *text, double *out)
{
    char digits[128];
    size_t begin = lr_leading_space(text->bytes, text->size), length = 0;
    size_t size = lr_without_trailing_space(text->bytes, text->size);
    if (begin >= size) return false;
    if (special_real(text->bytes + begin, size - begin, out)) return true;
    bool has_digit = false;
    for (size_t i = begin; i < size; i++) {
        char c = text->bytes[i];
        bool digit = c >= '0' && c <= '9';
        if (c == '_' && i > begin && i + 1 < size && has_digit && digit_value(text->bytes[i + 1]) < 10) continue;
        if (!digit && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E') return false;
        if (length + 8 > sizeof digits) return false;
        has_digit |= digit;
        if (c != '.') {
            digits[length++] = c;
            continue;
        }
        const char *point = localeconv()->decimal_point;
        size_t point_size = strlen(point);
        if (point_size > 4) return false;
        memcpy(digits + length, point, point_size);
        length += point_size;
    }
    digits[length] = '\0';
    char *end;
    *out = strtod(digits, &end);
    return has_digit && *end == '\0';
}

// The digits and the exponent of the shortest %e form that reads back as `value`, whose point may be any locale's.
static int shortest_digits(double value, char *digits, int *exponent)
{
    char text[64];
    for (int precision = 0; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, value);
        if (precision == 17 || strtod(text, NULL) == value) break;
    }
    int count = 0;
    const char *at = text;
    for (; *at != 'e'; at++)
        if (*at >= '0' && *at <= '9') digits[count++] = *at;
    *exponent = atoi(at + 1);
    while (count > 1 && digits[count - 1] == '0') count--;
    return count;
}

void lr_real_to_text(double value, char *out)
{
    if (isnan(value) || isinf(value)) {
        strcpy(out, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    if (signbit(value)) *out++ = '-';
    char digits[32] = {0};
    int exponent, count = shortest_digits(fabs(value), digits, &exponent);
    if (exponent < -4 || exponent >= 16) {
        *out++ = digits[0];
        if (count > 1) *out++ = '.';
        for (int i = 1; i < count; i++) *out++ = digits[i];
        snprintf(out, 8, "e%+03d", exponent);
        return;
    }
    if (exponent < 0) {
        *out++ = '0';
        *out++ = '.';
        for (int i = -1; i > exponent; i--) *out++ = '0';
        for (int i = 0; i < count; i++) *out++ = digits[i];
    } else {
        for (int i = 0; i <= exponent; i++) *out++ = i < count ? digits[i] : '0';
        *out++ = '.';
        for (int i = exponent + 1; i < count; i++) *out++ = digits[i];
        if (count <= exponent + 1) *out++ = '0';
    }
    *out = '\0';
}
