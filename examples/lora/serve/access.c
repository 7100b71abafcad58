#include "access.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

bool draw_token(char *text, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    unsigned char bytes[64];
    if (length > sizeof bytes || getrandom(bytes, length, 0) != (ssize_t)length) return false;
    for (size_t i = 0; i < length; i++) text[i] = letters[bytes[i] % 64];
    text[length] = '\0';
    return true;
}

// The time tells nothing about where two texts differ.
static bool same_secret(const char *given, const char *secret)
{
    size_t length = strlen(secret);
    volatile unsigned char difference = strlen(given) != length;
    for (size_t i = 0; i < length; i++)
        difference |= (unsigned char)secret[i] ^ (unsigned char)(difference ? 0 : given[i]);
    return difference == 0;
}

bool is_loopback(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    if (strcasecmp(host, "localhost") == 0) return true;
    if (inet_pton(AF_INET, host, &four) == 1) return (ntohl(four.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

// The name of "name:port" or "[address]:port", without brackets and port.
static bool cut_host(const char *text, char *name, size_t capacity)
{
    bool bracket = *text == '[';
    if (bracket) text++;
    size_t length = strcspn(text, bracket ? "]" : ":");
    const char *port = text + length;
    if (bracket && *port++ != ']') return false;
    if (length == 0 || length >= capacity || (*port && *port != ':')) return false;
    if (*port && port[1 + strspn(port + 1, "0123456789")]) return false;
    memcpy(name, text, length);
    name[length] = '\0';
    return true;
}

static bool host_is_ours(const server *s, const char *text)
{
    char name[256], own[256];
    struct in6_addr address;
    if (!cut_host(text, name, sizeof name)) return false;
    if (is_loopback(name) || strcasecmp(name, s->settings->host) == 0) return true;
    for (size_t i = 0; i < s->settings->hosts.count; i++)
        if (strcasecmp(name, s->settings->hosts.items[i]) == 0) return true;
    if (!s->network) return false;
    if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1) return true;
    return gethostname(own, sizeof own) == 0 && strcasecmp(name, own) == 0;
}

// A page of this very server asks, or no page at all.
static bool origin_is_ours(const request *r, const char *host)
{
    const char *origin = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Origin");
    const char *site = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Sec-Fetch-Site");
    if (site && strcasecmp(site, "cross-site") == 0) return false;
    if (!origin) return true;
    if (strncasecmp(origin, "http://", 7) == 0) return strcasecmp(origin + 7, host) == 0;
    return strncasecmp(origin, "https://", 8) == 0 && strcasecmp(origin + 8, host) == 0; // behind a proxy
}

static bool has_token(const request *r)
{
    const char *given = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Authorization");
    if (!*r->server->token) return true;
    return given && strncasecmp(given, "Bearer ", 7) == 0 && same_secret(given + 7, r->server->token);
}

bool may_ask(request *r, const char *method)
{
    const char *host = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Host");
    bool interface = r->path && (strncmp(r->path, "/api", 4) == 0 || strncmp(r->path, "/v1", 3) == 0);
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (!host) {
        answer_error(r, 400, "no_host", NULL, "%s", say(&r->words, "the Host header is missing", "缺少 Host 头"));
    } else if (!host_is_ours(r->server, host)) {
        answer_error(r, 403, "wrong_host", NULL,
                     say(&r->words, "this server is not called %.100s; start it with --allow-host to let that name in",
                         "本服务器的名称不是 %.100s；如需允许，请用 --allow-host 启动"),
                     host);
    } else if ((interface || !reads) && !origin_is_ours(r, host)) {
        answer_error(r, 403, "wrong_origin", NULL, "%s",
                     say(&r->words, "a page of another site may not ask here", "不允许其他网站的页面访问"));
    } else if (interface && !has_token(r)) {
        answer_error(r, 401, "invalid_api_key", NULL, "%s",
                     say(&r->words,
                         "the token is missing or wrong: send Authorization: Bearer TOKEN, as lora serve printed it",
                         "令牌缺失或错误：请发送 Authorization: Bearer 令牌（lora serve 启动时显示）"));
        MHD_add_response_header(r->response, "WWW-Authenticate", "Bearer");
    }
    return !r->answered;
}
