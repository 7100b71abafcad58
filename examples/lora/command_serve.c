// lora serve: the web page and the HTTP interface, until Ctrl-C.
#include "compare_grid.h"
#include "serve/access.h"
#include "serve/files.h"
#include "serve/jobs.h"
#include "serve/scheduler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

#define GRACE_SECONDS 5 // for answers under way when the server ends

static const verb_help help = {
    .usage = "lora serve MODEL [--adapter NAME=ADAPTER]... [options]",
    .english = "A web page to chat, prepare data, train, judge and export, and an\n"
               "OpenAI-compatible HTTP interface. Only this computer reaches it unless --host\nsays else.",
    .chinese =
        "网页界面（对话、准备数据、训练、评判、导出）和兼容 OpenAI 的 HTTP 接口。\n默认只有本机可以访问，除非用 --host 开放。",
    .example = "lora serve examples/base --adapter report=my-adapter --port 8080",
    .arguments = 1,
    .most_arguments = 1,
};

#define AT(field) offsetof(serve_settings, field)
static const option options[] = {
    {"adapter", OPTION_TEXTS, AT(adapters), "NAME=DIR", "adapters, beside those of the workspace",
     "提供的适配器（工作目录中的除外）"},
    {"workspace", OPTION_TEXT, AT(workspace), "DIR", "all that is made (lora-workspace)",
     "数据和结果的目录（默认 lora-workspace）"},
    {"port", OPTION_INTEGER, AT(port), "8080", "0: any that is free", "端口；0 为任意空闲端口"},
    {"host", OPTION_TEXT, AT(host), "127.0.0.1", "0.0.0.0 opens it to the network, with a token",
     "0.0.0.0 对局域网开放（需要令牌）"},
    {"token", OPTION_TEXT, AT(token), "TEXT", "what who asks must know (default: drawn)", "访问令牌（默认随机生成）"},
    {"allow-host", OPTION_NAMES, AT(hosts), "NAME", "another name under which it is reached", "允许的其他主机名"},
    {"name", OPTION_TEXT, AT(name), "NAME", "the model's name (default: its file's)", "模型名称（默认取文件名）"},
    {"max-clients", OPTION_INTEGER, AT(clients), "64", "answers written at once", "同时生成的回答数"},
    {"max-queue", OPTION_INTEGER, AT(queue), "64", "answers that may wait; more are refused (429)",
     "排队上限，超出则拒绝（429）"},
    {"max-tokens", OPTION_INTEGER, AT(max_tokens), "2048", "longest answer", "回答的最大长度"},
    {"cache-memory", OPTION_SIZE, AT(cache_memory), "4GB", "for all answers (half of what is free)",
     "所有回答可用的内存（默认空闲的一半）"},
    {"cache-type", OPTION_TEXT, AT(cache_type_name), "f32", "f16 or bf16: answers take half the memory",
     "f16 或 bf16：回答占用内存减半"},
    {"idle-seconds", OPTION_INTEGER, AT(idle_seconds), "60", "a silent connection is closed then",
     "空闲连接的关闭时间"},
    {0},
};

// ---- the workspace -------------------------------------------------------------------------------------------------

char *workspace_path(const server *s, const char *format, ...)
{
    char *rest, *path = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&rest, format, arguments) < 0) rest = NULL;
    va_end(arguments);
    if (rest) path = text_of("%s/%s", s->settings->workspace, rest);
    free(rest);
    return path;
}

void hide_workspace(const server *s, char *text)
{
    static const char *const folders[] = {"uploads/", "datasets/", ""};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = workspace_path(s, "%s", folders[i]);
        size_t length = path ? strlen(path) : 0;
        for (char *at = text; path && (at = strstr(at, path));) memmove(at, at + length, strlen(at + length) + 1);
        free(path);
    }
}

static int workspace_failed(const server *s, const char *path)
{
    return complain(s->app, EXIT_WORK, "%s: %s", path ? path : s->settings->workspace, strerror(errno));
}

// Folders are made; what a killed server left half done goes.
static int open_workspace(server *s)
{
    static const char *const folders[] = {"", "datasets", "adapters", "jobs", "conversations", "exports", "uploads"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = workspace_path(s, "%s", folders[i]);
        bool done = path && make_directory(path);
        if (!done) workspace_failed(s, path);
        free(path);
        if (!done) return EXIT_WORK;
    }
    char *path = workspace_path(s, ".lock");
    s->lock = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    free(path);
    if (s->lock < 0) return workspace_failed(s, NULL);
    if (flock(s->lock, LOCK_EX | LOCK_NB) != 0)
        return complain(s->app, EXIT_WORK,
                        say(s->app, "%s: another lora serve works here; choose another --workspace",
                            "%s：另一个 lora serve 正在使用；请换一个 --workspace"),
                        s->settings->workspace);
    for (size_t i = 1; i < sizeof folders / sizeof *folders; i++)
        if ((path = workspace_path(s, "%s", folders[i]))) remove_fresh(path), free(path);
    return EXIT_DONE;
}

// ---- start and end -------------------------------------------------------------------------------------------------

