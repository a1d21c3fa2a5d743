/* auth.c - missing, malformed, no store, wrong, not enough: in this order. */
#include "queryd/auth.h"

#include "common/log.h"
#include "daemon/credential.h"
#include "daemon/key_trouble.h"

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
    err = ts_keyring_check_refreshed(store_keys(store), key.at, key.bytes, scope);
    if (err == TS_OK) {
        *out_store = store;
        return TS_OK;
    }
    if (err == TS_E_KEY_STORE) {
        key_trouble_log(store_name(store), store_keys(store));
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
