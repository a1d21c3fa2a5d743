/* map.h - one file of a store, mapped.
 *
 * Purpose    Open a store file and map all of it, for the writer or for a reader.
 * Invariant  The mapping is exactly the file, and neither grows. A reader's is PROT_READ.
 * Ownership  ts_map_open() fills *out_map, ts_map_close() gives it all back. Views into
 *            base[] die with the map.
 * Threads    Open and close from one thread; any thread may read base[]. Other processes
 *            write there: changing words are read by the accessors of proto/format.h only.
 * Errors     TS_E_IO, TS_E_CORRUPT (wrong type or size). *out_map is untouched on failure.
 * Units      bytes, never pages or blocks.
 */
#ifndef TS_MAP_H
#define TS_MAP_H

#include "common/error.h"

enum ts_map_mode { TS_MAP_READER, TS_MAP_WRITER };

struct ts_map {
    uint8_t *base; /* owned; first byte; NULL when closed */
    size_t bytes;
    int fd; /* owned; of a writer's map, for syncing; -1 otherwise */
};

/* Maps the regular file `name` below `dir_fd`, which must hold exactly `want_bytes`. */
enum ts_err ts_map_open(int dir_fd, const char *name, uint64_t want_bytes, enum ts_map_mode mode,
                        struct ts_map *out_map) TS_MUST_USE;

/* Closes *map. A closed map stays closed. */
void ts_map_close(struct ts_map *map);

/* Writes the pages that hold bytes [from, to) to the disk and waits. */
enum ts_err ts_map_sync(const struct ts_map *map, const char *name, size_t from,
                        size_t to) TS_MUST_USE;

/* Dirties the pages of [from, to) again after a sync failed: the kernel may have marked them
 * clean although they never reached the disk. */
void ts_map_redirty(const struct ts_map *map, size_t from, size_t to);

/* TS_E_CORRUPT if the file behind a writer's map is no longer as long as the map. */
enum ts_err ts_map_check(const struct ts_map *map, const char *name) TS_MUST_USE;

/* For daemons, once, before threads start: a page that vanished from a mapped file (somebody
 * truncated it) reads as zeros from then on instead of ending the process with SIGBUS; checksums
 * find the rest. Each such page raises ts_map_faults(). */
void ts_map_guard_install(void);
uint32_t ts_map_faults(void);

#endif
