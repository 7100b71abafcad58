// The names that people give to the columns of their tables and the keys of their rows.
#include "src/data/rows.h"

#include <string.h>
#include <strings.h>

// In each line the first name is the column's own; earlier names win over later ones. dataset.h lists them.
static const char *const names[LR_COLUMN_COUNT][12] = {
    [LR_COLUMN_INSTRUCTION] = {"instruction", "指令", "任务"},
    [LR_COLUMN_PROMPT] = {"prompt", "question", "问题", "提问", "问", "提示词", "提示"},
    [LR_COLUMN_QUERY] = {"query"},
    [LR_COLUMN_INPUT] = {"input", "输入"},
    [LR_COLUMN_OUTPUT] = {"output", "输出", "target"},
    [LR_COLUMN_COMPLETION] = {"completion", "response", "answer", "回答", "答案", "答", "回复", "答复"},
    [LR_COLUMN_SYSTEM] = {"system", "system_prompt", "系统提示", "系统"},
    [LR_COLUMN_HISTORY] = {"history", "历史"},
    [LR_COLUMN_MESSAGES] = {"messages", "conversations", "conversation", "chosen_messages", "对话"},
    [LR_COLUMN_CHOSEN] = {"chosen"},
    [LR_COLUMN_REJECTED] = {"rejected"},
    [LR_COLUMN_TEXT] = {"text", "sentence", "review", "content", "文本", "内容", "正文", "句子", "评论"},
    [LR_COLUMN_LABEL] = {"label", "category", "class", "标签", "类别", "分类"},
    [LR_COLUMN_TOOLS] = {"tools"},
    [LR_COLUMN_IDS] = {"input_ids"},
};

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// The place of a name among those of its column, and the column; -1: none.
static int find(const char *name, size_t length, size_t *place)
{
    while (length > 0 && is_space(*name)) name++, length--;
    while (length > 0 && is_space(name[length - 1])) length--;
    for (int column = 0; column < LR_COLUMN_COUNT; column++)
        for (*place = 0; names[column][*place]; ++*place) {
            const char *known = names[column][*place];
            if (strlen(known) == length && strncasecmp(known, name, length) == 0) return column;
        }
    return -1;
}

int lr_column_find(const char *name, size_t length)
{
    size_t place;
    return find(name, length, &place);
}

void lr_fields_read(const json_t *row, lr_fields *out)
{
    size_t best[LR_COLUMN_COUNT], place;
    const char *key;
    json_t *value;
    for (int column = 0; column < LR_COLUMN_COUNT; column++) {
        out->key[column] = names[column][0];
        out->value[column] = NULL;
    }
    json_object_foreach((json_t *)row, key, value)
    {
        int column = json_is_null(value) ? -1 : find(key, strlen(key), &place);
        if (column < 0 || (out->value[column] && best[column] <= place)) continue;
        out->key[column] = key;
        out->value[column] = value;
        best[column] = place;
    }
}
