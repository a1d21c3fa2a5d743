/* answer.h - records as JSON.
 *
 * Purpose    One form of a record for lists, single answers and streams.
 * Invariant  What is appended is valid JSON, whatever the record's bytes are.
 * Threads    No state.
 * Errors     Only running out of memory, which struct ts_text remembers.
 */
#ifndef QUERYD_ANSWER_H
#define QUERYD_ANSWER_H

#include "common/aggregate.h"
#include "common/text.h"
#include "common/tsstore.h"
#include "queryd/shape.h"

/* {"timestamp":…,"block_num":…,"size":…,"data":…}, data null unless with_data. */
void answer_record(struct ts_text *out, const struct shape *shape, const struct ts_record *record,
                   bool with_data);

/* {"type":"data",…,"data":…,"record":…} */
void answer_data_message(struct ts_text *out, const struct shape *shape,
                         const struct ts_record *record);

/* A window as a record: its end is the timestamp, `data` the object that was computed. If values
 * were left out because a limit was met, "dropped" says how many. */
void answer_window(struct ts_text *out, const struct ts_aggregate_window *window,
                   const struct ts_text *data);

/* The same as a data message; last_no is the number of the last record that was seen. */
void answer_window_message(struct ts_text *out, const struct ts_aggregate_window *window,
                           const struct ts_text *data, uint64_t last_no);

/* What explains the indices of a compact, aggregated list: its first element. */
void answer_legend(struct ts_text *out, const struct ts_schema *schema);

/* {"type":"gap","from":…,"to":…,"lost":…}, with "error" if the records were not overwritten but
 * cannot be read. */
void answer_gap_message(struct ts_text *out, const struct ts_gap *gap, const char *error);

/* {"from":…,"to":…,"lost":…,"error":"…"} */
void answer_damage(struct ts_text *out, const struct ts_gap *gap, const char *error);

#endif
