#include "app.h"

#include <stdlib.h>
#include <string.h>

typedef struct verb {
    const char *name;
    int (*run)(application *app, int count, char **words);
    const char *english, *chinese;
} verb;

static const verb verbs[] = {
    {"check", command_check, "what is wrong with your data, row by row", "逐行检查数据质量"},
    {"train", command_train, "fine-tune a model on your examples; saves an adapter",
     "用您的例子微调模型，保存为适配器"},
    {"generate", command_generate, "one answer, streamed", "生成一个回答"},
    {"chat", command_chat, "a conversation; /adapter and /base switch skills", "对话；用 /adapter 和 /base 切换技能"},
    {"eval", command_eval, "loss and scores of the answers to held-out data", "在留出数据上计算损失，并给回答打分"},
    {"compare", command_compare, "one run for each setting (ranks 4, 8, 16; LoRA or full), one table",
     "用多种设置各训练一次，列表对比"},
    {"ab", command_ab, "blind test: which of two answers is better?", "盲测：两个回答哪个更好？"},
    {"merge", command_merge, "an adapter into an ordinary model", "把适配器合并成普通模型"},
    {"inspect", command_inspect, "what a model, adapter, data file or checkpoint holds",
     "查看模型、适配器、数据或检查点的内容"},
    {"plan", command_plan, "memory and time that a run will need", "预估训练所需的内存和时间"},
    {"serve", command_serve, "the web page, and an OpenAI-compatible HTTP interface",
     "网页界面和兼容 OpenAI 的 HTTP 接口"},
    {"quantize", command_quantize, "a smaller base: nf4, int8 or GGUF's types",
     "生成更小的底座：nf4、int8 或 GGUF 的类型"},
    {"tokenize", command_tokenize, "text to ids and back", "文本与编号互转"},
};
#define VERB_COUNT (sizeof verbs / sizeof *verbs)

static int print_help(const application *app)
{
    printf("%s\n\n", say(app, "lora VERB ...: fine-tune a language model on this computer (liblora)",
                         "lora 动词 ...：在本机微调语言模型（liblora）"));
    for (size_t i = 0; i < VERB_COUNT; i++)
        printf("  %-10s %s\n", verbs[i].name, say(app, verbs[i].english, verbs[i].chinese));
    printf("\n%s\n  lora train examples/base --data examples/data/weekly_report.train.jsonl \\\n"
           "      --output my-adapter --alpha 32\n"
           "  lora generate examples/base --adapter my-adapter --prompt \"Hello!\"\n",
           say(app, "`lora VERB --help` tells more. Example:", "用 `lora 动词 --help` 查看详情。例如："));
    return EXIT_DONE;
}

static bool speaks_chinese(void)
{
    static const char *names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    for (size_t i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return strncmp(value, "zh", 2) == 0;
    }
    return false;
}

// --lang holds for messages about the options themselves, so it is looked for first.
static void find_language(application *app, int count, char **words)
{
    app->chinese = speaks_chinese();
    for (int i = 0; i < count; i++) {
        const char *value = strncmp(words[i], "--lang=", 7) == 0 ? words[i] + 7
                          : strcmp(words[i], "--lang") == 0 && i + 1 < count ? words[i + 1] : NULL;
        if (value) app->chinese = strncmp(value, "zh", 2) == 0;
    }
}

static int unknown_verb(const application *app, const char *name)
{
    fprintf(stderr, say(app, "lora: there is no verb '%s'. Verbs:", "lora：没有动词“%s”。可用的动词："), name);
    for (size_t i = 0; i < VERB_COUNT; i++) fprintf(stderr, " %s", verbs[i].name);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

int main(int count, char **words)
{
    application app = {.seed = 42, .start = now()};
    catch_interrupts();
    find_language(&app, count, words);
    const char *name = count > 1 ? words[1] : "--help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) return print_help(&app);
    if (strcmp(name, "--version") == 0) return printf("lora %s\n", lora_version()) < 0;
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (strcmp(verbs[i].name, name) != 0) continue;
        int status = verbs[i].run(&app, count - 2, words + 2);
        lora_context_free(app.context);
        free(app.template_text);
        return status < 0 ? EXIT_DONE : status;
    }
    return unknown_verb(&app, name);
}
