/* batch_body.h - the records in the body of a batch, one after the other.
 *
 * Purpose    Take apart what POST …/data/batch carries: lines, or the items of a JSON array.
 * Invariant  batch_body_open() counts exactly what batch_body_next() gives, no more than
 *            BATCH_MAX_RECORDS. Items of an array are JSON; lines are any bytes. A line of nothing
 *            but blanks is none, a carriage return at its end does not count.
 * Ownership  Nothing is allocated; items are views into the body.
 * Threads    No state but the walk.
 * Errors     TS_E_JSON for a body without any record ("EOF") and for an array that is none,
 *            TS_E_LIMIT, TS_E_CONTENT.
 */
#ifndef INGESTD_BATCH_BODY_H
#define INGESTD_BATCH_BODY_H

#include "common/json_walk.h"
#include "common/tsstore.h"

/* As many answers as fit one reply, whatever the errors say. */
#define BATCH_MAX_RECORDS 65536u

enum batch_form { BATCH_LINES, BATCH_ARRAY };

struct batch_body {
    enum batch_form form;
    struct ts_span rest;      /* of lines */
    struct ts_json_walk walk; /* of an array */
};

/* What a store of this type takes, by content type: JSON and schema stores application/x-ndjson
 * (also application/ndjson and application/jsonl) and application/json, text stores text/plain. */
enum ts_err batch_body_form(struct ts_span content_type, enum ts_type type,
                            enum batch_form *out) TS_MUST_USE;

enum ts_err batch_body_open(struct ts_span body, enum batch_form form, struct batch_body *out,
                            size_t *out_n) TS_MUST_USE;

/* False at the end. */
bool batch_body_next(struct batch_body *body, struct ts_span *out);

#endif
