// Methods of strings, lists, dicts and loops. What would change a list or dict is not there: the sandbox forbids it.
#include "lib/jinja/template.h"
#include "lib/jinja/text.h"

#include "lib/unicode.h"

#include <string.h>
#include <utf8proc.h>

typedef lora_status method_fn(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out);

typedef struct method {
    lr_kind kind;
    const char *name;
    method_fn *call;
} method;

// ---- strings ------------------------------------------------------------------------------------------------------

static lora_status strip_sides(lr_render *render, lr_value self, const lr_arguments *arguments, bool left, bool right,
                               lr_value *out)
{
    const lr_text *chars;
    LR_TRY(lr_argument_text(render, arguments, 0, "chars", NULL, &chars));
    return lr_text_strip(render, self.text, chars, left, right, out);
}

static lora_status string_strip(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return strip_sides(render, self, arguments, true, true, out);
}

static lora_status string_lstrip(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return strip_sides(render, self, arguments, true, false, out);
}

static lora_status string_rstrip(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return strip_sides(render, self, arguments, false, true, out);
}

static lora_status split(lr_render *render, lr_value self, const lr_arguments *arguments, bool from_right,
                         lr_value *out)
{
    const lr_text *separator;
    int64_t limit;
    LR_TRY(lr_argument_text(render, arguments, 0, "sep", NULL, &separator));
    LR_TRY(lr_argument_whole(render, arguments, 1, "maxsplit", -1, &limit));
    return lr_text_split(render, self.text, separator, limit, from_right, out);
}

static lora_status string_split(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return split(render, self, arguments, false, out);
}

static lora_status string_rsplit(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return split(render, self, arguments, true, out);
}

static lora_status string_splitlines(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return lr_text_split_lines(render, self.text, lr_truth(lr_argument(arguments, 0, "keepends", lr_boolean(false))),
                               out);
}

static bool has_affix(const lr_text *text, const lr_text *affix, bool at_end)
{
    if (affix->size > text->size) return false;
    return memcmp(text->bytes + (at_end ? text->size - affix->size : 0), affix->bytes, affix->size) == 0;
}

// startswith and endswith: a text, or any of a tuple of texts.
static lora_status affix(lr_render *render, lr_value self, const lr_arguments *arguments, bool at_end, lr_value *out)
{
    lr_value wanted = lr_argument(arguments, 0, "prefix", lr_none());
    const lr_value *items = &wanted;
    size_t count = 1;
    if (wanted.kind == LR_SEQUENCE && wanted.sequence->flavor == LR_TUPLE)
        LR_TRY(lr_items_of(render, wanted, &items, &count));
    *out = lr_boolean(false);
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, items[i]);
        if (items[i].kind != LR_STRING)
            return lr_jinja_fail(render, LORA_ERROR_FORMAT, "startswith and endswith take a string, not %s",
                                 lr_type_name(items[i]));
        if (has_affix(self.text, items[i].text, at_end)) *out = lr_boolean(true);
    }
    return LORA_OK;
}

static lora_status string_startswith(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return affix(render, self, arguments, false, out);
}

static lora_status string_endswith(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return affix(render, self, arguments, true, out);
}

static lora_status string_removeprefix(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *text = self.text, *wanted;
    LR_TRY(lr_argument_text(render, arguments, 0, "prefix", &lr_empty_text, &wanted));
    size_t cut = has_affix(text, wanted, false) ? wanted->size : 0;
    return lr_string_part(render, text->bytes + cut, text->size - cut, text->markup, out);
}

static lora_status string_removesuffix(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *text = self.text, *wanted;
    LR_TRY(lr_argument_text(render, arguments, 0, "suffix", &lr_empty_text, &wanted));
    size_t cut = has_affix(text, wanted, true) ? wanted->size : 0;
    return lr_string_part(render, text->bytes, text->size - cut, text->markup, out);
}

static lora_status string_replace(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *old, *new_text;
    int64_t limit;
    LR_TRY(lr_argument_text(render, arguments, 0, "old", &lr_empty_text, &old));
    LR_TRY(lr_argument_text(render, arguments, 1, "new", &lr_empty_text, &new_text));
    LR_TRY(lr_argument_whole(render, arguments, 2, "count", -1, &limit));
    return lr_text_replace(render, self.text, old, new_text, limit, out);
}

