// Filters of sequences. Those that are lazy in Jinja give a generator: it can be looped over, joined and made a list.
#include "lib/jinja/filters.h"
#include "lib/jinja/template.h"

#include <string.h>

// The value at a dotted path ("function.name", "0.id") of `value`; an empty path is the value itself.
static lora_status follow_path(lr_render *render, lr_value value, lr_value path, lr_value *out)
{
    static const lr_text dot = {.bytes = ".", .size = 1, .points = 1};
    lr_value parts;
    *out = value;
    if (path.kind == LR_NONE) return LORA_OK;
    if (lr_is_whole(path)) return lr_get_item(render, value, path, out);
    if (path.kind != LR_STRING)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "attribute must be a string or a number, not %s",
                             lr_type_name(path));
    LR_TRY(lr_text_split(render, path.text, &dot, -1, false, &parts));
    for (size_t i = 0; i < parts.sequence->count; i++) {
        lr_value part = parts.sequence->items[i];
        int64_t index;
        bool number = part.text->size && part.text->bytes[0] >= '0' && part.text->bytes[0] <= '9';
        if (number && lr_text_to_integer(part.text, 10, &index)) part = lr_integer(index);
        LR_TRY(lr_get_item(render, *out, part, out));
    }
    return LORA_OK;
}

// Texts without regard to case, for sorting and for unique; other values as they are.
static lora_status fold_case(lr_render *render, lr_value value, bool case_sensitive, lr_value *out)
{
    *out = value;
    return case_sensitive || value.kind != LR_STRING ? LORA_OK : lr_text_case(render, value.text, LR_LOWER, out);
}

// ---- sorting ------------------------------------------------------------------------------------------------------

typedef struct sorter {
    lr_render *render;
    lr_value *keys, *items, *spare_keys, *spare_items;
    bool reverse;
} sorter;

static void copy_run(sorter *sort, size_t from, size_t to)
{
    sort->spare_keys[to] = sort->keys[from];
    sort->spare_items[to] = sort->items[from];
}

// Merges the sorted runs [begin, middle) and [middle, end): the left one goes first where keys are equal.
static lora_status merge(sorter *sort, size_t begin, size_t middle, size_t end)
{
    size_t left = begin, right = middle;
    for (size_t at = begin; at < end; at++) {
        bool take_right = left == middle;
        if (left < middle && right < end) {
            int order;
            lr_value a = sort->keys[right], b = sort->keys[left];
            LR_TRY(lr_compare(sort->render, sort->reverse ? b : a, sort->reverse ? a : b, "<", &order));
            take_right = order < 0;
        }
        copy_run(sort, take_right ? right++ : left++, at);
    }
    memcpy(sort->keys + begin, sort->spare_keys + begin, (end - begin) * sizeof(lr_value));
    memcpy(sort->items + begin, sort->spare_items + begin, (end - begin) * sizeof(lr_value));
    return LORA_OK;
}

// Sorts items by keys, both moved alike; stable.
static lora_status sort_by(lr_render *render, lr_value *keys, lr_value *items, size_t count, bool reverse)
{
    void *spare_keys, *spare_items;
    if (count < 2) return LORA_OK;
    LR_TRY(lr_arena_take(&render->arena, count, sizeof(lr_value), &spare_keys));
    LR_TRY(lr_arena_take(&render->arena, count, sizeof(lr_value), &spare_items));
    sorter sort = {render, keys, items, spare_keys, spare_items, reverse};
    for (size_t run = 1; run < count; run *= 2)
        for (size_t begin = 0; begin + run < count; begin += 2 * run)
            LR_TRY(merge(&sort, begin, begin + run, begin + 2 * run < count ? begin + 2 * run : count));
    return LORA_OK;
}

static lora_status copy_items(lr_render *render, lr_value value, lr_flavor flavor, lr_sequence **out)
{
    const lr_value *items;
    size_t count;
    LR_TRY(lr_items_of(render, value, &items, &count));
    LR_TRY(lr_sequence_new(render, flavor, count, out));
    if (count) memcpy((*out)->items, items, count * sizeof(lr_value));
    return LORA_OK;
}

// The keys to sort or compare by: each item's value at `path`.
static lora_status keys_of(lr_render *render, const lr_sequence *items, lr_value path, bool case_sensitive,
                           lr_sequence **out)
{
    LR_TRY(lr_sequence_new(render, LR_LIST, items->count, out));
    for (size_t i = 0; i < items->count; i++) {
        LR_TRY(follow_path(render, items->items[i], path, &(*out)->items[i]));
        LR_TRY(fold_case(render, (*out)->items[i], case_sensitive, &(*out)->items[i]));
    }
    return LORA_OK;
}

