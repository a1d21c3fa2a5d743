/* executed.c - see executed.h.
 *
 * Slots are looked through one by one. What is compared is kept apart from the answers, so that a
 * look at 512 slots is one at some kilobytes in a row. */
#include "ingestd/executed.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    uint64_t fingerprint;
    uint16_t http_status;
    size_t body_bytes;
    char *body; /* owned; NULL: given up */
    char brief[EXECUTED_BRIEF_BYTES];
};

struct executed {
    unsigned n_slots, n_per_scope;
    size_t max_bytes;
    pthread_mutex_t lock; /* guards all below */
    uint64_t *keys;       /* owned; 0: free */
    uint64_t *scopes;     /* owned */
    uint64_t *serials;    /* owned; the order in which slots were taken */
    bool *is_running;     /* owned */
    struct slot *slots;   /* owned */
    uint64_t next_serial;
    size_t total_bytes; /* of all bodies */
};

enum ts_err
executed_new(unsigned n_slots, unsigned n_per_scope, size_t max_bytes, struct executed **out)
{
    struct executed *executed = calloc(1, sizeof *executed);

    if (executed == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    pthread_mutex_init(&executed->lock, NULL);
    executed->n_slots = n_slots;
    executed->n_per_scope = n_per_scope;
    executed->max_bytes = max_bytes;
    executed->keys = calloc(n_slots, sizeof *executed->keys);
    executed->scopes = calloc(n_slots, sizeof *executed->scopes);
    executed->serials = calloc(n_slots, sizeof *executed->serials);
    executed->is_running = calloc(n_slots, sizeof *executed->is_running);
    executed->slots = calloc(n_slots, sizeof *executed->slots);
    if (executed->keys == NULL || executed->scopes == NULL || executed->serials == NULL ||
        executed->is_running == NULL || executed->slots == NULL) {
        executed_free(executed);
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    }
    *out = executed;
    return TS_OK;
}

/* The lock is held, here and below. */
static void
give_up_body(struct executed *executed, unsigned i)
{
    struct slot *const slot = &executed->slots[i];

    if (slot->body == NULL)
        return;
    explicit_bzero(slot->body, slot->body_bytes); /* it may hold a new key */
    free(slot->body);
    executed->total_bytes -= slot->body_bytes;
    slot->body = NULL;
    slot->body_bytes = 0;
}

static void
make_free(struct executed *executed, unsigned i)
{
    give_up_body(executed, i);
    executed->keys[i] = 0;
    executed->is_running[i] = false;
}

void
executed_free(struct executed *executed)
{
    if (executed == NULL)
        return;
    for (unsigned i = 0; executed->slots != NULL && i < executed->n_slots; i++)
        give_up_body(executed, i);
    free(executed->keys);
    free(executed->scopes);
    free(executed->serials);
    free(executed->is_running);
    free(executed->slots);
    pthread_mutex_destroy(&executed->lock);
    free(executed);
}

/* n_slots if there is none. */
static unsigned
find(const struct executed *executed, const struct executed_id *id)
{
    for (unsigned i = 0; i < executed->n_slots; i++) {
        if (executed->keys[i] == id->key && executed->scopes[i] == id->scope)
            return i;
    }
    return executed->n_slots;
}

/* A slot for a request of `scope`: a free one, or the oldest that is not running. n_slots if there
 * is none; there are far fewer threads than slots. */
static unsigned
choose(const struct executed *executed, uint64_t scope)
{
    unsigned of_scope = executed->n_slots, oldest = executed->n_slots, n = 0;

    for (unsigned i = 0; i < executed->n_slots; i++) {
        const bool is_free = executed->keys[i] == 0;

        if (!is_free && executed->scopes[i] == scope)
            n++;
        if (executed->is_running[i])
            continue;
        if (!is_free && executed->scopes[i] == scope &&
            (of_scope == executed->n_slots || executed->serials[i] < executed->serials[of_scope]))
            of_scope = i;
        if (oldest == executed->n_slots ||
            (executed->keys[oldest] != 0 &&
             (is_free || executed->serials[i] < executed->serials[oldest])))
            oldest = i;
    }
    return n >= executed->n_per_scope && of_scope < executed->n_slots ? of_scope : oldest;
}

static void
begin_in(struct executed *executed, unsigned i, const struct executed_id *id)
{
    make_free(executed, i);
    explicit_bzero(executed->slots[i].brief, sizeof executed->slots[i].brief);
    executed->keys[i] = id->key;
    executed->scopes[i] = id->scope;
    executed->serials[i] = executed->next_serial++;
    executed->slots[i].fingerprint = id->fingerprint;
    executed->is_running[i] = true;
}

static void
repeat(const struct slot *slot, uint16_t *out_status, struct ts_text *body)
{
    *out_status = slot->http_status;
    if (slot->body != NULL) {
        ts_text_add(body, slot->body, slot->body_bytes);
    } else if (slot->brief[0] != '\0') {
        ts_text_puts(body, slot->brief);
    } else {
        *out_status = (uint16_t)ts_error_http_status(TS_E_TIMEOUT);
        ts_text_puts(body, "{\"error\":\"this request was carried out before; its answer is not "
                           "known any more\",\"code\":\"timeout\"}");
    }
}

enum executed_state
executed_begin(struct executed *executed, const struct executed_id *id, uint16_t *out_status,
               struct ts_text *body)
{
    enum executed_state state = EXECUTED_NEW;
    unsigned i;

    if (id->key == 0)
        return EXECUTED_NEW;
    pthread_mutex_lock(&executed->lock);
    i = find(executed, id);
    if (i < executed->n_slots) {
        if (executed->slots[i].fingerprint != id->fingerprint)
            state = EXECUTED_OTHER;
        else
            state = executed->is_running[i] ? EXECUTED_RUNNING : EXECUTED_DONE;
        if (state == EXECUTED_DONE)
            repeat(&executed->slots[i], out_status, body);
    } else {
        i = choose(executed, id->scope);
        if (i < executed->n_slots)
            begin_in(executed, i, id);
    }
    pthread_mutex_unlock(&executed->lock);
    return state;
}

/* Keeps a copy of the body, and gives up older ones if all are too much. */
static void
keep_body(struct executed *executed, unsigned i, struct ts_span body)
{
    struct slot *const slot = &executed->slots[i];

    slot->body = body.bytes <= executed->max_bytes ? malloc(body.bytes + 1) : NULL;
    if (slot->body == NULL)
        return;
    memcpy(slot->body, body.at, body.bytes);
    slot->body_bytes = body.bytes;
    executed->total_bytes += body.bytes;
    while (executed->total_bytes > executed->max_bytes) {
        unsigned oldest = executed->n_slots;

        for (unsigned j = 0; j < executed->n_slots; j++) {
            if (j != i && executed->slots[j].body_bytes > 0 &&
                (oldest == executed->n_slots || executed->serials[j] < executed->serials[oldest]))
                oldest = j;
        }
        if (oldest == executed->n_slots)
            break;
        give_up_body(executed, oldest);
    }
}

void
executed_finish(struct executed *executed, const struct executed_id *id, uint16_t http_status,
                struct ts_span body, const char *brief)
{
    unsigned i;

    if (id->key == 0)
        return;
    pthread_mutex_lock(&executed->lock);
    i = find(executed, id);
    if (i < executed->n_slots && http_status >= 300) {
        make_free(executed, i);
    } else if (i < executed->n_slots) {
        struct slot *const slot = &executed->slots[i];

        executed->is_running[i] = false;
        slot->http_status = http_status;
        /* A short answer is its own brief form. */
        if (brief == NULL && body.at != NULL && body.bytes < sizeof slot->brief)
            snprintf(slot->brief, sizeof slot->brief, "%.*s", (int)body.bytes, body.at);
        else
            snprintf(slot->brief, sizeof slot->brief, "%s", brief != NULL ? brief : "");
        if (body.bytes >= sizeof slot->brief)
            keep_body(executed, i, body);
    }
    pthread_mutex_unlock(&executed->lock);
}

void
executed_forget(struct executed *executed, uint64_t scope)
{
    pthread_mutex_lock(&executed->lock);
    for (unsigned i = 0; i < executed->n_slots; i++) {
        if (executed->keys[i] != 0 && executed->scopes[i] == scope && !executed->is_running[i])
            make_free(executed, i);
    }
    pthread_mutex_unlock(&executed->lock);
}