static lora_status string_upper(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return lr_text_case(render, self.text, LR_UPPER, out);
}

static lora_status string_lower(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return lr_text_case(render, self.text, LR_LOWER, out);
}

static lora_status string_title(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return lr_text_case(render, self.text, LR_TITLE, out);
}

static lora_status string_capitalize(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return lr_text_case(render, self.text, LR_CAPITALIZE, out);
}

static lora_status string_swapcase(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return lr_text_case(render, self.text, LR_SWAPCASE, out);
}

// The part of the text that the optional start and end leave, and where it begins.
static lora_status search_window(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *part,
                                 int64_t *begin)
{
    LR_TRY(lr_argument_whole(render, arguments, 1, "start", 0, begin));
    lr_value end = lr_argument(arguments, 2, "end", lr_none());
    if (*begin < 0) *begin += (int64_t)self.text->points;
    if (*begin < 0) *begin = 0;
    return lr_get_slice(render, self, lr_integer(*begin), end, lr_none(), part);
}

static lora_status find(lr_render *render, lr_value self, const lr_arguments *arguments, bool last, int64_t *out)
{
    const lr_text *wanted;
    lr_value part;
    int64_t begin;
    LR_TRY(lr_argument_text(render, arguments, 0, "sub", &lr_empty_text, &wanted));
    LR_TRY(search_window(render, self, arguments, &part, &begin));
    LR_TRY(lr_jinja_charge(render, self.text->size / 16));
    const char *bytes = part.text->bytes, *found = NULL;
    if (!last) found = lr_find_bytes(bytes, part.text->size, wanted->bytes, wanted->size);
    for (size_t at = part.text->size + 1; last && !found && at-- > 0;)
        if (part.text->size - at >= wanted->size && memcmp(bytes + at, wanted->bytes, wanted->size) == 0)
            found = bytes + at;
    *out = -1;
    if (found && begin <= (int64_t)self.text->points)
        *out = begin + (int64_t)lr_count_points(bytes, (size_t)(found - bytes));
    return LORA_OK;
}

static lora_status string_find(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    int64_t at;
    LR_TRY(find(render, self, arguments, false, &at));
    *out = lr_integer(at);
    return LORA_OK;
}

static lora_status string_rfind(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    int64_t at;
    LR_TRY(find(render, self, arguments, true, &at));
    *out = lr_integer(at);
    return LORA_OK;
}

static lora_status found_index(lr_render *render, int64_t at, lr_value *out)
{
    *out = lr_integer(at);
    return at < 0 ? lr_jinja_fail(render, LORA_ERROR_FORMAT, "index: substring not found") : LORA_OK;
}

static lora_status string_index(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    int64_t at;
    LR_TRY(find(render, self, arguments, false, &at));
    return found_index(render, at, out);
}

static lora_status string_rindex(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    int64_t at;
    LR_TRY(find(render, self, arguments, true, &at));
    return found_index(render, at, out);
}

static lora_status string_count(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *wanted;
    lr_value part;
    int64_t begin, count = 0;
    LR_TRY(lr_argument_text(render, arguments, 0, "sub", &lr_empty_text, &wanted));
    LR_TRY(search_window(render, self, arguments, &part, &begin));
    LR_TRY(lr_jinja_charge(render, self.text->size / 16));
    const char *at = part.text->bytes, *end = at + part.text->size;
    if (wanted->size == 0) count = (int64_t)part.text->points + 1;
    while (wanted->size && (at = lr_find_bytes(at, (size_t)(end - at), wanted->bytes, wanted->size)) != NULL) {
        at += wanted->size;
        count++;
    }
    *out = lr_integer(count);
    return LORA_OK;
}

static lora_status string_join(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    const lr_value *items;
    size_t count;
    void *memory;
    LR_TRY(lr_items_of(render, lr_argument(arguments, 0, "iterable", lr_none()), &items, &count));
    LR_TRY(lr_arena_take(&render->arena, count * 2 + 1, sizeof(lr_text *), &memory));
    const lr_text **parts = memory;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind != LR_STRING)
            return lr_jinja_fail(render, LORA_ERROR_FORMAT, "join: item %zu is a %s, not a string", i,
                                 lr_type_name(items[i]));
        if (i > 0) parts[used++] = self.text;
        parts[used++] = items[i].text;
    }
    return lr_string_join(render, parts, used, out);
}

