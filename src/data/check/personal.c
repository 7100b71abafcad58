// Personal data by its patterns: telephone numbers, Chinese resident IDs and bank cards by their check digits, e-mail.
#include "src/data/check/check.h"

#include <string.h>

#define MAX_DIGITS 24

// One find in a text.
typedef struct personal {
    lr_kind kind;
    size_t begin, end;
} personal;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// A run of digits, with single spaces, hyphens and brackets between them, as numbers are written.
typedef struct number {
    size_t begin, end;
    bool plus;
    int count;
    char digits[MAX_DIGITS + 1];
    int groups[MAX_DIGITS]; // lengths of the parts
    int group_count;
    bool ends_with_x; // the last digit is an X
} number;

static size_t separator(const char *text)
{
    if ((*text == ' ' || *text == '-') && (is_digit(text[1]) || text[1] == '(')) return 1;
    if (*text == ')' && is_digit(text[1])) return 1;
    if (text[0] == ')' && text[1] == ' ' && is_digit(text[2])) return 2;
    return 0;
}

// The number at text[at], which begins with +, ( or a digit.
static bool read_number(const char *text, size_t at, number *out)
{
    *out = (number){.begin = at, .plus = text[at] == '+'};
    size_t next = at + (out->plus ? 1 : 0);
    if (text[next] == '(') next++;
    if (!is_digit(text[next])) return false;
    for (out->group_count = 1;;) {
        while (is_digit(text[next])) {
            if (out->count == MAX_DIGITS) return false;
            out->digits[out->count++] = text[next++];
            out->groups[out->group_count - 1]++;
        }
        size_t size = separator(text + next);
        if (size == 0) break;
        next += size + (text[next + size] == '(' ? 1 : 0);
        out->groups[out->group_count++] = 0;
    }
    out->ends_with_x = out->count == 17 && (text[next] == 'X' || text[next] == 'x');
    out->end = next + (out->ends_with_x ? 1 : 0);
    return true;
}

