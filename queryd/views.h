/* views.h - the stores of the data directory, by name.
 *
 * Purpose    Hand out a store's keyring and, when it is asked for, its mapped view.
 * Invariant  What is handed out stays whole while it is held, also when the store is dropped or
 *            replaced meanwhile; the next who asks by name gets the new one. Only stores whose
 *            keys.json was there are remembered: foreign names cost no memory.
 * Ownership  views_hold() gives a reference, store_release() takes it. The view and the keyring die
 *            with the last one; cursors on the view must be closed before.
 * Threads    All calls from any thread.
 * Errors     See each call.
 */
#ifndef QUERYD_VIEWS_H
#define QUERYD_VIEWS_H

#include "common/keys.h"
#include "common/schema.h"
#include "common/tsstore.h"

struct views;

/* One store, held. */
struct store;

enum ts_err views_new(const char *data_dir, struct views **out) TS_MUST_USE;
void views_free(struct views *views);

/* TS_E_KEY_STORE for a name that no store can have, TS_E_NOMEM. Whether the store is there shows
 * when its keys are asked; they are refreshed, so that ts_keyring_check_refreshed() may do that. */
enum ts_err views_hold(struct views *views, const char *name, struct store **out) TS_MUST_USE;

/* Remembers the store no longer: it turned out to be missing. */
void views_forget(struct views *views, struct store *store);

/* Lets go of all stores that were dropped or replaced, so that their files can be. */
void views_sweep(struct views *views);

struct store *store_hold(struct store *store);
void store_release(struct store *store);

const char *store_name(const struct store *store);
struct ts_keyring *store_keys(struct store *store);

/* Maps the store at the first call. What ts_view_open() says; TS_E_CLOSED (500) if it is gone. */
enum ts_err store_view(struct store *store, struct ts_view **out_view) TS_MUST_USE;

/* A cursor on the store's view, which must be mapped: a spare one if there is, so that a request
 * allocates nothing. store_give_cursor() takes it back and accepts NULL. */
enum ts_err store_take_cursor(struct store *store, const struct ts_range *range,
                              struct ts_cursor **out_cursor) TS_MUST_USE;
void store_give_cursor(struct store *store, struct ts_cursor *cursor);

/* The schema that the store has now, held for the caller; NULL: none. What schema_cache_hold()
 * says. */
enum ts_err store_schema(struct store *store, struct ts_schema **out_schema) TS_MUST_USE;

/* Records that cannot be read were met; the thread's error text says why. Logs it, each once, and
 * some lines a minute over all stores: a store with a thousand damaged blocks fills no log. */
void store_tell_damage(struct store *store, const struct ts_gap *gap);

#endif
