/* list_query.h - the parameters of a list, checked.
 *
 * Purpose    Turn limit, since, after, start_time, end_time, filter… of a request into a range.
 * Invariant  A limit is only ever a bound, never a size to reserve.
 * Ownership  The filter in the range is a view into the request. A query that was parsed is given
 *            back by list_query_done().
 * Errors     TS_E_PARAM, TS_E_TIME with the contract's texts.
 */
#ifndef QUERYD_LIST_QUERY_H
#define QUERYD_LIST_QUERY_H

#include "common/aggregate.h"
#include "daemon/http.h"

enum list_kind { LIST_OLDEST, LIST_NEWEST, LIST_RANGE };

struct list_query {
    struct ts_range range;
    uint64_t limit; /* of records, or of windows: then the range has none */
    bool with_data;
    bool is_compact;                /* format=compact */
    bool is_newest_ascending;       /* newest with since: the newest n of the period, ascending */
    bool is_empty;                  /* nothing can match: no need to look */
    struct ts_aggregate_plan *plan; /* owned; NULL: records as they are */
    int64_t finished_until_ns;      /* windows that end later are not over */
};

/* now_ns is what `since` ends at. `type` decides whether the list may be aggregated. On failure
 * there is nothing to give back. */
enum ts_err list_query_parse(struct http_request *req, enum list_kind kind, enum ts_type type,
                             int64_t now_ns, struct list_query *out) TS_MUST_USE;

void list_query_done(struct list_query *query);

/* filter and filter_ignore_case, for streams too. */
void list_query_filter(struct http_request *req, struct ts_range *range);

/* agg_window, agg_fields and agg_default, for streams too; *out_plan is NULL without a window. */
enum ts_err list_query_plan(struct http_request *req, enum ts_type type,
                            struct ts_aggregate_plan **out_plan) TS_MUST_USE;

/* A signed decimal that fits 64 bits; "+5" is one. */
bool list_query_i64(const struct ts_span *text, int64_t *out);

#endif