static lora_status string_format(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return lr_text_format(render, self.text, arguments, out);
}

// partition and rpartition: before, separator, after.
static lora_status partition(lr_render *render, lr_value self, const lr_arguments *arguments, bool last, lr_value *out)
{
    const lr_text *separator;
    lr_value pieces;
    lr_sequence *three;
    LR_TRY(lr_argument_text(render, arguments, 0, "sep", &lr_empty_text, &separator));
    LR_TRY(lr_text_split(render, self.text, separator, 1, last, &pieces));
    LR_TRY(lr_sequence_new(render, LR_TUPLE, 3, &three));
    bool found = pieces.sequence->count == 2;
    for (size_t i = 0; i < 3; i++) three->items[i] = lr_of_text(&lr_empty_text);
    if (found) {
        three->items[0] = pieces.sequence->items[0];
        three->items[1] = lr_of_text(separator);
        three->items[2] = pieces.sequence->items[1];
    } else {
        three->items[last ? 2 : 0] = self;
    }
    *out = lr_of_sequence(three);
    return LORA_OK;
}

static lora_status string_partition(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return partition(render, self, arguments, false, out);
}

static lora_status string_rpartition(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return partition(render, self, arguments, true, out);
}

static lora_status pad(lr_render *render, lr_value self, const lr_arguments *arguments, int side, lr_value *out)
{
    static const lr_text space = {.bytes = " ", .size = 1, .points = 1};
    const lr_text *fill;
    int64_t width;
    char one[5] = {0};
    LR_TRY(lr_argument_whole(render, arguments, 0, "width", 0, &width));
    LR_TRY(lr_argument_text(render, arguments, 1, "fillchar", &space, &fill));
    if (fill->points != 1) return lr_jinja_fail(render, LORA_ERROR_FORMAT, "the fill must be exactly one character");
    memcpy(one, fill->bytes, fill->size);
    return lr_text_pad(render, self.text, width, one, side, out);
}

static lora_status string_center(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return pad(render, self, arguments, 0, out);
}

static lora_status string_ljust(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return pad(render, self, arguments, -1, out);
}

static lora_status string_rjust(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    return pad(render, self, arguments, 1, out);
}

static lora_status string_zfill(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    int64_t width;
    const lr_text *text = self.text;
    LR_TRY(lr_argument_whole(render, arguments, 0, "width", 0, &width));
    size_t sign = text->size && (text->bytes[0] == '-' || text->bytes[0] == '+') ? 1 : 0;
    lr_value digits, sign_text;
    LR_TRY(lr_string_part(render, text->bytes, sign, false, &sign_text));
    LR_TRY(lr_string_part(render, text->bytes + sign, text->size - sign, false, &digits));
    LR_TRY(lr_text_pad(render, digits.text, width - (int64_t)sign, "0", 1, &digits));
    const lr_text *const parts[] = {sign_text.text, digits.text};
    return lr_string_join(render, parts, 2, out);
}

typedef enum class_kind { CLASS_ALPHA, CLASS_DIGIT, CLASS_ALNUM, CLASS_SPACE } class_kind;

static bool in_class(int32_t code, class_kind kind)
{
    utf8proc_category_t category = utf8proc_category(code);
    bool alpha = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    bool digit = category == UTF8PROC_CATEGORY_ND || code == 0xB2 || code == 0xB3 || code == 0xB9;
    switch (kind) {
    case CLASS_ALPHA: return alpha;
    case CLASS_DIGIT: return digit;
    case CLASS_ALNUM: return alpha || digit || lr_is_numeric(code);
    case CLASS_SPACE: return lr_is_python_space(code);
    }
    return false;
}

static lora_status all_in_class(lr_render *render, const lr_text *text, class_kind kind, lr_value *out)
{
    bool all = text->size > 0;
    LR_TRY(lr_jinja_charge(render, text->size / 16));
    for (size_t at = 0; at < text->size && all;) {
        int32_t code;
        at += lr_utf8_next(text->bytes + at, text->size - at, &code);
        all = in_class(code, kind);
    }
    *out = lr_boolean(all);
    return LORA_OK;
}

