#include "scheduler.h"

#include "decode.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>

#define SLOW_SECONDS 15 // a reader that takes nothing for so long is dropped
#define PREFIX_PART 4   // of the memory for caches: what conversations kept for later may take, if no answer needs it

struct ticket {
    scheduler *scheduler;
    pthread_cond_t ready;
    size_t count, left; // answers, and those that the scheduler still has
    bool abandoned;
    char failure[512];
    held_adapter *adapters[MOST_ADAPTERS];
    size_t adapter_count;
    size_t turn;
    answer *answers;
};

struct scheduler {
    server *server;
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_t thread;
    answer *queue, *active; // linked lists, in the order of their coming
    size_t queued, running;
    uint64_t cache_used, cache_limit;
    decoder *decoder;
    prefixes *prefixes;
    bool draining, stopping;
};

// ---- lists ---------------------------------------------------------------------------------------------------------

static void append(answer **list, answer *a)
{
    while (*list) list = &(*list)->next;
    *list = a;
    a->next = NULL;
}

static void unlink_answer(answer **list, answer *a)
{
    while (*list != a) list = &(*list)->next;
    *list = a->next;
}

// ---- the scheduler's side; all with the lock held, but for decoding itself -----------------------------------------

static void destroy_ticket(ticket *t)
{
    for (size_t i = 0; i < t->count; i++) answer_clear(&t->answers[i]);
    for (size_t i = 0; i < t->adapter_count; i++) shelf_give_back(t->adapters[i]);
    pthread_cond_destroy(&t->ready);
    free(t->answers);
    free(t);
}

static void let_go(scheduler *s, answer *a)
{
    ticket *t = a->ticket;
    (void)s;
    a->ended = true;
    t->left--;
    if (t->abandoned && t->left == 0) destroy_ticket(t);
    else pthread_cond_broadcast(&t->ready);
}

static void end_active(scheduler *s, answer *a)
{
    unlink_answer(&s->active, a);
    s->running--;
    s->cache_used -= a->cache_bytes;
    answer_close(a);
    let_go(s, a);
}

static void fail(answer *a, const char *message)
{
    if (!*a->ticket->failure) snprintf(a->ticket->failure, sizeof a->ticket->failure, "%s", message);
}

// Answers whose reader has left, or takes nothing.
static void drop_unwanted(scheduler *s)
{
    for (answer *a = s->queue, *next; a; a = next) {
        next = a->next;
        if (!a->ticket->abandoned && !s->stopping) continue;
        unlink_answer(&s->queue, a);
        s->queued--;
        fail(a, "the server is stopping");
        let_go(s, a);
    }
    for (answer *a = s->active, *next; a; a = next) {
        next = a->next;
        bool slow = a->full_since > 0 && now() - a->full_since > SLOW_SECONDS;
        if (slow) fail(a, "the answer was not read in time");
        if (s->stopping) fail(a, "the server is stopping");
        if (a->ticket->abandoned || slow || s->stopping) end_active(s, a);
    }
}

// What is kept for later gives way to answers.
static void fit_prefixes(scheduler *s)
{
    prefixes_shrink(s->prefixes, s->cache_limit > s->cache_used ? s->cache_limit - s->cache_used : 0);
}

static void admit(scheduler *s)
{
    size_t limit = (size_t)s->server->settings->clients;
    while (s->queue && s->running < limit &&
           (s->running == 0 || s->cache_used + s->queue->cache_bytes <= s->cache_limit)) {
        answer *a = s->queue;
        s->queue = a->next;
        s->queued--;
        s->running++;
        s->cache_used += a->cache_bytes;
        fit_prefixes(s);
        lora_status status = answer_open(a, s->server->model, s->prefixes);
        append(&s->active, a);
        if (status == LORA_OK) continue;
        fail(a, lora_error_message());
        end_active(s, a);
    }
}

// What a round of decoding brought; the lock is held again.
static void take_results(scheduler *s)
{
    for (answer *a = s->active, *next; a; a = next) {
        next = a->next;
        if (!a->chosen) continue;
        a->chosen = false;
        if (a->status == LORA_ERROR_CANCELLED) fail(a, "the answer was cancelled");
        else if (a->status != LORA_OK) fail(a, a->message);
        if (a->has_piece) {
            a->pieces[(a->first + a->waiting++) % PIECE_QUEUE] = a->fresh;
            a->has_piece = false;
            pthread_cond_broadcast(&a->ticket->ready);
        }
        if (a->status == LORA_OK && a->finished) answer_keep(a, s->prefixes);
        if (a->status != LORA_OK || a->finished) end_active(s, a);
    }
    fit_prefixes(s);
}

// Chooses who takes part in the next round: who has room for what it writes.
static size_t choose(scheduler *s)
{
    size_t count = 0;
    for (answer *a = s->active; a; a = a->next) {
        bool full = a->waiting == PIECE_QUEUE;
        a->full_since = !full ? 0 : a->full_since > 0 ? a->full_since : now();
        a->chosen = !full;
        count += !full;
    }
    return count;
}

static void rest(scheduler *s, bool idle)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 50000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    if (idle) pthread_cond_wait(&s->work, &s->lock);
    else pthread_cond_timedwait(&s->work, &s->lock, &until);
}

// The caches of answers that are over go back to the system.
static void give_memory_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

