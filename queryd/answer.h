/* answer.h - records as JSON.
 *
 * Purpose    One form of a record for lists, single answers and streams.
 * Invariant  What is appended is valid JSON, whatever the record's bytes are.
 * Threads    No state.
 * Errors     Only running out of memory, which struct ts_text remembers.
 */
#ifndef QUERYD_ANSWER_H
#define QUERYD_ANSWER_H

#include "common/text.h"
#include "common/tsstore.h"

/* {"timestamp":…,"block_num":…,"size":…,"data":…}, data null unless with_data. */
void answer_record(struct ts_text *out, enum ts_type type, const struct ts_record *record,
                   bool with_data);

/* {"type":"data",…,"data":…,"record":…} */
void answer_data_message(struct ts_text *out, enum ts_type type, const struct ts_record *record);

/* {"type":"gap","from":…,"to":…,"lost":…}, with "error" if the records were not overwritten but
 * cannot be read. */
void answer_gap_message(struct ts_text *out, const struct ts_gap *gap, const char *error);

/* {"from":…,"to":…,"lost":…,"error":"…"} */
void answer_damage(struct ts_text *out, const struct ts_gap *gap, const char *error);

#endif
