/* mutation_parts.h - what the mutation_*.c files share; nobody else includes it.
 *
 * Purpose    One function per operation. Each gets a request whose credential was checked, and
 *            the entry of its store, entered.
 * Ownership  All is borrowed; the answer's body is appended to *body.
 * Threads    Any number at once.
 * Errors     All of them become an answer. Returned is the HTTP status.
 */
#ifndef INGESTD_MUTATION_PARTS_H
#define INGESTD_MUTATION_PARTS_H

#include "ingestd/mutation.h"

uint16_t mutation_create(struct mutation *mutation, const struct control_request *request,
                         struct ts_text *body);

uint16_t mutation_insert(struct mutation *mutation, struct catalog_store *entry,
                         const struct control_request *request, struct ts_text *body);

/* `brief`, which holds EXECUTED_BRIEF_BYTES, becomes the answer without the single results. */
uint16_t mutation_batch(struct mutation *mutation, struct catalog_store *entry,
                        const struct control_request *request, struct ts_text *body, char *brief);

uint16_t mutation_messages(struct mutation *mutation, struct catalog_store *entry,
                           const struct control_request *request, struct ts_text *body);

/* {"timestamp":…,"block_num":…,"size":…} without the braces. */
void mutation_add_record(struct ts_text *body, const struct ts_appended *done, size_t bytes);

#endif
