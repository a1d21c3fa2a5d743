/* credential.h - which key a request carries.
 *
 * Purpose    Finds a store's key and the admin key in headers and query, in the contract's order.
 * Ownership  The spans are views into the request.
 * Errors     None: a missing key is an empty span, and whoever checks it says so.
 */
#ifndef DAEMON_CREDENTIAL_H
#define DAEMON_CREDENTIAL_H

#include "daemon/http.h"

/* X-API-Key, then "Authorization: Bearer <key>", then api_key: the first that is not empty; the
 * others are not looked at. out->at is "" if there is none. */
void credential_store_key(struct http_request *req, struct ts_span *out);

/* X-Admin-Key, then admin_key. */
void credential_admin_key(struct http_request *req, struct ts_span *out);

/* The value behind "Bearer " of an Authorization header; empty if it is of another kind. The word
 * counts exactly as it is written. */
struct ts_span credential_bearer(const char *authorization);

#endif