static lora_status filter_sort(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    lr_sequence *items, *keys;
    bool reverse = lr_truth(lr_argument(arguments, 0, "reverse", lr_boolean(false)));
    bool case_sensitive = lr_truth(lr_argument(arguments, 1, "case_sensitive", lr_boolean(false)));
    LR_TRY(copy_items(render, value, LR_LIST, &items));
    LR_TRY(keys_of(render, items, lr_argument(arguments, 2, "attribute", lr_none()), case_sensitive, &keys));
    LR_TRY(sort_by(render, keys->items, items->items, items->count, reverse));
    *out = lr_of_sequence(items);
    return LORA_OK;
}

static lora_status filter_dictsort(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    static const lr_text by_key = {.bytes = "key", .size = 3, .points = 3};
    lr_sequence *items, *keys;
    const lr_text *by;
    lr_value pairs;
    if (value.kind == LR_UNDEFINED) return lr_jinja_fail_undefined(render, value);
    if (value.kind != LR_DICT)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "dictsort needs a dict, not %s", lr_type_name(value));
    bool case_sensitive = lr_truth(lr_argument(arguments, 0, "case_sensitive", lr_boolean(false)));
    LR_TRY(lr_argument_text(render, arguments, 1, "by", &by_key, &by));
    bool reverse = lr_truth(lr_argument(arguments, 2, "reverse", lr_boolean(false)));
    if (!lr_text_is(by, "key") && !lr_text_is(by, "value"))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "dictsort: by must be 'key' or 'value'");
    LR_TRY(lr_dict_items(render, value.dict, &pairs));
    LR_TRY(copy_items(render, pairs, LR_LIST, &items));
    LR_TRY(keys_of(render, items, lr_integer(lr_text_is(by, "value")), case_sensitive, &keys));
    LR_TRY(sort_by(render, keys->items, items->items, items->count, reverse));
    *out = lr_of_sequence(items);
    return LORA_OK;
}

static lora_status extreme(lr_render *render, lr_value value, const lr_arguments *arguments, int sign, lr_value *out)
{
    lr_sequence *items, *keys;
    bool case_sensitive = lr_truth(lr_argument(arguments, 0, "case_sensitive", lr_boolean(false)));
    size_t best = 0;
    LR_TRY(copy_items(render, value, LR_LIST, &items));
    LR_TRY(keys_of(render, items, lr_argument(arguments, 1, "attribute", lr_none()), case_sensitive, &keys));
    if (items->count == 0) return lr_undefined(render, out, "the sequence is empty");
    for (size_t i = 1; i < items->count; i++) {
        int order;
        LR_TRY(lr_compare(render, keys->items[i], keys->items[best], sign < 0 ? "<" : ">", &order));
        if (order == sign) best = i;
    }
    *out = items->items[best];
    return LORA_OK;
}

static lora_status filter_min(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    return extreme(render, value, arguments, -1, out);
}

static lora_status filter_max(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    return extreme(render, value, arguments, 1, out);
}

static lora_status filter_unique(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    lr_sequence *items, *keys;
    size_t kept = 0;
    bool case_sensitive = lr_truth(lr_argument(arguments, 0, "case_sensitive", lr_boolean(false)));
    LR_TRY(copy_items(render, value, LR_GENERATOR, &items));
    LR_TRY(keys_of(render, items, lr_argument(arguments, 1, "attribute", lr_none()), case_sensitive, &keys));
    for (size_t i = 0; i < items->count; i++) {
        bool seen = false;
        for (size_t j = 0; j < kept && !seen; j++) LR_TRY(lr_equals(render, keys->items[j], keys->items[i], &seen));
        if (seen) continue;
        keys->items[kept] = keys->items[i];
        items->items[kept++] = items->items[i];
    }
    items->count = kept;
    *out = lr_of_sequence(items);
    return LORA_OK;
}

// ---- choosing and mapping -----------------------------------------------------------------------------------------

static lr_arguments without_first(const lr_arguments *arguments, size_t count)
{
    lr_arguments rest = *arguments;
    size_t skipped = count < rest.count ? count : rest.count;
    rest.values = rest.count ? rest.values + skipped : NULL;
    rest.count -= skipped;
    return rest;
}