static lora_status string_isalpha(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return all_in_class(render, self.text, CLASS_ALPHA, out);
}

static lora_status string_isdigit(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return all_in_class(render, self.text, CLASS_DIGIT, out);
}

static lora_status string_isalnum(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return all_in_class(render, self.text, CLASS_ALNUM, out);
}

static lora_status string_isspace(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return all_in_class(render, self.text, CLASS_SPACE, out);
}

static lora_status string_isupper(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return lr_text_is_cased(render, self.text, true, out);
}

static lora_status string_islower(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return lr_text_is_cased(render, self.text, false, out);
}

// ---- lists and dicts ----------------------------------------------------------------------------------------------

static lora_status list_index(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    lr_value wanted = lr_argument(arguments, 0, "value", lr_none());
    for (size_t i = 0; i < self.sequence->count; i++) {
        bool same;
        LR_TRY(lr_equals(render, self.sequence->items[i], wanted, &same));
        *out = lr_integer((int64_t)i);
        if (same) return LORA_OK;
    }
    return lr_jinja_fail(render, LORA_ERROR_FORMAT, "index: the value is not in the list");
}

static lora_status list_count(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    lr_value wanted = lr_argument(arguments, 0, "value", lr_none());
    int64_t count = 0;
    for (size_t i = 0; i < self.sequence->count; i++) {
        bool same;
        LR_TRY(lr_equals(render, self.sequence->items[i], wanted, &same));
        count += same;
    }
    *out = lr_integer(count);
    return LORA_OK;
}

static lora_status list_copy(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)render, (void)arguments;
    *out = self;
    return LORA_OK;
}

static lora_status dict_view(lr_render *render, const lr_dict *dict, lr_flavor flavor, lr_value *out)
{
    lr_sequence *view;
    LR_TRY(lr_sequence_new(render, flavor, dict->count, &view));
    for (size_t i = 0; i < dict->count; i++) {
        lr_sequence *pair;
        view->items[i] = flavor == LR_KEYS ? dict->pairs[i].key : dict->pairs[i].value;
        if (flavor != LR_ITEMS) continue;
        LR_TRY(lr_sequence_new(render, LR_TUPLE, 2, &pair));
        pair->items[0] = dict->pairs[i].key;
        pair->items[1] = dict->pairs[i].value;
        view->items[i] = lr_of_sequence(pair);
    }
    *out = lr_of_sequence(view);
    return LORA_OK;
}

lora_status lr_dict_items(lr_render *render, const lr_dict *dict, lr_value *out)
{
    return dict_view(render, dict, LR_ITEMS, out);
}

static lora_status dict_items(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return dict_view(render, self.dict, LR_ITEMS, out);
}

static lora_status dict_keys(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return dict_view(render, self.dict, LR_KEYS, out);
}

static lora_status dict_values(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    (void)arguments;
    return dict_view(render, self.dict, LR_VALUES, out);
}

static lora_status dict_get(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    const lr_value *found;
    LR_TRY(lr_dict_find(render, self.dict, lr_argument(arguments, 0, "key", lr_none()), &found));
    *out = found ? *found : lr_argument(arguments, 1, "default", lr_none());
    return LORA_OK;
}

// ---- loops --------------------------------------------------------------------------------------------------------

static lora_status loop_cycle(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    if (arguments->count == 0)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "cycle needs something to cycle through");
    *out = arguments->values[self.loop->index % arguments->count];
    return LORA_OK;
}

static lora_status loop_changed(lr_render *render, lr_value self, const lr_arguments *arguments, lr_value *out)
{
    lr_sequence *now;
    bool same = false;
    LR_TRY(lr_sequence_new(render, LR_TUPLE, arguments->count, &now));
    if (arguments->count) memcpy(now->items, arguments->values, arguments->count * sizeof(lr_value));
    if (self.loop->has_changed) LR_TRY(lr_equals(render, self.loop->last_changed, lr_of_sequence(now), &same));
    self.loop->has_changed = true;
    self.loop->last_changed = lr_of_sequence(now);
    *out = lr_boolean(!same);
    return LORA_OK;
}

