/* executed.c - see executed.h.
 *
 * A slot is found by its key's chain; those taken stand in a list in the order in which they were,
 * so that the oldest is at its front. */
#include "ingestd/executed.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

LIST_HEAD(chain, slot);
TAILQ_HEAD(order, slot);

struct slot {
    TAILQ_ENTRY(slot) place; /* of the taken, or of the free ones */
    LIST_ENTRY(slot) chain;  /* if it is taken */
    struct executed_id id;
    bool is_running;
    uint16_t http_status;
    size_t body_bytes;
    char *body; /* owned; NULL: given up */
    char brief[EXECUTED_BRIEF_BYTES];
};

struct executed {
    unsigned n_slots, n_per_scope;
    size_t max_bytes;
    pthread_mutex_t lock;       /* guards all below */
    struct slot *slots;         /* owned */
    struct chain *chains;       /* owned; as many as slots */
    struct order taken, unused; /* taken: the oldest first */
    size_t total_bytes;         /* of all bodies */
};

enum ts_err
executed_new(unsigned n_slots, unsigned n_per_scope, size_t max_bytes, struct executed **out)
{
    struct executed *executed = calloc(1, sizeof *executed);

    if (executed == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    pthread_mutex_init(&executed->lock, NULL);
    TAILQ_INIT(&executed->taken);
    TAILQ_INIT(&executed->unused);
    executed->n_slots = n_slots;
    executed->n_per_scope = n_per_scope;
    executed->max_bytes = max_bytes;
    executed->slots = calloc(n_slots, sizeof *executed->slots);
    executed->chains = calloc(n_slots, sizeof *executed->chains);
    if (executed->slots == NULL || executed->chains == NULL) {
        executed_free(executed);
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    }
    for (unsigned i = 0; i < n_slots; i++)
        TAILQ_INSERT_TAIL(&executed->unused, &executed->slots[i], place);
    *out = executed;
    return TS_OK;
}

/* The lock is held, here and below. */
static void
give_up_body(struct executed *executed, struct slot *slot)
{
    if (slot->body == NULL)
        return;
    explicit_bzero(slot->body, slot->body_bytes); /* it may hold a new key */
    free(slot->body);
    executed->total_bytes -= slot->body_bytes;
    slot->body = NULL;
    slot->body_bytes = 0;
}

static void
make_free(struct executed *executed, struct slot *slot)
{
    give_up_body(executed, slot);
    LIST_REMOVE(slot, chain);
    TAILQ_REMOVE(&executed->taken, slot, place);
    TAILQ_INSERT_HEAD(&executed->unused, slot, place);
}

void
executed_free(struct executed *executed)
{
    if (executed == NULL)
        return;
    for (unsigned i = 0; executed->slots != NULL && i < executed->n_slots; i++)
        give_up_body(executed, &executed->slots[i]);
    free(executed->slots);
    free(executed->chains);
    pthread_mutex_destroy(&executed->lock);
    free(executed);
}

/* Keys are checksums, or follow each other: their low bits tell them apart. */
static struct chain *
chain_of(const struct executed *executed, uint64_t key)
{
    return &executed->chains[key % executed->n_slots];
}

/* NULL if there is none. */
static struct slot *
find(const struct executed *executed, const struct executed_id *id)
{
    struct slot *slot;

    LIST_FOREACH(slot, chain_of(executed, id->key), chain)
    {
        if (slot->id.key == id->key && slot->id.scope == id->scope)
            break;
    }
    return slot;
}

/* The oldest taken slot that is not running, of this scope alone if `scope` is not NULL; *out_n is
 * how many the scope has. */
static struct slot *
oldest(const struct executed *executed, const uint64_t *scope, unsigned *out_n)
{
    struct slot *slot, *found = NULL;

    *out_n = 0;
    TAILQ_FOREACH(slot, &executed->taken, place)
    {
        if (scope != NULL && slot->id.scope != *scope)
            continue;
        ++*out_n;
        if (found == NULL && !slot->is_running)
            found = slot;
        if (found != NULL && scope == NULL)
            break;
    }
    return found;
}

/* A slot for a request of `scope`, free or made free: the scope's oldest if it has too many, else
 * any that is free, else the oldest of all. NULL if all are running; there are far fewer threads
 * than slots. */
static struct slot *
choose(struct executed *executed, uint64_t scope)
{
    struct slot *slot = NULL;
    unsigned n = 0;

    /* A limit that none can pass needs no count. */
    if (executed->n_per_scope < executed->n_slots)
        slot = oldest(executed, &scope, &n);
    if (n < executed->n_per_scope || slot == NULL) {
        if (!TAILQ_EMPTY(&executed->unused))
            return TAILQ_FIRST(&executed->unused);
        slot = oldest(executed, NULL, &n);
    }
    if (slot != NULL)
        make_free(executed, slot);
    return slot;
}

static void
begin_in(struct executed *executed, struct slot *slot, const struct executed_id *id)
{
    TAILQ_REMOVE(&executed->unused, slot, place);
    TAILQ_INSERT_TAIL(&executed->taken, slot, place);
    LIST_INSERT_HEAD(chain_of(executed, id->key), slot, chain);
    explicit_bzero(slot->brief, sizeof slot->brief);
    slot->id = *id;
    slot->is_running = true;
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
    struct slot *slot;

    if (id->key == 0)
        return EXECUTED_NEW;
    pthread_mutex_lock(&executed->lock);
    slot = find(executed, id);
    if (slot != NULL) {
        if (slot->id.fingerprint != id->fingerprint)
            state = EXECUTED_OTHER;
        else
            state = slot->is_running ? EXECUTED_RUNNING : EXECUTED_DONE;
        if (state == EXECUTED_DONE)
            repeat(slot, out_status, body);
    } else {
        slot = choose(executed, id->scope);
        if (slot != NULL)
            begin_in(executed, slot, id);
    }
    pthread_mutex_unlock(&executed->lock);
    return state;
}

/* Keeps a copy of the body, and gives up older ones if all are too much. */
static void
keep_body(struct executed *executed, struct slot *slot, struct ts_span body)
{
    struct slot *older;

    slot->body = body.bytes <= executed->max_bytes ? malloc(body.bytes + 1) : NULL;
    if (slot->body == NULL)
        return;
    memcpy(slot->body, body.at, body.bytes);
    slot->body_bytes = body.bytes;
    executed->total_bytes += body.bytes;
    TAILQ_FOREACH(older, &executed->taken, place)
    {
        if (executed->total_bytes <= executed->max_bytes)
            break;
        if (older != slot)
            give_up_body(executed, older);
    }
}

static void
keep_brief(struct slot *slot, const char *at, size_t bytes)
{
    if (bytes >= sizeof slot->brief)
        bytes = 0;
    memcpy(slot->brief, at, bytes);
    slot->brief[bytes] = '\0';
}

void
executed_finish(struct executed *executed, const struct executed_id *id, uint16_t http_status,
                struct ts_span body, const char *brief)
{
    struct slot *slot;

    if (id->key == 0)
        return;
    pthread_mutex_lock(&executed->lock);
    slot = find(executed, id);
    if (slot != NULL && http_status >= 300) {
        make_free(executed, slot);
    } else if (slot != NULL) {
        slot->is_running = false;
        slot->http_status = http_status;
        /* A short answer is its own brief form. */
        if (brief != NULL)
            keep_brief(slot, brief, strlen(brief));
        else if (body.at != NULL)
            keep_brief(slot, body.at, body.bytes);
        if (body.bytes >= sizeof slot->brief)
            keep_body(executed, slot, body);
    }
    pthread_mutex_unlock(&executed->lock);
}

void
executed_forget(struct executed *executed, uint64_t scope)
{
    struct slot *slot, *next;

    pthread_mutex_lock(&executed->lock);
    for (slot = TAILQ_FIRST(&executed->taken); slot != NULL; slot = next) {
        next = TAILQ_NEXT(slot, place);
        if (slot->id.scope == scope && !slot->is_running)
            make_free(executed, slot);
    }
    pthread_mutex_unlock(&executed->lock);
}
