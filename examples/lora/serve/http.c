#include "http.h"

#include "access.h"
#include "files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_SECONDS 20      // for a request's head, and between two requests
#define BODY_SECONDS 30      // for a body, and a second more for each
#define BODY_RATE 65536      // bytes
#define DISCARDED (16 << 20) // bytes that are read of a body nobody wants, so that the client gets to see why
#define MOST_DEPTH 64        // of JSON
#define SPARE_CONNECTIONS 128

// ---- connections, and the watch over how long each takes -----------------------------------------------------------

typedef enum phase { PHASE_HEAD, PHASE_BODY, PHASE_ANSWER } phase;

typedef struct connection {
    struct connection *next;
    MHD_socket socket;
    phase phase;
    double deadline;
} connection;

struct http_front {
    server *server;
    const route *routes;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    connection *connections;
    pthread_t watch;
    bool stopping;
    int port;
};

static void enter(http_front *front, connection *c, phase p, double seconds)
{
    if (!c) return;
    pthread_mutex_lock(&front->lock);
    c->phase = p;
    c->deadline = now() + seconds;
    pthread_mutex_unlock(&front->lock);
}

static void notify_connection(void *user, struct MHD_Connection *handle, void **context,
                              enum MHD_ConnectionNotificationCode code)
{
    http_front *front = user;
    pthread_mutex_lock(&front->lock);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection *c = calloc(1, sizeof *c);
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (c && info) {
            const int buffer = 65536; // what a slow reader can hold back beyond its own queue
            setsockopt(info->connect_fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
            *c = (connection){.next = front->connections, .socket = info->connect_fd, .deadline = now() + HEAD_SECONDS};
            front->connections = c;
        }
        *context = c;
    } else if (*context) {
        connection **link = &front->connections, *c = *context;
        while (*link != c) link = &(*link)->next;
        *link = c->next;
        free(c);
    }
    pthread_mutex_unlock(&front->lock);
}

static void *watch(void *argument)
{
    http_front *front = argument;
    pthread_mutex_lock(&front->lock);
    while (!front->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        pthread_cond_timedwait(&front->wake, &front->lock, &until);
        double time = now();
        for (connection *c = front->connections; c; c = c->next)
            if (c->phase != PHASE_ANSWER && time > c->deadline) shutdown(c->socket, SHUT_RDWR);
    }
    pthread_mutex_unlock(&front->lock);
    return NULL;
}

