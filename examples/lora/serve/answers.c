#include "http.h"

#include "assets.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utf8proc.h>
#include <zlib.h>

// ---- answering -----------------------------------------------------------------------------------------------------

#define POLICY "Content-Security-Policy"
#define PAGE_POLICY "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
#define REPORT_POLICY "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"

static void give(request *r, unsigned status, struct MHD_Response *response, const char *type)
{
    static const struct { const char *name, *value; } always[] = {
        {"X-Content-Type-Options", "nosniff"}, {"Referrer-Policy", "no-referrer"}, {"X-Frame-Options", "DENY"},
        {"Cross-Origin-Resource-Policy", "same-origin"}, {"Cross-Origin-Opener-Policy", "same-origin"},
        {POLICY, PAGE_POLICY}};
    if (r->response) MHD_destroy_response(r->response);
    r->answered = true;
    r->status = status;
    r->response = response;
    if (!response) return;
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        MHD_add_response_header(response, always[i].name, always[i].value);
    if (type) MHD_add_response_header(response, "Content-Type", type);
}

static void add_no_store(request *r)
{
    if (r->response) MHD_add_response_header(r->response, "Cache-Control", "no-store");
}

void answer_json(request *r, unsigned status, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY) : NULL;
    json_decref(value);
    give(r, text ? status : 500, MHD_create_response_from_buffer(text ? strlen(text) : 0, text, MHD_RESPMEM_MUST_FREE),
         "application/json");
    add_no_store(r);
}

void answer_text(request *r, const char *type, char *text, size_t length)
{
    give(r, 200, MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE), type);
    add_no_store(r);
}

void answer_report_page(request *r, char *html, size_t length)
{
    answer_text(r, "text/html; charset=utf-8", html, length);
    if (!r->response) return;
    MHD_del_response_header(r->response, POLICY, PAGE_POLICY);
    MHD_add_response_header(r->response, POLICY, REPORT_POLICY);
}

json_t *error_object(unsigned status, const char *code, const char *param, const char *text)
{
    const char *type = status == 401   ? "authentication_error"
                       : status == 403 ? "permission_error"
                       : status == 429 ? "rate_limit_error"
                       : status >= 500 ? "server_error"
                                       : "invalid_request_error";
    return json_pack("{s{ss* ss ss? ss?}}", "error", "message", text, "type", type, "code", code, "param", param);
}

void answer_error(request *r, unsigned status, const char *code, const char *param, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_t *object = error_object(status, code, param, text);
    if (!json_object_get(json_object_get(object, "error"), "message")) { // a text that is no UTF-8: cut or foreign
        for (char *c = text; *c; c++)
            if ((unsigned char)*c >= 128) *c = '?';
        json_decref(object);
        object = error_object(status, code, param, text);
    }
    answer_json(r, status, object);
}

void answer_busy(request *r, int seconds, const char *text)
{
    char wait[16];
    snprintf(wait, sizeof wait, "%d", seconds);
    answer_error(r, 429, "busy", NULL, "%s", text);
    MHD_add_response_header(r->response, "Retry-After", wait);
}

void answer_failure(request *r, lora_status status)
{
    static const struct { lora_status status; unsigned answer;
    } answers[] = {{LORA_ERROR_ARGUMENT, 400}, {LORA_ERROR_OVERFLOW, 400},    {LORA_ERROR_NOT_FOUND, 404},
                   {LORA_ERROR_EXISTS, 409},   {LORA_ERROR_STATE, 409},       {LORA_ERROR_BUSY, 409},
                   {LORA_ERROR_FORMAT, 422},   {LORA_ERROR_UNSUPPORTED, 422}, {LORA_ERROR_MISMATCH, 422},
                   {LORA_ERROR_DATA, 422},     {LORA_ERROR_NOT_FINITE, 422},  {LORA_ERROR_BUDGET, 422},
                   {LORA_ERROR_MEMORY, 503},   {LORA_ERROR_CANCELLED, 503}};
    unsigned answer = 500;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (answers[i].status == status) answer = answers[i].answer;
    char text[1024];
    snprintf(text, sizeof text, "%s",
             status == LORA_ERROR_MEMORY || !*lora_error_message() ? say(&r->words, "out of memory", "内存不足")
                                                                   : lora_error_message());
    hide_workspace(r->server, text);
    answer_error(r, answer, NULL, NULL, "%s", text);
}

