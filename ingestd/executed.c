/* executed.c - see executed.h. */
#include "ingestd/executed.h"

#include <stddef.h>
#include <string.h>

void
executed_init(struct executed *executed)
{
    memset(executed, 0, sizeof *executed);
    pthread_mutex_init(&executed->lock, NULL);
}

void
executed_done(struct executed *executed)
{
    pthread_mutex_destroy(&executed->lock);
    explicit_bzero(executed->slots, sizeof executed->slots); /* an answer may hold a new key */
}

/* The lock is held. */
static struct executed_slot *
find(struct executed *executed, uint64_t request_id)
{
    for (unsigned i = 0; i < EXECUTED_SLOTS; i++) {
        if (executed->slots[i].request_id == request_id)
            return &executed->slots[i];
    }
    return NULL;
}

/* The lock is held. The oldest slot that is not of a running request; there are far fewer threads
 * than slots. */
static struct executed_slot *
take(struct executed *executed)
{
    for (unsigned i = 0; i < EXECUTED_SLOTS; i++) {
        struct executed_slot *const slot = &executed->slots[executed->next];

        executed->next = (executed->next + 1) % EXECUTED_SLOTS;
        if (slot->request_id == 0 || slot->state != EXECUTED_RUNNING)
            return slot;
    }
    return NULL;
}

enum executed_state
executed_begin(struct executed *executed, uint64_t request_id, uint16_t *out_status,
               struct ts_text *body)
{
    enum executed_state state = EXECUTED_NEW;
    struct executed_slot *slot;

    if (request_id == 0)
        return EXECUTED_NEW;
    pthread_mutex_lock(&executed->lock);
    slot = find(executed, request_id);
    if (slot != NULL) {
        state = slot->state;
        if (state == EXECUTED_DONE) {
            *out_status = slot->http_status;
            ts_text_add(body, slot->body, slot->body_bytes);
        }
    } else {
        slot = take(executed);
        if (slot != NULL) {
            slot->request_id = request_id;
            slot->state = EXECUTED_RUNNING;
        }
    }
    pthread_mutex_unlock(&executed->lock);
    return state;
}

void
executed_finish(struct executed *executed, uint64_t request_id, uint16_t http_status,
                const struct ts_text *body)
{
    struct executed_slot *slot;

    if (request_id == 0)
        return;
    pthread_mutex_lock(&executed->lock);
    slot = find(executed, request_id);
    if (slot != NULL) {
        const bool is_kept = http_status < 300 && !body->failed && body->bytes <= sizeof slot->body;

        slot->request_id = is_kept ? request_id : 0;
        slot->state = EXECUTED_DONE;
        slot->http_status = http_status;
        slot->body_bytes = is_kept ? (uint16_t)body->bytes : 0;
        if (is_kept)
            memcpy(slot->body, body->at, body->bytes);
    }
    pthread_mutex_unlock(&executed->lock);
}
