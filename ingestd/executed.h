/* executed.h - the answers of the last requests, by request id.
 *
 * Purpose    A request that arrives twice is executed once: the second gets the first's answer.
 * Invariant  The last EXECUTED_SLOTS successful requests are remembered, and every running one.
 *            A refused request is forgotten: it changed nothing, it may be tried again.
 * Threads    All calls from any thread.
 * Errors     None.
 */
#ifndef INGESTD_EXECUTED_H
#define INGESTD_EXECUTED_H

#include "common/text.h"

#include <pthread.h>
#include <stdint.h>

#define EXECUTED_SLOTS 512u
#define EXECUTED_BODY_BYTES 320u /* fits every answer to a success */

enum executed_state { EXECUTED_NEW, EXECUTED_RUNNING, EXECUTED_DONE };

struct executed {
    pthread_mutex_t lock; /* guards all */
    struct executed_slot {
        uint64_t request_id; /* 0: free */
        enum executed_state state;
        uint16_t http_status;
        uint16_t body_bytes;
        char body[EXECUTED_BODY_BYTES];
    } slots[EXECUTED_SLOTS];
    unsigned next; /* the slot to be given to the next request */
};

void executed_init(struct executed *executed);
void executed_done(struct executed *executed);

/* EXECUTED_NEW: the caller executes it, then says executed_finish(). EXECUTED_RUNNING: somebody
 * is at it. EXECUTED_DONE: *out_status and *body are its answer. An id of 0 is always new. */
enum executed_state executed_begin(struct executed *executed, uint64_t request_id,
                                   uint16_t *out_status, struct ts_text *body);

void executed_finish(struct executed *executed, uint64_t request_id, uint16_t http_status,
                     const struct ts_text *body);

#endif
