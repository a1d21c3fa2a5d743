/* views.c - a hash table of stores, each mapped when it is first read. */
#include "queryd/views.h"

#include "common/error.h"
#include "common/log.h"
#include "queryd/schema_cache.h"

#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_BUCKETS 256u
#define N_DAMAGES 16u
#define N_SPARES 4u
#define DAMAGE_LINES 20
#define DAMAGE_PERIOD_S 60

struct store {
    struct store *next; /* in its bucket; guarded by views->lock while is_listed */
    bool is_listed;     /* in the table, which holds a reference; guarded by views->lock */
    atomic_uint n_holders;
    struct ts_keyring *keys;            /* owned */
    _Atomic uint64_t seen_reading;      /* of the keys: when it was last seen not to be stale */
    struct ts_view *_Atomic view;       /* owned; NULL until first asked for, then it stays */
    pthread_mutex_t lock;               /* guards the opening of view, and the rest */
    struct ts_cursor *spares[N_SPARES]; /* owned; on view */
    unsigned n_spares;
    uint64_t damages[N_DAMAGES]; /* record numbers of the last ones met */
    unsigned n_damages;
    struct schema_cache schema;
    const char *data_dir; /* borrowed from views */
    char name[TS_MAX_NAME_BYTES + 1];
};

struct views {
    pthread_mutex_t lock; /* guards buckets */
    struct store *buckets[N_BUCKETS];
    char data_dir[];
};

enum ts_err
views_new(const char *data_dir, struct views **out)
{
    const size_t bytes = strlen(data_dir) + 1;
    struct views *views = calloc(1, sizeof *views + bytes);

    if (views == NULL)
        return TS_FAIL(TS_E_NOMEM, "no memory for the table of stores");
    memcpy(views->data_dir, data_dir, bytes);
    pthread_mutex_init(&views->lock, NULL);
    *out = views;
    return TS_OK;
}

/* acquire: the view was made whole before it was put there. Pairs with store_view(). */
static struct ts_view *
view_of(struct store *store)
{
    return atomic_load_explicit(&store->view, memory_order_acquire);
}