void answer_errno(request *r, const char *what)
{
    int error = errno;
    answer_error(r,
                 error == ENOENT                      ? 404
                 : error == ENOSPC || error == EDQUOT ? 507
                                                      : 500,
                 NULL, NULL, "%s: %s", what, strerror(error));
}

// ---- files ---------------------------------------------------------------------------------------------------------

static char *inflated(const asset *a)
{
    char *bytes = malloc(a->length);
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)a->bytes,
                       .avail_in = (uInt)a->packed,
                       .next_out = (Bytef *)bytes,
                       .avail_out = (uInt)a->length};
    if (bytes && inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK) {
        int result = inflate(&stream, Z_FINISH);
        inflateEnd(&stream);
        if (result == Z_STREAM_END) return bytes;
    }
    free(bytes);
    return NULL;
}

void answer_asset(request *r, const char *path)
{
    const asset *a = assets;
    while (a->path && strcmp(a->path, path) != 0) a++;
    if (!a->path) {
        answer_error(r, 404, "not_found", NULL, "%s", say(&r->words, "there is nothing at this address", "此地址没有内容"));
        return;
    }
    const char *accepted = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Accept-Encoding");
    const char *known = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "If-None-Match");
    bool unchanged = known && strstr(known, a->tag), packed = accepted && strstr(accepted, "gzip");
    char *plain = unchanged || packed ? NULL : inflated(a);
    if (unchanged) give(r, 304, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT), a->type);
    else if (packed)
        give(r, 200, MHD_create_response_from_buffer(a->packed, (void *)(uintptr_t)a->bytes, MHD_RESPMEM_PERSISTENT),
             a->type);
    else
        give(r, plain ? 200 : 500, MHD_create_response_from_buffer(plain ? a->length : 0, plain, MHD_RESPMEM_MUST_FREE),
             a->type);
    if (!r->response) return;
    if (packed && !unchanged) MHD_add_response_header(r->response, "Content-Encoding", "gzip");
    MHD_add_response_header(r->response, "ETag", a->tag);
    MHD_add_response_header(r->response, "Vary", "Accept-Encoding");
    MHD_add_response_header(r->response, "Cache-Control", "no-cache");
}

// Content-Disposition with the name in UTF-8 (RFC 6266); names are letters, digits and "-_." alone.
static void add_download_name(request *r, const char *name)
{
    char value[1024];
    size_t at = (size_t)snprintf(value, sizeof value, "attachment; filename*=UTF-8''");
    for (; *name && at + 4 < sizeof value; name++)
        at += (size_t)snprintf(value + at, sizeof value - at, (unsigned char)*name < 128 ? "%c" : "%%%02X",
                               (unsigned char)*name);
    MHD_add_response_header(r->response, "Content-Disposition", value);
}

void answer_file(request *r, int file, const char *type, const char *name)
{
    struct stat found;
    if (fstat(file, &found) != 0 || !S_ISREG(found.st_mode)) {
        close(file);
        errno = ENOENT;
        answer_errno(r, name);
        return;
    }
    give(r, 200, MHD_create_response_from_fd64((uint64_t)found.st_size, file), type);
    if (!r->response) return;
    add_no_store(r);
    add_download_name(r, name);
}

// ---- events --------------------------------------------------------------------------------------------------------

static ssize_t next_events(void *state, uint64_t position, char *buffer, size_t capacity)
{
    event_stream *stream = state;
    (void)position;
    ssize_t length = stream->next(stream->state, buffer, capacity);
    return length > 0 ? length : MHD_CONTENT_READER_END_OF_STREAM;
}

static void finish_events(void *state)
{
    event_stream *stream = state;
    stream->finish(stream->state);
    free(stream);
}

void answer_events(request *r, const event_stream *stream)
{
    event_stream *own = malloc(sizeof *own);
    if (own) *own = *stream;
    struct MHD_Response *response =
        own ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, next_events, own, finish_events) : NULL;
    if (!response) {
        free(own);
        stream->finish(stream->state);
        answer_failure(r, LORA_ERROR_MEMORY);
        return;
    }
    give(r, 200, response, "text/event-stream; charset=utf-8");
    add_no_store(r);
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
}

