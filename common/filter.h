/* filter.h - does a record contain this text.
 *
 * Purpose    A substring filter that is prepared once and asked for every record.
 * Invariant  Without fold: the bytes of the text occur in the record. With fold: they do after both
 *            were folded character by character; a byte that is no part of valid UTF-8 stands for
 *            itself. Time is linear in the record for texts whose folded form is at most
 *            TS_FILTER_PREFIX_BYTES; what is longer is compared anew wherever its beginning occurs.
 * Ownership  Nothing is allocated. The text is borrowed as long as the filter is used.
 * Threads    A prepared filter is only read; any number of threads may match with it.
 * Source     Simple case folding of Unicode 14 (CaseFolding.txt, status C and S); search by Knuth,
 *            Morris and Pratt.
 */
#ifndef TS_FILTER_H
#define TS_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TS_FILTER_PREFIX_BYTES 1024

struct ts_filter {
    const uint8_t *text; /* borrowed */
    size_t text_bytes;
    bool fold;
    /* The rest only if fold. */
    size_t prefix_bytes; /* how much of prefix[] is used */
    size_t rest_off;     /* where in text begins what did not fit into prefix[] */
    uint8_t prefix[TS_FILTER_PREFIX_BYTES]; /* the folded text, or its beginning */
    /* Length of the longest proper suffix of prefix[0..i] that it also begins with. */
    uint16_t border[TS_FILTER_PREFIX_BYTES];
};

void ts_filter_init(struct ts_filter *filter, const char *text, size_t text_bytes, bool fold);

/* True if data contains the text; an empty text is in everything. */
bool ts_filter_match(const struct ts_filter *filter, const void *data, size_t bytes);

#endif
