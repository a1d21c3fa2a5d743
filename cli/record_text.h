/* record_text.h - one record as people or programs want to read it.
 *
 * Purpose    The forms in which `query` and `tail` print a record.
 * Invariant  A record is one line, whatever bytes it has; only a field of CSV (RFC 4180) keeps its
 *            newlines. The JSON form is valid JSON whatever the store holds.
 * Threads    No state.
 */
#ifndef CLI_RECORD_TEXT_H
#define CLI_RECORD_TEXT_H

#include "common/text.h"
#include "common/tsstore.h"

enum record_form {
    RECORD_HUMAN, /* time and value; binary as base64 */
    RECORD_JSON,  /* an object as REST has it, plus time and record number */
    RECORD_CSV    /* timestamp,time,record,data */
};

#define RECORD_CSV_HEADING "timestamp,time,record,data\n"

/* Appends the record, without a newline behind it. */
void record_text_add(enum record_form form, enum ts_type type, const struct ts_record *record,
                     struct ts_text *out);

#endif
