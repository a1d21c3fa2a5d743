/* publish.h - tells every queryd that a store moved or that the catalogue changed.
 *
 * Purpose    EVENT_HEAD per store, coalesced: the first movement at once, then at most one per
 *            PUBLISH_INTERVAL_NS and store, the last movement always. Catalogue events at once.
 * Invariant  Nothing is formatted, sent or timed while nobody subscribed. A message is a hint: one
 *            that is lost costs a reader the time until its next look, nothing else.
 * Ownership  publish_open() gives *out, publish_close() takes it. A slot belongs to its store,
 *            which calls publish_forget() before it dies. NULL for a publisher does nothing.
 * Threads    Any thread may publish; publish_due() is for whoever waits on publish_timer_fd().
 * Errors     TS_E_IO, TS_E_USAGE from publish_open(). Publishing never fails: it is left out.
 */
#ifndef INGESTD_PUBLISH_H
#define INGESTD_PUBLISH_H

#include "proto/control.h"

#include <stdbool.h>
#include <stdint.h>

#define PUBLISH_INTERVAL_NS 500000
/* So many EVENT_HEAD per interval, all stores together: nng's own limit is several times that, and
 * past it nng would drop them at random. The others wait for the next interval. */
#define PUBLISH_MAX_PER_INTERVAL 8u

/* What is kept per store. Zeroed with the name set; all else guarded by the publisher. */
struct publish_slot {
    const char *name;     /* borrowed from the store's entry */
    struct ts_view *view; /* borrowed from the store; NULL: nothing is told of it */
    int64_t sent_ns;      /* monotonic time of the last EVENT_HEAD */
    bool is_pending;
    struct publish_slot *next; /* of the pending ones */
};

struct publish;

/* Listens in run_dir, which must exist. */
enum ts_err publish_open(const char *run_dir, uint64_t instance, struct publish **out) TS_MUST_USE;
void publish_close(struct publish *publish);

/* Sees to it that subscribers are let in; see endpoint.h. */
void publish_check(struct publish *publish);

/* Readable when publish_due() is to be called. */
int publish_timer_fd(const struct publish *publish);
void publish_due(struct publish *publish);

/* From now on movements of this store are told, as the view shows them. */
void publish_attach(struct publish *publish, struct publish_slot *slot, struct ts_view *view);

/* Records of this store became visible. */
void publish_moved(struct publish *publish, struct publish_slot *slot);

/* The store was reset: told at once, with where it stands now. */
void publish_reset(struct publish *publish, struct publish_slot *slot);

/* The catalogue changed. */
void publish_catalogue(struct publish *publish, enum event_kind kind, const char *name);

/* On return nothing refers to the slot any more. */
void publish_forget(struct publish *publish, struct publish_slot *slot);

/* EVENT_HEADs sent so far, for tests and the log. */
uint64_t publish_count(const struct publish *publish);

#endif