// ---- the table ----------------------------------------------------------------------------------------------------

static const method methods[] = {
    {LR_STRING, "strip", string_strip},
    {LR_STRING, "lstrip", string_lstrip},
    {LR_STRING, "rstrip", string_rstrip},
    {LR_STRING, "split", string_split},
    {LR_STRING, "rsplit", string_rsplit},
    {LR_STRING, "splitlines", string_splitlines},
    {LR_STRING, "startswith", string_startswith},
    {LR_STRING, "endswith", string_endswith},
    {LR_STRING, "removeprefix", string_removeprefix},
    {LR_STRING, "removesuffix", string_removesuffix},
    {LR_STRING, "replace", string_replace},
    {LR_STRING, "upper", string_upper},
    {LR_STRING, "lower", string_lower},
    {LR_STRING, "title", string_title},
    {LR_STRING, "capitalize", string_capitalize},
    {LR_STRING, "swapcase", string_swapcase},
    {LR_STRING, "find", string_find},
    {LR_STRING, "rfind", string_rfind},
    {LR_STRING, "index", string_index},
    {LR_STRING, "rindex", string_rindex},
    {LR_STRING, "count", string_count},
    {LR_STRING, "join", string_join},
    {LR_STRING, "format", string_format},
    {LR_STRING, "partition", string_partition},
    {LR_STRING, "rpartition", string_rpartition},
    {LR_STRING, "center", string_center},
    {LR_STRING, "ljust", string_ljust},
    {LR_STRING, "rjust", string_rjust},
    {LR_STRING, "zfill", string_zfill},
    {LR_STRING, "isalpha", string_isalpha},
    {LR_STRING, "isdigit", string_isdigit},
    {LR_STRING, "isalnum", string_isalnum},
    {LR_STRING, "isspace", string_isspace},
    {LR_STRING, "isupper", string_isupper},
    {LR_STRING, "islower", string_islower},
    {LR_SEQUENCE, "index", list_index},
    {LR_SEQUENCE, "count", list_count},
    {LR_SEQUENCE, "copy", list_copy},
    {LR_DICT, "items", dict_items},
    {LR_DICT, "keys", dict_keys},
    {LR_DICT, "values", dict_values},
    {LR_DICT, "get", dict_get},
    {LR_DICT, "copy", list_copy},
    {LR_LOOP, "cycle", loop_cycle},
    {LR_LOOP, "changed", loop_changed},
};

// Python has these, and Jinja's sandbox refuses them.
static bool is_refused(lr_value self, const lr_text *name)
{
    static const char *const of_lists[] = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};
    static const char *const of_dicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
    bool list = self.kind == LR_SEQUENCE && self.sequence->flavor == LR_LIST;
    for (size_t i = 0; list && i < sizeof of_lists / sizeof *of_lists; i++)
        if (lr_text_is(name, of_lists[i])) return true;
    for (size_t i = 0; self.kind == LR_DICT && i < sizeof of_dicts / sizeof *of_dicts; i++)
        if (lr_text_is(name, of_dicts[i])) return true;
    return false;
}

lora_status lr_method_find(lr_render *render, lr_value self, const lr_text *name, lr_value *out)
{
    bool plain_sequence = self.kind == LR_SEQUENCE && self.sequence->flavor <= LR_TUPLE;
    *out = (lr_value){.kind = LR_UNDEFINED};
    if (is_refused(self, name))
        return lr_undefined(render, out, "access to attribute '%.*s' of '%s' object is unsafe", (int)name->size,
                            name->bytes, lr_type_name(self));
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (methods[i].kind != self.kind || !lr_text_is(name, methods[i].name)) continue;
        if (self.kind == LR_SEQUENCE && !plain_sequence) continue;
        return lr_callable_new(render, (lr_callable){.kind = LR_CALL_METHOD, .number = (int32_t)i, .self = self}, out);
    }
    return LORA_OK;
}

lora_status lr_method_call(lr_render *render, const lr_callable *bound, const lr_arguments *arguments, lr_value *out)
{
    return methods[bound->number].call(render, bound->self, arguments, out);
}