static void
destroy(struct store *store)
{
    while (store->n_spares > 0)
        ts_cursor_close(store->spares[--store->n_spares]);
    ts_view_close(view_of(store));
    ts_keyring_close(store->keys);
    schema_cache_done(&store->schema);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

struct store *
store_hold(struct store *store)
{
    atomic_fetch_add_explicit(&store->n_holders, 1, memory_order_relaxed);
    return store;
}

void
store_release(struct store *store)
{
    /* acq_rel: what other holders did with it is done before the last one takes it apart. */
    if (store != NULL && atomic_fetch_sub_explicit(&store->n_holders, 1, memory_order_acq_rel) == 1)
        destroy(store);
}

void
views_free(struct views *views)
{
    if (views == NULL)
        return;
    for (unsigned i = 0; i < N_BUCKETS; i++) {
        while (views->buckets[i] != NULL) {
            struct store *store = views->buckets[i];

            views->buckets[i] = store->next;
            store_release(store);
        }
    }
    pthread_mutex_destroy(&views->lock);
    free(views);
}

static unsigned
bucket_of(const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash % N_BUCKETS;
}

/* Takes it out of the table; the caller then owns the table's reference. Under views->lock. */
static void
unlist(struct views *views, struct store *store)
{
    struct store **link = &views->buckets[bucket_of(store->name)];

    while (*link != store)
        link = &(*link)->next;
    *link = store->next;
    store->is_listed = false;
}

static bool
is_stale(struct store *store)
{
    const struct ts_view *view = view_of(store);

    return view != NULL && ts_view_is_stale(view);
}

static enum ts_err
new_store(struct views *views, const char *name, struct store **out)
{
    struct store *store = calloc(1, sizeof *store);
    char dir[4096];
    enum ts_err err;

    if (store == NULL)
        return TS_FAIL(TS_E_NOMEM, "no memory for a store");
    snprintf(store->name, sizeof store->name, "%s", name);
    store->data_dir = views->data_dir;
    pthread_mutex_init(&store->lock, NULL);
    schema_cache_init(&store->schema);
    atomic_init(&store->n_holders, 1);
    if ((size_t)snprintf(dir, sizeof dir, "%s/%s", views->data_dir, name) >= sizeof dir)
        err = TS_FAIL_PLAIN(TS_E_KEY_STORE);
    else
        err = ts_keyring_open(dir, &store->keys);
    if (err != TS_OK) {
        destroy(store);
        return err;
    }
    *out = store;
    return TS_OK;
}

/* As is_stale(), with a look at the file of keys alone as long as that is the same. */
static bool
is_outdated(struct store *store)
{
    const uint64_t reading = ts_keyring_refresh(store->keys);
    const struct ts_view *view = view_of(store);

    /* relaxed: who sees an older number only looks once more than needed. */
    if (reading == atomic_load_explicit(&store->seen_reading, memory_order_relaxed))
        return view != NULL && ts_view_is_gone(view);
    if (is_stale(store))
        return true;
    atomic_store_explicit(&store->seen_reading, reading, memory_order_relaxed);
    return false;
}

/* The listed store of that name, unless it is stale: then it is taken out. Held on return. */
static struct store *
find(struct views *views, const char *name)
{
    struct store *store, *stale = NULL;

    pthread_mutex_lock(&views->lock);
    for (store = views->buckets[bucket_of(name)]; store != NULL; store = store->next)
        if (strcmp(store->name, name) == 0)
            break;
    if (store != NULL)
        store_hold(store);
    pthread_mutex_unlock(&views->lock);
    /* The look at the file system is not under the table's lock. */
    if (store == NULL || !is_outdated(store))
        return store;
    pthread_mutex_lock(&views->lock);
    if (store->is_listed) {
        unlist(views, store);
        stale = store;
    }
    pthread_mutex_unlock(&views->lock);
    store_release(stale);
    store_release(store);
    return NULL;
}

enum ts_err
views_hold(struct views *views, const char *name, struct store **out)
{
    struct store *store, *other;
    unsigned bucket;
    enum ts_err err;

    store = find(views, name);
    if (store != NULL) {
        *out = store;
        return TS_OK;
    }
    if (!ts_name_is_valid(name))
        return TS_FAIL_PLAIN(TS_E_KEY_STORE);
    err = new_store(views, name, &store);
    if (err != TS_OK)
        return err;
    bucket = bucket_of(name);
    pthread_mutex_lock(&views->lock);
    for (other = views->buckets[bucket]; other != NULL; other = other->next)
        if (strcmp(other->name, name) == 0)
            break;
    if (other == NULL) {
        store->next = views->buckets[bucket];
        store->is_listed = true;
        views->buckets[bucket] = store;
        other = store;
    }
    store_hold(other);
    pthread_mutex_unlock(&views->lock);
    if (other != store)
        store_release(store);
    ts_keyring_refresh(other->keys);
    *out = other;
    return TS_OK;
}

void
views_forget(struct views *views, struct store *store)
{
    bool was_listed;

    pthread_mutex_lock(&views->lock);
    was_listed = store->is_listed;
    if (was_listed)
        unlist(views, store);
    pthread_mutex_unlock(&views->lock);
    if (was_listed)
        store_release(store);
}

/* Takes the stale stores of a bucket out of the table; the table's references go to the caller. */
static struct store *
unlist_stale(struct views *views, unsigned bucket)
{
    struct store **link = &views->buckets[bucket];
    struct store *stale = NULL;

    pthread_mutex_lock(&views->lock);
    while (*link != NULL) {
        struct store *store = *link;

        if (is_stale(store)) {
            *link = store->next;
            store->is_listed = false;
            store->next = stale;
            stale = store;
        } else {
            link = &store->next;
        }
    }
    pthread_mutex_unlock(&views->lock);
    return stale;
}

void
views_sweep(struct views *views)
{
    for (unsigned i = 0; i < N_BUCKETS; i++) {
        struct store *stale = unlist_stale(views, i);

        while (stale != NULL) {
            struct store *next = stale->next;

            store_release(stale);
            stale = next;
        }
    }
}

const char *
store_name(const struct store *store)
{
    return store->name;
}

struct ts_keyring *
store_keys(struct store *store)
{
    return store->keys;
}

/* The slow half of store_view(). */
static enum ts_err
open_view(struct store *store, struct ts_view **out_view)
{
    struct ts_view *view;
    enum ts_err err = TS_OK;

    pthread_mutex_lock(&store->lock);
    view = view_of(store);
    if (view == NULL)
        err = ts_view_open(store->data_dir, store->name, &view);
    if (err == TS_OK) {
        /* release: see view_of() */
        atomic_store_explicit(&store->view, view, memory_order_release);
        *out_view = view;
    }
    pthread_mutex_unlock(&store->lock);
    /* Its key was right a moment ago: it went away between, which is not a "not found". */
    return err == TS_E_NOT_FOUND ? TS_FAIL_PLAIN(TS_E_CLOSED) : err;
}

enum ts_err
store_view(struct store *store, struct ts_view **out_view)
{
    struct ts_view *view = view_of(store);

    if (view == NULL)
        return open_view(store, out_view);
    *out_view = view;
    return TS_OK;
}

enum ts_err
store_take_cursor(struct store *store, const struct ts_range *range, struct ts_cursor **out_cursor)
{
    struct ts_cursor *cursor = NULL;
    enum ts_err err;

    pthread_mutex_lock(&store->lock);
    if (store->n_spares > 0)
        cursor = store->spares[--store->n_spares];
    pthread_mutex_unlock(&store->lock);
    if (cursor == NULL)
        return ts_cursor_open(view_of(store), range, out_cursor);
    err = ts_cursor_restart(cursor, range);
    if (err == TS_OK)
        *out_cursor = cursor;
    else
        ts_cursor_close(cursor);
    return err;
}

void
store_give_cursor(struct store *store, struct ts_cursor *cursor)
{
    pthread_mutex_lock(&store->lock);
    if (cursor != NULL && store->n_spares < N_SPARES) {
        store->spares[store->n_spares++] = cursor;
        cursor = NULL;
    }
    pthread_mutex_unlock(&store->lock);
    ts_cursor_close(cursor);
}

enum ts_err
store_schema(struct store *store, struct ts_schema **out_schema)
{
    char dir[PATH_MAX];

    if (snprintf(dir, sizeof dir, "%s/%s", store->data_dir, store->name) >= (int)sizeof dir)
        return TS_FAIL(TS_E_USAGE, "store %s: its path is too long", store->name);
    return schema_cache_hold(&store->schema, dir, out_schema);
}

/* True if it is none of the last ones. */
static bool
is_new_damage(struct store *store, uint64_t from_no)
{
    bool is_new = true;

    pthread_mutex_lock(&store->lock);
    for (unsigned i = 0; i < N_DAMAGES && i < store->n_damages; i++)
        if (store->damages[i] == from_no)
            is_new = false;
    if (is_new)
        store->damages[store->n_damages++ % N_DAMAGES] = from_no;
    pthread_mutex_unlock(&store->lock);
    return is_new;
}

void
store_tell_damage(struct store *store, const struct ts_gap *gap)
{
    static struct ts_log_limit limit = TS_LOG_LIMIT(DAMAGE_LINES, DAMAGE_PERIOD_S);
    char others[64] = "";
    uint64_t n_dropped;

    if (!is_new_damage(store, gap->from_no) || !ts_log_allow(&limit, &n_dropped))
        return;
    if (n_dropped > 0)
        snprintf(others, sizeof others, " (%" PRIu64 " more such gaps were not logged)", n_dropped);
    ts_log(TS_LOG_ERROR, "%s: records %" PRIu64 " to %" PRIu64 "%s", ts_error_text(), gap->from_no,
           gap->to_no, others);
}
