// Marks of chat templates in texts, phrases of other assistants, and placeholders.
#include "src/data/check/check.h"

#include "lib/unicode.h"

#include <string.h>

// What a mark says about the text around it.
typedef enum mark_kind {
    MARK_NONE,
    MARK_ANSWER, // the answer begins behind it
    MARK_OTHER   // another turn begins, or this one ends
} mark_kind;

typedef struct mark {
    mark_kind kind;
    size_t begin, end; // bytes; a role that belongs to it included
} mark;

static bool is_letter(char c)
{
    return ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || (c >= '0' && c <= '9');
}

static bool starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

// The length of "system", "user" or "assistant" with the line end or header end behind it; 0: no role stands here.
static size_t role_length(const char *text, bool *is_assistant)
{
    static const char *const roles[] = {"assistant", "model", "user", "system", "tool", "ipython"};
    static const char header_end[] = "<|end_header_id|>";
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (!starts_with(text, roles[i])) continue;
        size_t size = strlen(roles[i]);
        *is_assistant = i < 2;
        if (starts_with(text + size, header_end)) return size + strlen(header_end);
        return text[size] == '\n' || text[size] == '\r' || text[size] == '\0' || text[size] == ' ' ? size : 0;
    }
    return 0;
}

// "<|name|>", with a role behind those that begin a turn.
static bool find_special(const char *text, size_t at, mark *out)
{
    size_t end = at + 2;
    if (!starts_with(text + at, "<|")) return false;
    while (is_letter(text[end])) end++;
    if (end == at + 2 || end > at + 42 || !starts_with(text + end, "|>")) return false;
    end += 2;
    bool assistant = starts_with(text + at, "<|assistant|>");
    bool header = starts_with(text + at, "<|im_start|>") || starts_with(text + at, "<|start_header_id|>");
    if (header) end += role_length(text + end, &assistant);
    *out = (mark){.kind = assistant ? MARK_ANSWER : MARK_OTHER, .begin = at, .end = end};
    return true;
}

static bool find_fixed(const char *text, size_t at, mark *out)
{
    static const char *const marks[] = {"[/INST]", "[INST]", "<<SYS>>", "<</SYS>>", "<end_of_turn>", "<start_of_turn>",
                                        "[gMASK]", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (!starts_with(text + at, marks[i])) continue;
        bool assistant = i == 0 || i == 8;
        *out = (mark){.begin = at, .end = at + strlen(marks[i])};
        if (i == 5) out->end += role_length(text + out->end, &assistant);
        out->kind = assistant ? MARK_ANSWER : MARK_OTHER;
        return true;
    }
    // Struck-out text in HTML has them in the middle.
    bool is_begin = at == 0 && starts_with(text, "<s>"), is_end = strcmp(text + at, "</s>") == 0;
    *out = (mark){.kind = MARK_OTHER, .begin = at, .end = at + (is_begin ? 3 : 4)};
    return is_begin || is_end;
}

// "### Response:" at the start of a line.
static bool find_heading(const char *text, size_t at, mark *out)
{
    static const char *const names[] = {"Response", "Assistant", "回答", "回复", "输出", "Instruction", "Input", "Human",
                                        "User",     "System",    "指令", "输入", "问题"};
    if (!starts_with(text + at, "###") || (at > 0 && text[at - 1] != '\n')) return false;
    size_t name = at + 3 + strspn(text + at + 3, "# ");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t end = name + strlen(names[i]);
        if (!starts_with(text + name, names[i])) continue;
        if (text[end] == ':') end += 1;
        else if (starts_with(text + end, "：")) end += strlen("：");
        else continue;
        *out = (mark){.kind = i < 5 ? MARK_ANSWER : MARK_OTHER, .begin = at, .end = end};
        return true;
    }
    return false;
}

static bool next_mark(const char *text, size_t at, mark *out)
{
    for (; text[at]; at++) {
        if (text[at] == '<' && find_special(text, at, out)) return true;
        if ((text[at] == '<' || text[at] == '[') && find_fixed(text, at, out)) return true;
        if (text[at] == '#' && find_heading(text, at, out)) return true;
    }
    *out = (mark){.kind = MARK_NONE, .begin = at, .end = at};
    return false;
}