// select(test, ...) and selectattr(attribute, test, ...): what passes, or for reject what does not; without a test,
// what is true.
static lora_status choose(lr_render *render, lr_value value, const lr_arguments *arguments, bool by_attribute,
                          bool wanted, lr_value *out)
{
    const lr_value *items;
    size_t count, first = by_attribute ? 1 : 0;
    lr_sequence *chosen;
    const lr_text *name;
    int32_t test = -1;
    LR_TRY(lr_argument_text(render, arguments, first, "test", NULL, &name));
    if (name && (test = lr_test_find(name->bytes, name->size)) < 0)
        return lr_jinja_fail(render, LORA_ERROR_UNSUPPORTED, "no test named '%.*s'", (int)name->size, name->bytes);
    if (by_attribute && arguments->count == 0)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "selectattr and rejectattr need an attribute");
    lr_arguments rest = without_first(arguments, first + 1);
    LR_TRY(lr_items_of(render, value, &items, &count));
    LR_TRY(lr_sequence_new(render, LR_GENERATOR, count, &chosen));
    chosen->count = 0;
    for (size_t i = 0; i < count; i++) {
        lr_value tested = items[i];
        if (by_attribute) LR_TRY(follow_path(render, items[i], arguments->values[0], &tested));
        bool holds = lr_truth(tested);
        if (test >= 0) LR_TRY(lr_test_apply(render, test, tested, &rest, &holds));
        if (holds == wanted) chosen->items[chosen->count++] = items[i];
    }
    *out = lr_of_sequence(chosen);
    return LORA_OK;
}

static lora_status filter_select(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    return choose(render, value, arguments, false, true, out);
}

static lora_status filter_reject(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    return choose(render, value, arguments, false, false, out);
}

static lora_status filter_selectattr(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    return choose(render, value, arguments, true, true, out);
}

static lora_status filter_rejectattr(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    return choose(render, value, arguments, true, false, out);
}

static lora_status map_attribute(lr_render *render, lr_value item, const lr_arguments *arguments, lr_value *out)
{
    lr_value fallback = lr_argument(arguments, SIZE_MAX, "default", lr_none());
    LR_TRY(follow_path(render, item, lr_argument(arguments, SIZE_MAX, "attribute", lr_none()), out));
    if (out->kind == LR_UNDEFINED && fallback.kind != LR_NONE) *out = fallback;
    return LORA_OK;
}

// map("upper", ...) applies a filter, map(attribute="name") takes an attribute of each item.
static lora_status filter_map(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    lr_sequence *items;
    const lr_text *name;
    int32_t filter = -1;
    LR_TRY(lr_argument_text(render, arguments, 0, "filter", NULL, &name));
    if (name && (filter = lr_filter_find(name->bytes, name->size)) < 0)
        return lr_jinja_fail(render, LORA_ERROR_UNSUPPORTED, "no filter named '%.*s'", (int)name->size, name->bytes);
    if (!name && !lr_has_argument(arguments, SIZE_MAX, "attribute"))
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "map needs a filter or an attribute");
    lr_arguments rest = without_first(arguments, 1);
    LR_TRY(copy_items(render, value, LR_GENERATOR, &items));
    for (size_t i = 0; i < items->count; i++) {
        lr_value item = items->items[i];
        LR_TRY(lr_jinja_enter(render));
        lora_status status = filter >= 0 ? lr_filter_apply(render, filter, item, &rest, &items->items[i])
                                         : map_attribute(render, item, arguments, &items->items[i]);
        render->depth--;
        LR_TRY(status);
    }
    *out = lr_of_sequence(items);
    return LORA_OK;
}

// ---- the rest -----------------------------------------------------------------------------------------------------

static lora_status filter_join(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    const lr_text *separator;
    lr_value path = lr_argument(arguments, 1, "attribute", lr_none());
    lr_sequence *items;
    void *memory;
    LR_TRY(lr_to_text(render, lr_argument(arguments, 0, "d", lr_of_text(&lr_empty_text)), &separator));
    LR_TRY(copy_items(render, value, LR_LIST, &items));
    LR_TRY(lr_arena_take(&render->arena, items->count * 2 + 1, sizeof(lr_text *), &memory));
    const lr_text **parts = memory;
    size_t used = 0;
    for (size_t i = 0; i < items->count; i++) {
        lr_value item;
        LR_TRY(follow_path(render, items->items[i], path, &item));
        if (i > 0) parts[used++] = separator;
        LR_TRY(lr_to_text(render, item, &parts[used++]));
    }
    return lr_string_join(render, parts, used, out);
}

