/* http_bounds.h - start_time and end_time of a request that is passed on.
 *
 * Purpose    Both front doors hand CONTROL_DELETE_RANGE the bounds as they came; one place judges.
 * Threads    As http.h.
 */
#ifndef HTTP_BOUNDS_H
#define HTTP_BOUNDS_H

#include "daemon/http.h"
#include "proto/control.h"

/* "<start_time> <end_time>", nothing for one that is missing, in memory of the caller's. What is
 * too long becomes "?", which nobody takes for a number. */
struct ts_span http_bounds(struct http_request *req, char memory[CONTROL_MAX_ARGUMENT_BYTES]);

#endif