// ---- cutting ------------------------------------------------------------------------------------------------------

static bool is_blank(const char *text, size_t begin, size_t end)
{
    while (begin < end && strchr(" \t\r\n", text[begin])) begin++;
    return begin == end;
}

// Of an answer stays what is between the first mark that begins an answer, or else the marks in front, and the next
// mark; of a question all but the marks.
lora_status lr_cut_remnants(const char *text, bool is_answer, lr_bytes *out, bool *changed)
{
    mark found;
    size_t begin = 0;
    if (!next_mark(text, 0, &found)) return lr_bytes_append_text(out, text);
    *changed = true;
    if (!is_answer) {
        for (bool more = true; more; begin = found.end) {
            more = next_mark(text, begin, &found);
            LR_TRY(lr_bytes_append(out, text + begin, found.begin - begin));
        }
        return LORA_OK;
    }
    while (next_mark(text, begin, &found) && found.kind != MARK_ANSWER) begin = found.end;
    if (found.kind == MARK_ANSWER) begin = found.end;
    else for (begin = 0; next_mark(text, begin, &found) && is_blank(text, begin, found.begin);) begin = found.end;
    next_mark(text, begin, &found);
    return lr_bytes_append(out, text + begin, found.begin - begin);
}

// ---- rows ---------------------------------------------------------------------------------------------------------

static const char *find_phrase(const char *text)
{
    static const char *const phrases[] = {"s an AI language model", "s an AI assistant", "s a language model",
                                          "s an AI,", "'m an AI", "I am an AI", "作为一个人工智能", "作为一个AI",
                                          "作为一种人工智能", "作为AI", "作为人工智能", "作为一个语言模型",
                                          "我是一个人工智能", "我是一个AI"};
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        const char *found = strstr(text, phrases[i]);
        if (found) return found > text && phrases[i][0] == 's' ? found - 1 : found;
    }
    return NULL;
}

// "{{name}}"; *length 0: none.
static const char *find_placeholder(const char *text, size_t *length)
{
    *length = 0;
    for (const char *at = text; (at = strstr(at, "{{")); at += 2) {
        const char *end = at + 2 + strspn(at + 2, " ");
        const char *name = end;
        while (is_letter(*end)) end++;
        if (end == name) continue;
        end += strspn(end, " ");
        if (!starts_with(end, "}}")) continue;
        *length = (size_t)(end + 2 - at);
        return at;
    }
    return NULL;
}

static size_t phrase_length(const char *phrase)
{
    size_t length = strlen(phrase);
    return length > 60 ? lr_utf8_previous(phrase, 61) : length;
}

static lora_status look(lora_check *check, size_t i, const char *text, bool found[2])
{
    mark remnant;
    size_t length;
    const char *placeholder = find_placeholder(text, &length);
    if (!found[0] && next_mark(text, 0, &remnant)) {
        found[0] = true;
        LR_TRY(lr_add_hit(check, LR_TEMPLATE_REMNANT, i, text + remnant.begin, remnant.end - remnant.begin));
    }
    if (!found[1] && placeholder) {
        found[1] = true;
        LR_TRY(lr_add_hit(check, LR_PLACEHOLDER, i, placeholder, length));
    }
    return LORA_OK;
}

lora_status lr_find_remnants(lora_check *check)
{
    for (size_t i = 0; i < check->row_count; i++) {
        const lr_check_row *row = &check->rows[i];
        bool found[2] = {false};
        if (!row->has_text) continue;
        LR_TRY(look(check, i, row->prompt, found));
        LR_TRY(look(check, i, row->answer, found));
        const char *phrase = row->plain ? NULL : find_phrase(row->answer);
        if (phrase) LR_TRY(lr_add_hit(check, LR_ASSISTANT_PHRASE, i, phrase, phrase_length(phrase)));
    }
    return LORA_OK;
}
