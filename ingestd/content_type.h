/* content_type.h - what a body says it is.
 *
 * Purpose    Compare a Content-Type header with the ones that are taken.
 * Threads    No state; any thread.
 */
#ifndef INGESTD_CONTENT_TYPE_H
#define INGESTD_CONTENT_TYPE_H

#include "common/json.h" /* struct ts_span */
#include "common/tsstore.h"

/* True if it is `want`, without its parameters and whatever its case. */
bool content_type_is(struct ts_span content_type, const char *want);

/* True if it is the one of a single record for a store of this type. */
bool content_type_fits(struct ts_span content_type, enum ts_type type);

#endif