static void *run(void *argument)
{
    scheduler *s = argument;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        drop_unwanted(s);
        admit(s);
        if (s->stopping && !s->active && !s->queue) break;
        if (choose(s) == 0) {
            if (!s->active && !s->queue) give_memory_back();
            rest(s, !s->active && !s->queue);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        decode_round(s->decoder, s->active);
        pthread_mutex_lock(&s->lock);
        take_results(s);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

// ---- the readers' side ---------------------------------------------------------------------------------------------

static uint64_t session_bytes(const server *s, const lora_session_options *options)
{
    lora_memory_plan plan = {.struct_size = sizeof plan};
    return lora_plan_session(s->model, options, &plan) == LORA_OK ? plan.kv_cache + plan.workspace : 0;
}

static bool fill_ticket(ticket *t, const ticket_spec *spec, const server *s)
{
    t->answers = calloc(spec->count, sizeof *t->answers);
    t->adapter_count = 0;
    for (size_t i = 0; t->answers && i < spec->count; i++, t->count++) {
        answer *a = &t->answers[i];
        a->ticket = t;
        lora_session_options_init(&a->session_options);
        a->session_options.context_length = (int64_t)spec->answers[i].count + spec->options.max_new_tokens;
        a->session_options.prefill_batch = 8; // for adapters that cannot run beside others; the rest is in the batch
        a->session_options.cache_type = s->settings->cache_type;
        a->cache_bytes = session_bytes(s, &a->session_options);
        if (!answer_fill(a, spec, &spec->answers[i])) return false;
    }
    return t->answers != NULL;
}

ticket_result ticket_make(scheduler *s, const ticket_spec *spec, ticket **out)
{
    ticket *t = calloc(1, sizeof *t);
    if (!t) return TICKET_FAILED;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&t->ready, &attributes);
    pthread_condattr_destroy(&attributes);
    t->scheduler = s;
    ticket_result result = fill_ticket(t, spec, s->server) ? TICKET_TAKEN : TICKET_FAILED;
    for (size_t i = 0; result == TICKET_TAKEN && i < t->count; i++)
        if (t->answers[i].cache_bytes > s->cache_limit) result = TICKET_TOO_LARGE;
    pthread_mutex_lock(&s->lock);
    size_t free_places = (size_t)s->server->settings->clients - (s->running < (size_t)s->server->settings->clients
                                                                     ? s->running
                                                                     : (size_t)s->server->settings->clients);
    size_t room = free_places + (size_t)s->server->settings->queue;
    if (result == TICKET_TAKEN && (s->queued + t->count > room || s->draining)) result = TICKET_FULL;
    if (result == TICKET_TAKEN) {
        for (size_t i = 0; i < t->count; i++) append(&s->queue, &t->answers[i]);
        s->queued += t->count;
        t->left = t->count;
        memcpy(t->adapters, spec->adapters, sizeof t->adapters);
        t->adapter_count = spec->adapter_count;
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    if (result == TICKET_TAKEN) *out = t;
    else destroy_ticket(t);
    return result;
}

void ticket_free(ticket *t)
{
    if (!t) return;
    scheduler *s = t->scheduler;
    pthread_mutex_lock(&s->lock);
    t->abandoned = true;
    for (size_t i = 0; i < t->count; i++)
        if (!t->answers[i].ended && t->answers[i].session) lora_session_cancel(t->answers[i].session);
    if (t->left == 0) destroy_ticket(t);
    else pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

static bool take_piece(ticket *t, size_t *index, piece *out)
{
    for (size_t i = 0; i < t->count; i++) {
        size_t at = (t->turn + i) % t->count;
        answer *a = &t->answers[at];
        if (a->waiting == 0) continue;
        *index = at;
        *out = a->pieces[a->first];
        a->first = (a->first + 1) % PIECE_QUEUE;
        if (a->waiting-- == PIECE_QUEUE) pthread_cond_signal(&t->scheduler->work);
        t->turn = at + 1;
        return true;
    }
    return false;
}

ticket_state ticket_next(ticket *t, double seconds, size_t *index, piece *out, const char **message)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    ticket_state state = PIECE_LATER;
    pthread_mutex_lock(&t->scheduler->lock);
    for (bool late = false;;) {
        if (take_piece(t, index, out)) state = PIECE_READY;
        else if (*t->failure) state = PIECE_FAILED, *message = t->failure;
        else if (t->left == 0) state = PIECE_NONE;
        if (state != PIECE_LATER || late) break;
        late = pthread_cond_timedwait(&t->ready, &t->scheduler->lock, &until) == ETIMEDOUT;
    }
    pthread_mutex_unlock(&t->scheduler->lock);
    return state;
}

json_t *scheduler_load(scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    json_t *load = json_pack("{sI sI sI}", "active", (json_int_t)s->running, "queued", (json_int_t)s->queued, "limit",
                             (json_int_t)s->server->settings->clients);
    pthread_mutex_unlock(&s->lock);
    return load;
}

// ---- life ----------------------------------------------------------------------------------------------------------

scheduler *scheduler_start(server *server_)
{
    scheduler *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    int64_t available = available_memory();
    s->server = server_;
    s->cache_limit = server_->settings->cache_memory ? server_->settings->cache_memory
                     : available                     ? (uint64_t)available / 2
                                                     : (uint64_t)4 << 30;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    s->decoder = decoder_create(server_->model, (size_t)server_->settings->clients);
    s->prefixes = prefixes_create(s->cache_limit / PREFIX_PART);
    if (s->decoder && s->prefixes && pthread_create(&s->thread, NULL, run, s) == 0) return s;
    prefixes_free(s->prefixes);
    decoder_free(s->decoder);
    free(s);
    return NULL;
}

void scheduler_stop(scheduler *s, double grace)
{
    double end = now() + grace;
    pthread_mutex_lock(&s->lock);
    s->draining = true;
    while ((s->active || s->queue) && now() < end) rest(s, false);
    s->stopping = true;
    for (answer *a = s->active; a; a = a->next)
        if (a->session) lora_session_cancel(a->session);
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
}

void scheduler_free(scheduler *s)
{
    if (!s) return;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    prefixes_free(s->prefixes);
    decoder_free(s->decoder);
    free(s);
}