// GB 11643: ISO 7064 MOD 11-2 over 17 digits, and a date of birth in them.
static bool is_resident_id(const number *n)
{
    static const int weights[17] = {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2};
    if (n->plus || n->group_count != 1 || n->count + n->ends_with_x != 18 || n->digits[0] == '0') return false;
    int sum = 0;
    for (int i = 0; i < 17; i++) sum += weights[i] * (n->digits[i] - '0');
    char last = n->ends_with_x ? 'X' : n->digits[17];
    int year = (n->digits[6] - '0') * 10 + n->digits[7] - '0', month = (n->digits[10] - '0') * 10 + n->digits[11] - '0',
        day = (n->digits[12] - '0') * 10 + n->digits[13] - '0';
    if ("10X98765432"[sum % 11] != last) return false;
    return (year == 19 || year == 20) && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

// ISO/IEC 7812: 13 to 19 digits with Luhn's check digit, written in one piece or in groups of four.
static bool is_bank_card(const number *n)
{
    if (n->plus || n->count < 13 || n->count > 19 || n->digits[0] < '3' || n->digits[0] > '6') return false;
    for (int i = 0; n->group_count > 1 && i + 1 < n->group_count; i++)
        if (n->groups[i] != 4) return false;
    int sum = 0;
    for (int i = 0; i < n->count; i++) {
        int digit = n->digits[n->count - 1 - i] - '0';
        if (i % 2) digit = digit > 4 ? 2 * digit - 9 : 2 * digit;
        sum += digit;
    }
    return sum % 10 == 0;
}

static bool groups_are(const number *n, int first, int second, int third)
{
    return n->group_count == (third ? 3 : 2) && n->groups[0] == first && n->groups[1] == second &&
           (!third || n->groups[2] == third);
}

// China's mobile numbers (with 86 or without) and those with an area code; North America's in three groups; with a plus
// any of 8 to 15 digits (E.164).
static bool is_phone(const number *n)
{
    const char *digits = n->digits;
    if (n->plus) return n->count >= 8 && n->count <= 15;
    int skip = n->count == 13 && strncmp(digits, "86", 2) == 0 ? 2 : 0;
    bool mobile = n->count - skip == 11 && digits[skip] == '1' && digits[skip + 1] >= '3';
    if (mobile && (n->group_count <= 1 + (skip > 0) || n->groups[n->group_count - 1] == 4)) return true;
    if (digits[0] == '0' && n->group_count == 2 && (n->groups[0] == 3 || n->groups[0] == 4))
        return n->groups[1] == 7 || n->groups[1] == 8;
    return digits[0] >= '2' && groups_are(n, 3, 3, 4);
}

// Not a part of a longer word or number.
static bool stands_alone(const char *text, const number *n)
{
    char before = n->begin > 0 ? text[n->begin - 1] : ' ', after = text[n->end];
    if (is_letter(before) || is_digit(before) || strchr("_./=", before)) return false;
    return !is_letter(after) && !is_digit(after) && after != '_' && !(after == '.' && is_digit(text[n->end + 1]));
}

// Part by part from the front, so that two numbers with a space between them are both seen.
static bool find_number(const char *text, size_t at, personal *out)
{
    number n;
    if (!read_number(text, at, &n)) return false;
    out->begin = n.begin, out->end = n.end;
    for (; stands_alone(text, &n); n.ends_with_x = false) {
        bool found = true;
        if (is_resident_id(&n)) out->kind = LR_RESIDENT_ID;
        else if (is_bank_card(&n)) out->kind = LR_BANK_CARD;
        else if (is_phone(&n)) out->kind = LR_PHONE;
        else found = false;
        out->end = n.end;
        if (found) return true;
        if (n.group_count == 1) break;
        int last = n.groups[--n.group_count];
        n.count -= last;
        n.end -= (size_t)last + (n.ends_with_x ? 1 : 0);
        while (n.end > n.begin && !is_digit(text[n.end - 1])) n.end--;
    }
    return false;
}

static bool is_local(char c) { return is_letter(c) || is_digit(c) || (c && strchr("._%+-", c)); }

// The address around the @ at text[at], not before `from`.
static bool find_email(const char *text, size_t from, size_t at, personal *out)
{
    size_t begin = at, end = at + 1, dot = 0;
    while (begin > from && is_local(text[begin - 1])) begin--;
    while (begin < at && (text[begin] == '.' || text[begin] == '-')) begin++;
    for (; is_letter(text[end]) || is_digit(text[end]) || text[end] == '-' || text[end] == '.'; end++)
        if (text[end] == '.' && is_letter(text[end + 1]) && is_letter(text[end + 2])) dot = end;
    while (end > at && (text[end - 1] == '.' || text[end - 1] == '-')) end--;
    *out = (personal){.kind = LR_EMAIL, .begin = begin, .end = end};
    return begin < at && dot > at + 1;
}

// The next find from *at on.
static bool next_personal(const char *text, size_t *at, personal *out)
{
    size_t from = *at;
    for (size_t i = from; text[i]; i++) {
        if (text[i] == '@' && find_email(text, from, i, out)) return *at = out->end, true;
        if (!is_digit(text[i]) && text[i] != '+' && text[i] != '(') continue;
        if (i > 0 && is_digit(text[i]) && (is_digit(text[i - 1]) || text[i - 1] == '+' || text[i - 1] == '(')) continue;
        if (find_number(text, i, out)) return *at = out->end, true;
    }
    return false;
}

// ---- rows ---------------------------------------------------------------------------------------------------------

// The first and the last characters stay, so that the row is recognised and the data not told.
static lora_status add_masked(lora_check *check, size_t row, const char *text, const personal *found)
{
    char detail[32];
    size_t length = found->end - found->begin;
    int tail = length > 8 ? 2 : 1;
    int written = snprintf(detail, sizeof detail, "%.3s***%.*s", text + found->begin, tail, text + found->end - tail);
    return lr_add_hit(check, found->kind, row, detail, (size_t)written);
}

// Each kind once a row.
static lora_status look(lora_check *check, size_t row, const char *text, bool *seen)
{
    personal found;
    for (size_t at = 0; next_personal(text, &at, &found);) {
        if (seen[found.kind]) continue;
        seen[found.kind] = true;
        LR_TRY(add_masked(check, row, text, &found));
    }
    return LORA_OK;
}

lora_status lr_find_personal(lora_check *check)
{
    for (size_t i = 0; i < check->row_count; i++) {
        bool seen[LR_KIND_COUNT] = {false};
        if (!check->rows[i].has_text) continue;
        LR_TRY(look(check, i, check->rows[i].prompt, seen));
        LR_TRY(look(check, i, check->rows[i].answer, seen));
    }
    return LORA_OK;
}

lora_status lr_mask_personal(const char *text, lr_bytes *out, bool *changed)
{
    personal found;
    size_t at = 0, done = 0;
    while (next_personal(text, &at, &found)) {
        const char *mask = found.kind == LR_PHONE         ? "[PHONE]"
                           : found.kind == LR_RESIDENT_ID ? "[ID]"
                           : found.kind == LR_EMAIL       ? "[EMAIL]"
                                                          : "[CARD]";
        LR_TRY(lr_bytes_append(out, text + done, found.begin - done));
        LR_TRY(lr_bytes_append_text(out, mask));
        done = found.end;
        *changed = true;
    }
    return lr_bytes_append_text(out, text + done);
}