static lora_status filter_first(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    const lr_value *items;
    size_t count;
    (void)arguments;
    LR_TRY(lr_items_of(render, value, &items, &count));
    if (count == 0) return lr_undefined(render, out, "no first item, the sequence is empty");
    *out = items[0];
    return LORA_OK;
}

static lora_status filter_last(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    const lr_value *items;
    size_t count;
    (void)arguments;
    if (value.kind == LR_SEQUENCE && value.sequence->flavor == LR_GENERATOR)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "a generator has no last item: put '| list' before it");
    LR_TRY(lr_items_of(render, value, &items, &count));
    if (count == 0) return lr_undefined(render, out, "no last item, the sequence is empty");
    *out = items[count - 1];
    return LORA_OK;
}

static lora_status filter_list(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    lr_sequence *items;
    (void)arguments;
    LR_TRY(copy_items(render, value, LR_LIST, &items));
    *out = lr_of_sequence(items);
    return LORA_OK;
}

static lora_status filter_items(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    lr_sequence *items;
    (void)arguments;
    *out = value;
    if (value.kind == LR_DICT)
        LR_TRY(lr_dict_items(render, value.dict, out));
    else if (value.kind != LR_UNDEFINED)
        return lr_jinja_fail(render, LORA_ERROR_FORMAT, "items needs a dict, not %s", lr_type_name(value));
    LR_TRY(copy_items(render, *out, LR_GENERATOR, &items));
    *out = lr_of_sequence(items);
    return LORA_OK;
}

static lora_status filter_reverse(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    lr_sequence *items;
    (void)arguments;
    if (value.kind == LR_STRING) return lr_get_slice(render, value, lr_none(), lr_none(), lr_integer(-1), out);
    LR_TRY(copy_items(render, value, LR_GENERATOR, &items));
    for (size_t i = 0; i < items->count / 2; i++) {
        lr_value other = items->items[i];
        items->items[i] = items->items[items->count - 1 - i];
        items->items[items->count - 1 - i] = other;
    }
    *out = lr_of_sequence(items);
    return LORA_OK;
}

static lora_status filter_sum(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    const lr_value *items;
    size_t count;
    lr_value path = lr_argument(arguments, 0, "attribute", lr_none()), item;
    *out = lr_argument(arguments, 1, "start", lr_integer(0));
    LR_TRY(lr_items_of(render, value, &items, &count));
    for (size_t i = 0; i < count; i++) {
        LR_TRY(follow_path(render, items[i], path, &item));
        LR_TRY(lr_binary(render, LR_ADD, *out, item, out));
    }
    return LORA_OK;
}

static lora_status filter_batch(lr_render *render, lr_value value, const lr_arguments *arguments, lr_value *out)
{
    const lr_value *items;
    size_t count;
    int64_t size;
    lr_value fill = lr_argument(arguments, 1, "fill_with", lr_none());
    lr_sequence *batches, *batch;
    LR_TRY(lr_argument_whole(render, arguments, 0, "linecount", 1, &size));
    if (size < 1) return lr_jinja_fail(render, LORA_ERROR_FORMAT, "batch: the size must be at least 1");
    LR_TRY(lr_items_of(render, value, &items, &count));
    size_t each = (size_t)size, whole = count / each + (count % each != 0);
    LR_TRY(lr_sequence_new(render, LR_GENERATOR, whole, &batches));
    for (size_t i = 0; i < whole; i++) {
        size_t left = count - i * each, taken = left < each ? left : each;
        LR_TRY(lr_sequence_new(render, LR_LIST, fill.kind == LR_NONE ? taken : each, &batch));
        for (size_t j = 0; j < batch->count; j++) batch->items[j] = j < taken ? items[i * each + j] : fill;
        batches->items[i] = lr_of_sequence(batch);
    }
    *out = lr_of_sequence(batches);
    return LORA_OK;
}

const lr_filter lr_sequence_filters[] = {
    {"batch", filter_batch},     {"dictsort", filter_dictsort}, {"first", filter_first},
    {"items", filter_items},     {"join", filter_join},         {"last", filter_last},
    {"list", filter_list},       {"map", filter_map},           {"max", filter_max},
    {"min", filter_min},         {"reject", filter_reject},     {"rejectattr", filter_rejectattr},
    {"reverse", filter_reverse}, {"select", filter_select},     {"selectattr", filter_selectattr},
    {"sort", filter_sort},       {"sum", filter_sum},           {"unique", filter_unique},
};

const size_t lr_sequence_filter_count = sizeof lr_sequence_filters / sizeof *lr_sequence_filters;
