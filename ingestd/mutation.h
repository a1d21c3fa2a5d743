/* mutation.h - what changes a store, executed: one place for HTTP and for queryd's requests.
 *
 * Purpose    Check the credential of a control_request, do it, and give the answer that the client
 *            is to get, status and body.
 * Invariant  The credential is checked here whoever brings the request. A request that is refused
 *            changed nothing.
 * Ownership  The answer's body is appended to the caller's text.
 * Threads    Any number at once.
 * Errors     All of them become an answer: {"error":"<text>","code":"<name>"}.
 */
#ifndef INGESTD_MUTATION_H
#define INGESTD_MUTATION_H

#include "ingestd/catalog.h"
#include "ingestd/executed.h"
#include "ingestd/settings.h"
#include "proto/control.h"

/* How many idempotency keys are remembered, of one store and in all, and the bytes of what was
 * answered to them. */
#define MUTATION_RESENDS_PER_STORE 64u
#define MUTATION_RESENDS 1024u
#define MUTATION_RESEND_BYTES ((size_t)32 << 20)

#define MUTATION_CONTENT_TYPE "application/json; charset=utf-8"

struct mutation {
    struct catalog *catalog;   /* borrowed */
    struct publish *publish;   /* borrowed; may be NULL */
    struct settings *settings; /* borrowed */
    struct executed *resends;  /* borrowed; NULL: idempotency keys mean nothing */
};

/* Executes any operation but CONTROL_HELLO; one that is not known is answered with 501. instance
 * and request_id are the caller's business. Returns the HTTP status. */
uint16_t mutation_execute(struct mutation *mutation, const struct control_request *request,
                          struct ts_text *body);

/* Whether mutation_execute() would get as far as its operation now. */
enum ts_err mutation_authorize(struct mutation *mutation,
                               const struct control_request *request) TS_MUST_USE;

/* Appends the body for `err` and the thread's text; returns the status. */
uint16_t mutation_error(enum ts_err err, struct ts_text *body);

/* The body of POST /api/stores: options that it does not name keep the value they have.
 * TS_E_JSON, TS_E_PARAM (a field of the wrong kind, the name missing), TS_E_TYPE, TS_E_CONFIG. */
enum ts_err mutation_parse_create(const char *body, size_t bytes,
                                  char out_name[TS_MAX_NAME_BYTES + 2], struct ts_options *options);

#endif