bool client_is_gone(const request *r)
{
    struct pollfd poller = {.fd = r->link ? r->link->socket : -1, .events = POLLRDHUP};
    return poll(&poller, 1, 0) > 0 && (poller.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

// ---- a request's life ----------------------------------------------------------------------------------------------

static void *begin_request(void *user, const char *uri, struct MHD_Connection *handle)
{
    http_front *front = user;
    request *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    *r = (request){.server = front->server, .words = *front->server->app, .connection = handle, .file = -1};
    r->path = strndup(uri, strcspn(uri, "?"));
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    r->link = info ? info->socket_context : NULL;
    return r;
}

static void end_request(void *user, struct MHD_Connection *handle, void **context, enum MHD_RequestTerminationCode code)
{
    http_front *front = user;
    request *r = *context;
    (void)handle, (void)code;
    if (!r) return;
    enter(front, r->link, PHASE_HEAD, HEAD_SECONDS);
    if (r->file >= 0) close(r->file);
    if (r->upload) unlink(r->upload);
    if (r->response) MHD_destroy_response(r->response);
    json_decref(r->body);
    free(r->upload);
    free(r->bytes);
    free(r->path);
    free(r);
    *context = NULL;
}

// ---- bodies --------------------------------------------------------------------------------------------------------

static const char *header(const request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

static void answer_too_large(request *r)
{
    answer_error(
        r, 413, "too_large", NULL,
        say(&r->words, "this is too large: at most %zu bytes are taken here", "内容太大：此处最多接收 %zu 字节"),
        r->route->limit);
}

static bool is_type(const char *type, const char *name)
{
    size_t length = strlen(name);
    return type && strncasecmp(type, name, length) == 0 &&
           (type[length] == '\0' || type[length] == ';' || type[length] == ' ');
}

static void check_body_type(request *r)
{
    const char *type = header(r, "Content-Type");
    bool fits = true;
    if (r->route->body == BODY_JSON) fits = is_type(type, "application/json");
    if (r->route->body == BODY_FILE)
        fits = !type || (!is_type(type, "multipart/form-data") && !is_type(type, "application/x-www-form-urlencoded"));
    if (fits) return;
    answer_error(r, 415, "unsupported_type", NULL, "%s",
                 r->route->body == BODY_JSON ? say(&r->words, "send JSON, with Content-Type: application/json",
                                                   "请发送 JSON，并设置 Content-Type: application/json")
                                             : say(&r->words, "send the file itself as the body, not a form",
                                                   "请直接把文件作为正文发送，不要用表单"));
}

// Returns false when the body is so large that it is not even read.
static bool check_length(request *r, uint64_t *length)
{
    const char *text = header(r, "Content-Length");
    size_t limit = r->route ? r->route->limit : 0;
    *length = text ? strtoull(text, NULL, 10) : 0;
    if (r->route && !r->answered && *length > limit && r->route->body != BODY_NONE) answer_too_large(r);
    return *length <= limit + DISCARDED;
}

static void open_upload(request *r)
{
    r->upload = workspace_path(r->server, "uploads");
    if (r->upload) make_directory(r->upload);
    char *fresh = r->upload ? fresh_path(r->upload) : NULL;
    free(r->upload);
    r->upload = fresh;
    r->file = fresh ? open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : -1;
    if (r->file < 0) answer_errno(r, "uploads");
}

static bool grow(request *r, size_t size)
{
    if (size < r->capacity) return true;
    size_t capacity = size * 2 + 1024;
    char *bytes = realloc(r->bytes, capacity);
    if (!bytes) return false;
    r->bytes = bytes;
    r->capacity = capacity;
    return true;
}

static void take_bytes(request *r, const char *data, size_t size)
{
    r->received += size;
    if (r->answered || r->route->body == BODY_NONE) return;
    if (r->received > r->route->limit) {
        answer_too_large(r);
    } else if (r->route->body == BODY_FILE) {
        for (ssize_t written; size > 0; data += written, size -= (size_t)written) {
            written = write(r->file, data, size);
            if (written < 0) {
                answer_errno(r, "uploads");
                return;
            }
        }
    } else if (grow(r, r->received)) {
        memcpy(r->bytes + r->received - size, data, size);
    } else {
        answer_failure(r, LORA_ERROR_MEMORY);
    }
}

static bool is_too_deep(const char *text, size_t length)
{
    int depth = 0;
    bool inside = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (inside && c == '\\') i++;
        else if (c == '"') inside = !inside;
        else if (!inside && (c == '[' || c == '{') && ++depth > MOST_DEPTH) return true;
        else if (!inside && (c == ']' || c == '}')) depth--;
    }
    return false;
}

static void parse_body(request *r)
{
    json_error_t error;
    if (is_too_deep(r->bytes, r->received)) {
        answer_error(r, 400, "invalid_json", NULL,
                     say(&r->words, "the JSON is nested more than %d deep", "JSON 嵌套超过 %d 层"), MOST_DEPTH);
        return;
    }
    r->body = r->received ? json_loadb(r->bytes, r->received, JSON_REJECT_DUPLICATES, &error) : json_object();
    if (!r->body)
        answer_error(r, 400, "invalid_json", NULL,
                     say(&r->words, "this is no JSON: line %d, column %d: %s", "不是有效的 JSON：第 %d 行第 %d 列：%s"),
                     error.line, error.column, error.text);
    else if (!json_is_object(r->body))
        answer_error(r, 400, "invalid_json", NULL, "%s", say(&r->words, "a JSON object is expected", "应为 JSON 对象"));
}

// ---- handling ------------------------------------------------------------------------------------------------------

static enum MHD_Result give_answer(http_front *front, request *r)
{
    if (!r->answered)
        answer_error(r, 500, NULL, NULL, "%s", say(&r->words, "the server did not find an answer", "服务器内部错误"));
    enter(front, r->link, PHASE_ANSWER, 0);
    return r->response ? MHD_queue_response(r->connection, r->status, r->response) : MHD_NO;
}

static void choose_language(request *r)
{
    const char *language = header(r, "Accept-Language");
    if (language && strncasecmp(language, "zh", 2) == 0) r->words.chinese = true;
    if (language && strncasecmp(language, "en", 2) == 0) r->words.chinese = false;
}

static enum MHD_Result begin(http_front *front, request *r, const char *method)
{
    uint64_t length;
    r->begun = true;
    choose_language(r);
    if (may_ask(r, method)) find_route(r, front->routes, method);
    if (!r->answered) check_body_type(r);
    bool worth_reading = check_length(r, &length);
    if (!r->answered && r->route->body == BODY_FILE) open_upload(r);
    enter(front, r->link, PHASE_BODY, BODY_SECONDS + (double)length / BODY_RATE);
    return worth_reading ? MHD_YES : give_answer(front, r);
}

static enum MHD_Result handle(void *user, struct MHD_Connection *connection_handle, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **context)
{
    http_front *front = user;
    request *r = *context;
    (void)connection_handle, (void)url, (void)version;
    if (!r) return MHD_NO;
    if (!r->begun) return begin(front, r, method);
    if (*size > 0) {
        take_bytes(r, data, *size);
        *size = 0;
        return r->answered && r->received > (r->route ? r->route->limit : 0) + DISCARDED ? MHD_NO : MHD_YES;
    }
    enter(front, r->link, PHASE_ANSWER, 0);
    if (!r->answered && r->route->body == BODY_JSON) parse_body(r);
    if (!r->answered) r->route->handle(r);
    return give_answer(front, r);
}

// The path keeps its escapes until it has been cut.
static size_t keep_escapes(void *user, struct MHD_Connection *handle, char *text)
{
    (void)user, (void)handle;
    return strlen(text);
}

// ---- start and stop ------------------------------------------------------------------------------------------------

static int open_socket(const server *s, char *error, size_t capacity)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    char port[16];
    snprintf(port, sizeof port, "%d", (int)s->settings->port);
    int problem = getaddrinfo(s->settings->host, port, &hints, &found);
    if (problem) {
        snprintf(error, capacity, say(s->app, "--host %s: %s", "--host %s：%s"), s->settings->host,
                 gai_strerror(problem));
        return -1;
    }
    const int on = 1;
    int listener = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener >= 0) setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (listener < 0 || bind(listener, found->ai_addr, found->ai_addrlen) != 0 || listen(listener, 256) != 0) {
        if (errno == EADDRINUSE)
            snprintf(error, capacity,
                     say(s->app, "port %d is taken by another program; choose another with --port",
                         "端口 %d 已被其他程序占用；请用 --port 换一个"),
                     (int)s->settings->port);
        else snprintf(error, capacity, "%s:%d: %s", s->settings->host, (int)s->settings->port, strerror(errno));
        if (listener >= 0) close(listener);
        listener = -1;
    }
    freeaddrinfo(found);
    return listener;
}

