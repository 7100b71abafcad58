// The HTTP front: connections, limits, who may ask, routes to handlers, and the ways to answer. A handler runs on its
// connection's thread and answers exactly once.
#ifndef SERVE_HTTP_H
#define SERVE_HTTP_H

#include "serve.h"

#include <microhttpd.h>
#include <sys/types.h>

typedef enum body_kind {
    BODY_NONE, // read and ignored
    BODY_JSON, // an object, parsed
    BODY_FILE  // a file on the way into the workspace
} body_kind;

typedef struct request request;

typedef struct route {
    const char *method;
    const char *path; // "api/datasets/*/rows/#": `*` is a name, `~` any text, `#` a number from 0
    void (*handle)(request *r);
    body_kind body;
    size_t limit; // bytes of the body
} route;

struct request {
    server *server;
    application words; // the request's language, for say()
    struct MHD_Connection *connection;
    struct connection *link;
    char *path;            // decoded; names point into it
    const char *names[4];  // what `*` and `~` matched
    int64_t numbers[2];    // what `#` matched
    const route *route;
    json_t *body;
    char *upload; // BODY_FILE: its path; the handler may rename it away
    // own to http.c
    char *bytes;
    size_t received, capacity;
    int file;
    bool begun, answered;
    unsigned status;
    struct MHD_Response *response;
};

typedef struct http_front http_front;

http_front *http_start(server *s, const route *routes, char *error, size_t capacity); // NULL: `error` says why
int http_port(const http_front *front);
void http_quiesce(http_front *front); // takes no new connection
void http_stop(http_front *front);

// Finds the request's route and takes the names and numbers of its path; answers 400, 404 or 405 where there is none.
void find_route(request *r, const route *table, const char *method);
// A query value, decoded; NULL: not given. query_integer answers 400 and returns false when it is no number in the
// range.
const char *query(const request *r, const char *name);
bool query_integer(request *r, const char *name, int64_t least, int64_t most, int64_t *value);
bool client_is_gone(const request *r);

// ---- answers -------------------------------------------------------------------------------------------------------

void answer_json(request *r, unsigned status, json_t *value); // takes the reference
void answer_text(request *r, const char *type, char *text, size_t length); // takes the text, made by malloc
void answer_report_page(request *r, char *html, size_t length); // with its style inside; takes the text
void answer_asset(request *r, const char *path);
// A file as a download called `name`; takes the open file.
void answer_file(request *r, int file, const char *type, const char *name);
// OpenAI's shape of an error. `param` and `code` may be NULL.
void answer_error(request *r, unsigned status, const char *code, const char *param, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void answer_busy(request *r, int seconds, const char *text);    // 429 with Retry-After
void answer_failure(request *r, lora_status status); // the library's message
void answer_errno(request *r, const char *what);     // a file of the workspace could not be read or written
json_t *error_object(unsigned status, const char *code, const char *param, const char *text);

// Server-sent events. `next` fills the buffer, waiting as long as there is nothing, and returns the bytes; 0: the end;
// it is not called again after that. `finish` frees the state, also when the client went away.
typedef struct event_stream {
    ssize_t (*next)(void *state, char *buffer, size_t capacity);
    void (*finish)(void *state);
    void *state;
} event_stream;
void answer_events(request *r, const event_stream *stream);

// ---- values of a body: false after answering 400, when a value is there and of another kind ------------------------

bool take_integer(request *r, const char *name, int64_t least, int64_t most, int64_t *value);
bool take_real(request *r, const char *name, double least, double most, double *value);
bool take_flag(request *r, const char *name, bool *value);
bool take_text(request *r, const char *name, const char **value); // NULL stays where it is not given
bool need_text(request *r, const char *name, const char **value);
bool take_name(request *r, const char *name, const char **value); // a name as in paths; required
bool is_name(const char *text);
bool is_text(const char *text, size_t most); // 1 to `most` bytes of UTF-8, none of them a control character

extern const route routes[]; // ended by a route without a path

#endif
