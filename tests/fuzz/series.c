/* series.c - any bytes as a series table: refused, or read and opened without harm.
 *
 * The first byte says how the rest is taken: as a whole file, or as what follows a good header.
 * Since no chance finds a checksum, entries may be given the one that fits them, as somebody would
 * who wants to do harm.
 */
#include "common/series_internal.h"

#include <stdlib.h>
#include <string.h>

#define STORE_ID 7u

enum { AS_FILE = 1, PROVE = 2, PROVE_HASHES = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
expect(bool holds)
{
    if (!holds)
        abort();
}

static void
prove(const struct ts_series *series, bool with_hashes)
{
    union ts_series_copy copy;

    for (uint32_t no = 1; no <= series->n_series; no++) {
        struct ts_series_entry *entry = &series->entries[no - 1];

        (void)ts_series_copy_entry(series, no, &copy);
        if (copy.entry.key_bytes == 0 || copy.entry.key_bytes > TS_MAX_KEY_BYTES)
            continue;
        if (with_hashes)
            copy.entry.hash = entry->hash =
                ts_series_hash(series, copy.bytes + TS_SERIES_KEY_OFF, copy.entry.key_bytes);
        entry->checksum = ts_series_checksum(series, no, &copy);
    }
}

/* Looks at everything as a reader; returns how many series there are. */
static uint32_t
read_all(const struct ts_series *series, const uint8_t *data, size_t bytes)
{
    uint8_t key[TS_MAX_KEY_BYTES];
    uint64_t born_no = 0, found_born_no;
    uint32_t no = 0, n = 0, found;
    size_t key_bytes = 0;

    while (ts_series_next(series, &no, key, &key_bytes, &born_no)) {
        n++;
        expect(no > 0 && no <= series->n_series && key_bytes > 0 && key_bytes <= sizeof key);
        if (ts_series_find(series, key, key_bytes, &found, &found_born_no))
            expect(found > 0 && found <= series->n_series);
        expect(ts_series_is_alive(series, no, born_no));
        expect(ts_series_bound(series, no, 100) <= 100);
    }
    for (size_t i = 1; i <= bytes; i *= 2) {
        if (ts_series_find(series, data, i, &found, &found_born_no)) {
            expect(ts_series_key(series, found, key, &key_bytes, &born_no));
            expect(key_bytes == i && memcmp(key, data, i) == 0 && born_no == found_born_no);
        }
    }
    return n;
}

/* What is true of a table that a writer opened. */
static void
expect_sound(const struct ts_series_writer *writer)
{
    const struct ts_series *series = &writer->series;
    uint8_t key[TS_MAX_KEY_BYTES];
    uint32_t no = 0, n = 0, n_chunks = writer->n_free_chunks, found;
    uint64_t born_no, found_born_no;
    size_t bytes;

    while (ts_series_next(series, &no, key, &bytes, &born_no)) {
        n++;
        n_chunks += ts_series_chunks_of(bytes);
        expect(ts_series_find(series, key, bytes, &found, &found_born_no) && found == no);
    }
    expect(n == ts_series_n_used(writer) && n_chunks == series->n_chunks);
}

static bool
some_in_use(void *ctx, uint32_t no)
{
    return ((const uint8_t *)ctx)[no % 16] & 1;
}

static void
write_all(const struct ts_series *series, const uint8_t *data, size_t bytes)
{
    struct ts_series_writer writer;
    uint8_t mixed[16] = {0};

    expect(ts_series_writer_init(&writer, series) == TS_OK);
    expect_sound(&writer);
    ts_series_recover(&writer, 50);
    ts_series_synced(&writer, ts_series_mark(&writer));
    memcpy(mixed, data, bytes < sizeof mixed ? bytes : sizeof mixed);
    for (size_t at = 0, part; at < bytes; at += part) {
        uint32_t no = 0;

        part = data[at] % 7 == 0 ? (size_t)data[at] * 17 + 1 : (size_t)data[at] + 1;
        part = part < bytes - at ? part : bytes - at;
        if (ts_series_register(&writer, data + at, part, at + 1, &no) == TS_OK)
            ts_series_note_block(series, no, 51 + at);
        else if (ts_series_retire(&writer, 51 + at / 2, some_in_use, mixed) > 0)
            ts_series_synced(&writer, ts_series_mark(&writer));
        if (at < 2048)
            expect_sound(&writer);
    }
    expect_sound(&writer);
    ts_series_clear(&writer);
    expect_sound(&writer);
    expect(ts_series_n_used(&writer) == 0);
    ts_series_writer_done(&writer);
}

/* Fills map with the file that the input stands for. The memory is just as large, so that a step
 * outside is seen. */
static void
make_file(struct ts_map *map, const uint8_t *data, size_t bytes)
{
    const uint32_t n_series = data[1] % 40 + 1, n_chunks = data[2] % 150;
    const bool is_file = (data[0] & AS_FILE) != 0;
    const size_t head_bytes = is_file ? 0 : sizeof(struct ts_series_head);
    const size_t skip = is_file ? 1 : 3;
    size_t rest = bytes - skip;
    void *memory;

    map->bytes = is_file ? rest : (size_t)ts_series_file_bytes(n_series, n_chunks);
    if (posix_memalign(&memory, 64, map->bytes) != 0)
        abort();
    map->base = memory;
    memset(map->base, 0, map->bytes);
    if (!is_file)
        ts_series_init(map->base, STORE_ID, n_series, n_chunks);
    rest = rest < map->bytes - head_bytes ? rest : map->bytes - head_bytes;
    memcpy(map->base + head_bytes, data + skip, rest);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ts_map map = {0};
    struct ts_series series;

    if (bytes < 4)
        return 0;
    make_file(&map, data, bytes);
    if (ts_series_check(&map, STORE_ID, &series) == TS_OK) {
        if (data[0] & PROVE)
            prove(&series, (data[0] & PROVE_HASHES) != 0);
        read_all(&series, data, bytes);
        write_all(&series, data, bytes);
    } else {
        expect((data[0] & AS_FILE) != 0 && ts_error_text()[0] != '\0');
    }
    free(map.base);
    return 0;
}
