// From an address to its handler: the path cut into names and numbers, and the values behind its question mark.
#include "http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

// Undoes %XX in place; false where it is malformed or makes a NUL.
static bool decode(char *text)
{
    char *out = text;
    for (; *text; text++, out++) {
        if (*text != '%') {
            *out = *text;
            continue;
        }
        int high = hex(text[1]), low = high >= 0 ? hex(text[2]) : -1;
        if (low < 0 || high * 16 + low == 0) return false;
        *out = (char)(high * 16 + low);
        text += 2;
    }
    *out = '\0';
    return true;
}

// Cuts the path at its slashes; returns the number of parts, or -1 when it is malformed.
static int cut_path(char *path, char *parts[], int most)
{
    int count = 0;
    if (*path != '/') return -1;
    for (char *at = path; at; count++) {
        char *end = strchr(at + 1, '/');
        if (count == most) return -1;
        parts[count] = at + 1;
        if (end) *end = '\0';
        at = end;
    }
    for (int i = 0; i < count; i++)
        if (!decode(parts[i])) return -1;
    return count;
}

static bool part_matches(const char *pattern, size_t length, const char *part)
{
    if (length == 1 && strchr("*~#", *pattern)) return *part != '\0';
    return strlen(part) == length && memcmp(part, pattern, length) == 0;
}

static bool path_matches(const char *pattern, char *parts[], int count)
{
    for (int i = 0; i < count; i++) {
        size_t length = strcspn(pattern, "/");
        if (!part_matches(pattern, length, parts[i])) return false;
        pattern += length;
        if (*pattern == '/') pattern++;
        else if (i + 1 < count) return false;
    }
    return *pattern == '\0';
}

// The names and numbers of the path; answers 400 for one that is none.
static void take_parts(request *r, char *parts[], int count)
{
    const char *pattern = r->route->path;
    size_t names = 0, numbers = 0;
    for (int i = 0; i < count && !r->answered; i++) {
        size_t length = strcspn(pattern, "/");
        if (*pattern == '*' || *pattern == '~') {
            r->names[names++] = parts[i];
            if (!(*pattern == '*' ? is_name(parts[i]) : is_text(parts[i], 256)))
                answer_error(r, 400, "invalid_name", NULL, "%s", say(&r->words,
                    "a name has 1 to 64 letters, digits, '-', '_' or '.', and does not begin with '.'",
                    "名称由 1 到 64 个文字、数字、“-”、“_”或“.”组成，且不能以“.”开头"));
        } else if (*pattern == '#') {
            char *end;
            errno = 0;
            long long value = strtoll(parts[i], &end, 10);
            if (*end || end == parts[i] || errno || value < 0 || value > INT32_MAX)
                answer_error(r, 400, "invalid_number", NULL, say(&r->words, "%.40s is no row number", "%.40s 不是行号"),
                             parts[i]);
            else r->numbers[numbers++] = value;
        }
        pattern += length;
        if (*pattern == '/') pattern++;
    }
}

void find_route(request *r, const route *table, const char *method)
{
    char *parts[8], allowed[128] = "";
    int count = r->path ? cut_path(r->path, parts, 8) : -1;
    if (strcmp(method, "HEAD") == 0) method = "GET";
    for (const route *at = table; count > 0 && at->path; at++) {
        if (!path_matches(at->path, parts, count)) continue;
        if (strcmp(at->method, method) == 0) {
            r->route = at;
            take_parts(r, parts, count);
            return;
        }
        size_t length = strlen(allowed);
        if (!strstr(allowed, at->method))
            snprintf(allowed + length, sizeof allowed - length, "%s%s", length ? ", " : "", at->method);
    }
    if (*allowed) {
        answer_error(r, 405, "method_not_allowed", NULL,
                     say(&r->words, "%.20s is not done here; this address takes %s", "此地址不支持 %.20s，只支持 %s"),
                     method, allowed);
        MHD_add_response_header(r->response, "Allow", allowed);
    } else {
        answer_error(r, 404, "not_found", NULL, "%s", say(&r->words, "there is nothing at this address", "此地址没有内容"));
    }
}

const char *query(const request *r, const char *name)
{
    char *value = (char *)(uintptr_t)MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
    if (value && strchr(value, '%') && !decode(value)) return "";
    return value;
}

bool query_integer(request *r, const char *name, int64_t least, int64_t most, int64_t *value)
{
    const char *text = query(r, name);
    char *end;
    if (!text) return true;
    errno = 0;
    long long found = strtoll(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && found >= least && found <= most) return *value = found, true;
    answer_error(r, 400, "invalid_value", name,
                 say(&r->words, "%s: a number from %lld to %lld is expected", "%s：应为 %lld 到 %lld 之间的整数"), name,
                 (long long)least, (long long)most);
    return false;
}
