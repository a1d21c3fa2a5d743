/* auth.c - missing, malformed, no store, wrong, not enough: in this order. */
#include "queryd/auth.h"

#include "common/log.h"
#include "daemon/credential.h"

/* A keys.json that is there and cannot be used is the operator's to know, not the client's. */
static void
log_trouble(struct store *store)
{
    static struct ts_log_limit limit = TS_LOG_LIMIT(5, 60);
    char text[256];
    uint64_t n_dropped;

    ts_keyring_trouble(store_keys(store), text, sizeof text);
    if (text[0] != '\0' && ts_log_allow(&limit, &n_dropped))
        ts_log(TS_LOG_DEBUG, "store %s: keys: %s", store_name(store), text);
}

static enum ts_err
check(struct http_request *req, struct queryd *queryd, unsigned scope, struct store **out_store)
{
    struct ts_span key;
    struct store *store;
    enum ts_err err;

    credential_store_key(req, &key);
    if (key.bytes == 0)
        return TS_FAIL_PLAIN(TS_E_KEY_MISSING);
    if (!ts_key_has_shape(key.at, key.bytes))
        return TS_FAIL_PLAIN(TS_E_KEY_FORMAT);
    err = views_hold(queryd->views, http_path_param(req, 0), &store);
    if (err != TS_OK)
        return err;
    err = ts_keyring_check(store_keys(store), key.at, key.bytes, scope);
    if (err == TS_OK) {
        *out_store = store;
        return TS_OK;
    }
    if (err == TS_E_KEY_STORE) {
        log_trouble(store);
        views_forget(queryd->views, store);
        err = TS_FAIL_PLAIN(TS_E_KEY_STORE);
    }
    store_release(store);
    return err;
}

bool
auth_store(struct http_request *req, struct queryd *queryd, unsigned scope,
           struct store **out_store)
{
    const enum ts_err err = check(req, queryd, scope, out_store);

    if (err != TS_OK)
        http_answer_error(req, err);
    return err == TS_OK;
}

bool
auth_view(struct http_request *req, struct queryd *queryd, unsigned scope, struct store **out_store,
          struct ts_view **out_view)
{
    struct store *store;
    enum ts_err err;

    if (!auth_store(req, queryd, scope, &store))
        return false;
    err = store_view(store, out_view);
    if (err != TS_OK) {
        ts_log(TS_LOG_ERROR, "store %s: %s", store_name(store), ts_error_text());
        http_answer_error(req, err);
        store_release(store);
        return false;
    }
    *out_store = store;
    return true;
}