// ---- values of a body ----------------------------------------------------------------------------------------------

static json_t *value_of(const request *r, const char *name)
{
    json_t *value = json_object_get(r->body, name);
    return json_is_null(value) ? NULL : value;
}

bool take_integer(request *r, const char *name, int64_t least, int64_t most, int64_t *out)
{
    json_t *value = value_of(r, name);
    if (!value) return true;
    double number = json_number_value(value);
    if (json_is_integer(value) && json_integer_value(value) >= least && json_integer_value(value) <= most)
        return *out = json_integer_value(value), true;
    if (json_is_real(value) && number == floor(number) && fabs(number) < 0x1p53 && number >= (double)least &&
        number <= (double)most)
        return *out = (int64_t)number, true;
    answer_error(r, 400, "invalid_value", name,
                 say(&r->words, "%s: a whole number from %lld to %lld is expected", "%s：应为 %lld 到 %lld 之间的整数"),
                 name, (long long)least, (long long)most);
    return false;
}

bool take_real(request *r, const char *name, double least, double most, double *out)
{
    json_t *value = value_of(r, name);
    if (!value) return true;
    double number = json_number_value(value);
    if (json_is_number(value) && number >= least && number <= most) return *out = number, true;
    answer_error(r, 400, "invalid_value", name,
                 say(&r->words, "%s: a number from %g to %g is expected", "%s：应为 %g 到 %g 之间的数"), name, least,
                 most);
    return false;
}

bool take_flag(request *r, const char *name, bool *out)
{
    json_t *value = value_of(r, name);
    if (!value) return true;
    if (json_is_boolean(value)) return *out = json_is_true(value), true;
    answer_error(r, 400, "invalid_value", name,
                 say(&r->words, "%s: true or false is expected", "%s：应为 true 或 false"), name);
    return false;
}

bool take_text(request *r, const char *name, const char **out)
{
    json_t *value = value_of(r, name);
    if (!value) return true;
    if (json_is_string(value)) return *out = json_string_value(value), true;
    answer_error(r, 400, "invalid_value", name, say(&r->words, "%s: a text is expected", "%s：应为文本"), name);
    return false;
}

bool need_text(request *r, const char *name, const char **out)
{
    *out = NULL;
    if (!take_text(r, name, out)) return false;
    if (*out) return true;
    answer_error(r, 400, "missing_value", name, say(&r->words, "%s is missing", "缺少 %s"), name);
    return false;
}

bool is_name(const char *text)
{
    size_t length = strlen(text), characters = 0;
    if (length == 0 || length > 200 || *text == '.' || strstr(text, ".tmp-"))
        return false; // .tmp-: what is being written
    for (size_t at = 0; at < length; characters++) {
        utf8proc_int32_t letter;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(length - at),
                                                 &letter);
        if (step <= 0) return false;
        utf8proc_category_t kind = utf8proc_category(letter);
        bool letter_like = (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_MC) ||
                           kind == UTF8PROC_CATEGORY_ND;
        if (!letter_like && letter != '-' && letter != '_' && letter != '.') return false;
        at += (size_t)step;
    }
    return characters <= 64;
}

bool is_text(const char *text, size_t most)
{
    size_t length = strlen(text);
    if (length == 0 || length > most) return false;
    for (size_t at = 0; at < length;) {
        utf8proc_int32_t letter;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(length - at),
                                                 &letter);
        if (step <= 0 || utf8proc_category(letter) == UTF8PROC_CATEGORY_CC) return false;
        at += (size_t)step;
    }
    return true;
}

bool take_name(request *r, const char *name, const char **out)
{
    if (!need_text(r, name, out)) return false;
    if (is_name(*out)) return true;
    answer_error(r, 400, "invalid_name", name,
                 say(&r->words, "%s: a name has 1 to 64 letters, digits, '-', '_' or '.', and does not begin with '.'",
                     "%s：名称由 1 到 64 个文字、数字、“-”、“_”或“.”组成，且不能以“.”开头"),
                 name);
    return false;
}
