/* executed.h - the answers of the last requests, by who asked and under which key.
 *
 * Purpose    A request that arrives twice is executed once: the second gets the first's answer.
 *            So queryd's request ids, and the idempotency keys of a store's clients.
 * Invariant  The last n_slots successful requests are remembered, of one scope no more than
 *            n_per_scope, and every running one. A refused request is forgotten: it changed
 *            nothing, it may be tried again. Answers take max_bytes together; past that the oldest
 *            ones are cut down to their brief form, and that they were executed is still known.
 * Ownership  executed_new() gives *out, executed_free() takes it. Nothing survives the process.
 * Threads    All calls from any thread but executed_free().
 * Errors     TS_E_NOMEM from executed_new().
 */
#ifndef INGESTD_EXECUTED_H
#define INGESTD_EXECUTED_H

#include "common/error.h"
#include "common/json.h" /* struct ts_span */
#include "common/text.h"

#include <stdint.h>

#define EXECUTED_BRIEF_BYTES 128 /* with its NUL */

/* EXECUTED_OTHER: the key was used for another request. */
enum executed_state { EXECUTED_NEW, EXECUTED_RUNNING, EXECUTED_DONE, EXECUTED_OTHER };

struct executed_id {
    uint64_t scope;
    uint64_t key;         /* within the scope; 0: this request is not remembered */
    uint64_t fingerprint; /* of what is asked for */
};

struct executed;

enum ts_err executed_new(unsigned n_slots, unsigned n_per_scope, size_t max_bytes,
                         struct executed **out) TS_MUST_USE;
void executed_free(struct executed *executed);

/* EXECUTED_NEW: the caller executes it, then says executed_finish(). EXECUTED_RUNNING: somebody
 * is at it. EXECUTED_DONE: *out_status and *body are its answer. */
enum executed_state executed_begin(struct executed *executed, const struct executed_id *id,
                                   uint16_t *out_status, struct ts_text *body);

/* `body` is what was answered, and NULL if memory ran out over it. `brief` is what is answered once
 * the body was given up; NULL: that it is not known any more. */
void executed_finish(struct executed *executed, const struct executed_id *id, uint16_t http_status,
                     struct ts_span body, const char *brief);

/* Forgets what a scope did, but for what is running. */
void executed_forget(struct executed *executed, uint64_t scope);

#endif
