/* slice.h - many records appended a slice at a time, each told of in its turn.
 *
 * Purpose    Append what a batch or a run of messages holds with one lock per slice, and answer
 *            for each record in the order they came, the refused ones among them.
 * Invariant  `tell` is called once per record, in order. What is in a slice is appended before the
 *            next is begun, so that memory does not grow with the batch.
 * Ownership  slice_init() borrows the entry, which was entered; slice_done() frees the scratch.
 * Threads    One.
 * Errors     A refused record is told of; slice_end() gives what concerns all of them.
 */
#ifndef INGESTD_SLICE_H
#define INGESTD_SLICE_H

#include "ingestd/record.h"

#define SLICE_RECORDS 256u             /* their bytes are still in the cache from the check */
#define SLICE_SCRATCH_BYTES (1u << 20) /* more in the scratch ends a slice early */

/* item: of an appended record; NULL: it was refused, `error` and `err` say why. */
typedef void (*slice_tell)(void *arg, const struct ts_batch_item *item, enum ts_err err,
                           const char *error);

struct slice {
    struct catalog_store *entry; /* borrowed */
    struct publish *publish;     /* borrowed; may be NULL */
    slice_tell tell;
    void *arg;
    struct ts_text scratch; /* for who takes records for this slice */
    size_t n_accepted, n_refused;
    uint64_t last_no; /* of the newest record appended; 0: none */
    unsigned n;
    struct record records[SLICE_RECORDS];
    struct ts_batch_item items[SLICE_RECORDS];
};

void slice_init(struct slice *slice, struct catalog_store *entry, struct publish *publish,
                slice_tell tell, void *arg);
void slice_done(struct slice *slice);

/* The next record, taken into slice->scratch if it needs one. */
void slice_add(struct slice *slice, const struct record *record);

/* The next record was refused with `err` and the thread's text. */
void slice_refuse(struct slice *slice, enum ts_err err);

/* Appends what is left and waits for the disk if the store's clients are promised that. A failure
 * means that it is not known what of it survives a power failure. */
enum ts_err slice_end(struct slice *slice) TS_MUST_USE;

/* What to say of a record that the store refused with `err`. */
const char *slice_error_text(enum ts_err err);

#endif