static int check_settings(application *app, serve_settings *s)
{
    const struct { const char *name; int64_t value, least, most;
    } bounds[] = {{"port", s->port, 0, 65535},
                  {"max-clients", s->clients, 1, 1024},
                  {"max-queue", s->queue, 0, 4096},
                  {"max-tokens", s->max_tokens, 1, INT32_MAX},
                  {"idle-seconds", s->idle_seconds, 1, 86400}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        if (bounds[i].value < bounds[i].least || bounds[i].value > bounds[i].most)
            return complain(
                app, EXIT_USAGE,
                say(app, "--%s: a number from %lld to %lld is expected", "--%s：应为 %lld 到 %lld 之间的整数"),
                bounds[i].name, (long long)bounds[i].least, (long long)bounds[i].most);
    if (s->token && (strlen(s->token) < 8 || strlen(s->token) >= 128))
        return complain(app, EXIT_USAGE, "%s",
                        say(app, "--token: 8 to 127 characters are expected", "--token：应为 8 到 127 个字符"));
    if (s->name && !is_name(s->name))
        return complain(app, EXIT_USAGE,
                        say(app, "--name %s: letters, digits, '-', '_' and '.' make a name",
                            "--name %s：名称由文字、数字、“-”、“_”、“.”组成"),
                        s->name);
    return EXIT_DONE;
}

// The model is called after its file, as far as that makes a name.
static char *name_model(const serve_settings *settings, const char *path)
{
    if (settings->name) return strdup(settings->name);
    char *whole = realpath(path, NULL), *slash = whole ? strrchr(whole, '/') : NULL,
         *name = strdup(slash ? slash + 1 : path);
    char *ending = name ? strrchr(name, '.') : NULL;
    if (ending && ending > name && strcmp(ending, ".gguf") == 0) *ending = '\0';
    free(whole);
    if (name && is_name(name)) return name;
    free(name);
    return strdup("base");
}

static int open_server(server *s, application *app)
{
    lora_status status = open_model(app, s->model_path, NULL, &s->model);
    if (status != LORA_OK) return failed(app, status);
    s->tokenizer = lora_model_tokenizer(s->model);
    if (!s->tokenizer)
        return complain(app, EXIT_WORK,
                        say(app, "%s has no tokenizer; put tokenizer.json beside the model",
                            "%s 没有分词器；请把 tokenizer.json 放到模型旁"),
                        s->model_path);
    int result = EXIT_WORK;
    s->shelf = shelf_open(s, &result);
    if (!s->shelf) return result;
    s->scheduler = scheduler_start(s);
    char error[512] = "";
    if (s->scheduler && jobs_open(s)) s->front = http_start(s, routes, error, sizeof error);
    return s->front ? EXIT_DONE : complain(app, EXIT_WORK, "%s", *error ? error : say(app, "out of memory", "内存不足"));
}

static void show_address(const server *s)
{
    char own[256], address[600];
    const char *host = s->settings->host;
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    if (any && gethostname(own, sizeof own) == 0) host = own;
    snprintf(address, sizeof address, strchr(host, ':') ? "http://[%s]:%d/%s%s" : "http://%s:%d/%s%s", host,
             http_port(s->front), *s->token ? "#token=" : "", s->token);
    if (s->app->json)
        print_json(json_pack("{ss sI ss*}", "url", address, "port", (json_int_t)http_port(s->front), "token",
                             *s->token ? s->token : NULL));
    else {
        printf(say(s->app, "open in your browser:  %s\n", "请在浏览器中打开：%s\n"), address);
        if (s->network)
            printf("%s\n", say(s->app, "it is open to your network; the link holds the token that is needed",
                               "已对局域网开放；链接中含有访问令牌"));
        printf("%s\n", say(s->app, "Ctrl-C ends it", "按 Ctrl-C 结束"));
        fflush(stdout);
    }
}

static void wake(void *handle)
{
    const uint64_t one = 1;
    ssize_t written = write(*(int *)handle, &one, sizeof one);
    (void)written;
}

static void close_server(server *s)
{
    if (s->front) http_quiesce(s->front);
    jobs_stop(s->jobs);
    if (s->scheduler) scheduler_stop(s->scheduler, GRACE_SECONDS);
    http_stop(s->front);
    jobs_free(s->jobs);
    scheduler_free(s->scheduler);
    shelf_close(s->shelf);
    lora_model_free(s->model);
    free(s->model_name);
    if (s->lock >= 0) close(s->lock);
    pthread_mutex_destroy(&s->files);
}

static int run(application *app, const serve_settings *settings)
{
    server s = {.app = app,
                .settings = settings,
                .compare_options = compare_options(),
                .model_path = app->arguments.items[0],
                .lock = -1,
                .network = !is_loopback(settings->host)};
    int stop = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&s.files, NULL);
    s.model_name = name_model(settings, s.model_path);
    if (settings->token) snprintf(s.token, sizeof s.token, "%s", settings->token);
    int status = s.network && !*s.token && !draw_token(s.token, 32) ? EXIT_WORK : open_workspace(&s);
    on_interrupt(wake, &stop);
    if (status == EXIT_DONE) status = open_server(&s, app);
    if (status == EXIT_DONE) {
        uint64_t value;
        show_address(&s);
        while (!interrupted() && read(stop, &value, sizeof value) < 0 && errno == EINTR) {}
        note(app, "%s", say(app, "ending: answers under way may finish", "正在结束：进行中的回答会先完成"));
        status = EXIT_INTERRUPTED;
    }
    close_server(&s);
    on_interrupt(NULL, NULL);
    if (stop >= 0) close(stop);
    return status;
}

int command_serve(application *app, int count, char **words)
{
    serve_settings settings = {.workspace = "lora-workspace",
                               .host = "127.0.0.1",
                               .port = 8080,
                               .clients = 64,
                               .queue = 64,
                               .max_tokens = 2048,
                               .cache_type_name = "f32",
                               .idle_seconds = 60};
    int status = parse_options(app, &help, options, &settings, count, words);
    if (status == EXIT_DONE) status = check_settings(app, &settings);
    if (status == EXIT_DONE) status = read_cache_type(app, settings.cache_type_name, &settings.cache_type);
    return status == EXIT_DONE ? run(app, &settings) : status;
}
