/* auth.h - who may do what with a store.
 *
 * Purpose    Check a request's key against the store it names, in the contract's order.
 * Errors     A refused request is answered here; the caller just returns.
 */
#ifndef QUERYD_AUTH_H
#define QUERYD_AUTH_H

#include "queryd/queryd.h"
#include "queryd/views.h"

/* True: the first path parameter names a store, held in *out_store, whose key of this request may
 * do `scope`. False: answered. */
bool auth_store(struct http_request *req, struct queryd *queryd, unsigned scope,
                struct store **out_store);

/* The same with the store's view. */
bool auth_view(struct http_request *req, struct queryd *queryd, unsigned scope,
               struct store **out_store, struct ts_view **out_view);

#endif