static int bound_port(int listener)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &length) != 0) return 0;
    if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

static void say_nothing(void *user, const char *format, va_list arguments)
{
    (void)user, (void)format, (void)arguments;
}

http_front *http_start(server *s, const route *table, char *error, size_t capacity)
{
    int listener = open_socket(s, error, capacity);
    if (listener < 0) return NULL;
    http_front *front = calloc(1, sizeof *front);
    if (!front) return close(listener), NULL;
    *front = (http_front){.server = s, .routes = table, .port = bound_port(listener)};
    pthread_mutex_init(&front->lock, NULL);
    pthread_cond_init(&front->wake, NULL);
    front->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC |
            MHD_USE_ERROR_LOG,
        0, NULL, NULL, handle, front, MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL, MHD_OPTION_LISTEN_SOCKET, listener,
        MHD_OPTION_NOTIFY_CONNECTION, notify_connection, front, MHD_OPTION_NOTIFY_COMPLETED, end_request, front,
        MHD_OPTION_URI_LOG_CALLBACK, begin_request, front, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->settings->idle_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)32768, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(s->settings->clients + s->settings->queue + SPARE_CONNECTIONS), MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)2 << 20, MHD_OPTION_END);
    if (!front->daemon || pthread_create(&front->watch, NULL, watch, front) != 0) {
        snprintf(error, capacity, "%s", say(s->app, "the HTTP server did not start", "HTTP 服务器未能启动"));
        if (front->daemon) MHD_stop_daemon(front->daemon);
        else close(listener);
        free(front);
        return NULL;
    }
    return front;
}

int http_port(const http_front *front)
{
    return front->port;
}

void http_quiesce(http_front *front)
{
    int listener = MHD_quiesce_daemon(front->daemon);
    if (listener >= 0) close(listener);
}

void http_stop(http_front *front)
{
    if (!front) return;
    MHD_stop_daemon(front->daemon);
    pthread_mutex_lock(&front->lock);
    front->stopping = true;
    pthread_cond_signal(&front->wake);
    pthread_mutex_unlock(&front->lock);
    pthread_join(front->watch, NULL);
    pthread_mutex_destroy(&front->lock);
    pthread_cond_destroy(&front->wake);
    free(front);
}
