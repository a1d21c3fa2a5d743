/* record.h - what is stored of what a client sent.
 *
 * Purpose    Take a record, with its time if it has one, out of a body, an item of a batch or a
 *            message, as the store's type and schema want it.
 * Invariant  A JSON value is stored with exactly the bytes that were sent. A schema record is
 *            stored with indices as keys, and only if all of its names are known.
 * Ownership  A record's bytes are a view into what was sent, or into the scratch, which moves as
 *            it grows: ask record_data() when all are taken. record_rules_done() gives the schema
 *            back.
 * Threads    Rules may be used by any number of threads at once; a scratch by one.
 * Errors     TS_E_JSON, TS_E_NO_DATA, TS_E_SCHEMA, TS_E_CONTENT with the contract's texts.
 */
#ifndef INGESTD_RECORD_H
#define INGESTD_RECORD_H

#include "common/json.h"
#include "common/text.h"
#include "ingestd/catalog.h"

/* How records of one store are to be taken at this moment. */
struct record_rules {
    enum ts_type type;
    struct store_schema_now schema; /* held; of schema stores */
};

struct record {
    int64_t time_ns; /* 0: the store assigns it */
    const char *at;  /* view; NULL: at scratch_off of the scratch */
    size_t scratch_off;
    size_t bytes;
};

enum ts_err record_rules_init(struct catalog_store *entry, struct record_rules *out) TS_MUST_USE;
void record_rules_done(struct record_rules *rules);

/* The body of POST …/data, whose content type fits. Bytes behind a JSON wrapper are ignored. */
enum ts_err record_take_body(const struct record_rules *rules, struct ts_span body,
                             struct ts_text *scratch, struct record *out) TS_MUST_USE;

/* One of a batch: a wrapper, or in text stores the line itself. */
enum ts_err record_take_item(const struct record_rules *rules, struct ts_span item,
                             struct ts_text *scratch, struct record *out) TS_MUST_USE;

/* A message of ws/write: always a wrapper; its data is a string in text stores, base64 in binary
 * ones, and in schema stores has names or, if is_compact, indices. */
enum ts_err record_take_message(const struct record_rules *rules, struct ts_span message,
                                bool is_compact, struct ts_text *scratch,
                                struct record *out) TS_MUST_USE;

/* A line of the Unix socket for a schema store. TS_E_JSON if it is none at all. */
enum ts_err record_take_line(const struct record_rules *rules, struct ts_span line,
                             struct ts_text *scratch, struct record *out) TS_MUST_USE;

static inline const void *
record_data(const struct record *record, const struct ts_text *scratch)
{
    return record->at != NULL ? record->at : scratch->at + record->scratch_off;
}

#endif
