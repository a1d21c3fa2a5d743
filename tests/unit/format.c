/* format.c - docs/format.md and proto/format.h say the same. */
#include "tests/unit/store_scratch.h"

TestSuite(format, .init = scratch_start, .fini = scratch_end, .timeout = 60);

#define FIELD(type, name)                                                                          \
    {                                                                                              \
#type, #name, offsetof(struct type, name), sizeof(((struct type *)0)->name)                \
    }

static const struct {
    const char *type, *field;
    size_t offset, size;
} fields[] = {
    FIELD(ts_meta, magic),
    FIELD(ts_meta, version),
    FIELD(ts_meta, type),
    FIELD(ts_meta, block_shift),
    FIELD(ts_meta, index_shift),
    FIELD(ts_meta, codec),
    FIELD(ts_meta, order),
    FIELD(ts_meta, duplicates),
    FIELD(ts_meta, compat),
    FIELD(ts_meta, incompat),
    FIELD(ts_meta, open_shift),
    FIELD(ts_meta, reserved),
    FIELD(ts_meta, num_blocks),
    FIELD(ts_meta, sync_ms),
    FIELD(ts_meta, store_id),
    FIELD(ts_meta, checksum),
    FIELD(ts_meta, generation),
    FIELD(ts_meta, tail_seq),
    FIELD(ts_meta, sealed_seq),
    FIELD(ts_head, magic),
    FIELD(ts_head, version),
    FIELD(ts_head, n_slots),
    FIELD(ts_head, open_shift),
    FIELD(ts_head, store_id),
    FIELD(ts_head, max_age_ns),
    FIELD(ts_head, max_future_ns),
    FIELD(ts_head, on_future),
    FIELD(ts_head, reserved1),
    FIELD(ts_head, checksum),
    FIELD(ts_head, sync_points),
    FIELD(ts_head, durable_no),
    FIELD(ts_head, writer_pid),
    FIELD(ts_head, reserved2),
    FIELD(ts_head, publish_count),
    FIELD(ts_head, reserved3),
    FIELD(ts_sync_point, counter),
    FIELD(ts_sync_point, sealed_seq),
    FIELD(ts_sync_point, durable_no),
    FIELD(ts_sync_point, ring_pos),
    FIELD(ts_sync_point, boot_id),
    FIELD(ts_sync_point, generation),
    FIELD(ts_sync_point, is_clean),
    FIELD(ts_sync_point, checksum),
    FIELD(ts_slot, seq),
    FIELD(ts_slot, first_no),
    FIELD(ts_slot, count),
    FIELD(ts_slot, flags),
    FIELD(ts_slot, opened_seq),
    FIELD(ts_slot, opened_no),
    FIELD(ts_slot, reserved),
    FIELD(ts_slot, checksum),
    FIELD(ts_slot_record, time_ns),
    FIELD(ts_slot_record, bytes),
    FIELD(ts_slot_record, series_no),
    FIELD(ts_slot_record, checksum),
    FIELD(ts_slot_record, flags),
    FIELD(ts_extent, checksum),
    FIELD(ts_extent, seq),
    FIELD(ts_extent, count),
    FIELD(ts_extent, stored_bytes),
    FIELD(ts_extent, raw_bytes),
    FIELD(ts_extent, dir_units),
    FIELD(ts_extent, codec),
    FIELD(ts_extent, flags),
    FIELD(ts_index_entry, seq),
    FIELD(ts_index_entry, first_no),
    FIELD(ts_index_entry, min_time_ns),
    FIELD(ts_index_entry, max_time_ns),
    FIELD(ts_index_entry, high_time_ns),
    FIELD(ts_index_entry, ring_pos),
    FIELD(ts_index_entry, extent_bytes),
    FIELD(ts_index_entry, count),
    FIELD(ts_index_entry, checksum),
};

static const struct {
    const char *type;
    size_t size;
} types[] = {
    {"ts_meta", sizeof(struct ts_meta)},
    {"ts_head", sizeof(struct ts_head)},
    {"ts_sync_point", sizeof(struct ts_sync_point)},
    {"ts_slot", sizeof(struct ts_slot)},
    {"ts_slot_record", sizeof(struct ts_slot_record)},
    {"ts_extent", sizeof(struct ts_extent)},
    {"ts_index_entry", sizeof(struct ts_index_entry)},
};

static FILE *
open_page(void)
{
    FILE *page = fopen("docs/format.md", "r");

    cr_assert_not_null(page, "docs/format.md: run the tests from the top of the tree");
    return page;
}

/* How the page's row "offset size field" of struct `type` compares. */
static void
check_row(const char *type, size_t offset, size_t size, const char *field, bool *is_seen)
{
    for (size_t i = 0; i < COUNTOF(fields); i++) {
        if (strcmp(fields[i].type, type) != 0 || strcmp(fields[i].field, field) != 0)
            continue;
        cr_expect_eq(fields[i].offset, offset, "%s.%s is at %zu, the page says %zu", type, field,
                     fields[i].offset, offset);
        cr_expect_eq(fields[i].size, size, "%s.%s has %zu bytes, the page says %zu", type, field,
                     fields[i].size, size);
        cr_expect_not(is_seen[i], "%s.%s is there twice", type, field);
        is_seen[i] = true;
        return;
    }
    cr_expect(false, "the page has a field %s.%s", type, field);
}

Test(format, the_tables_of_the_page_are_those_of_the_header)
{
    bool is_seen[COUNTOF(fields)] = {false}, is_type_seen[COUNTOF(types)] = {false};
    FILE *page = open_page();
    char line[1024], type[64] = "", field[64];
    size_t offset, size, end = 0;

    while (fgets(line, sizeof line, page) != NULL) {
        char name[64];

        if (sscanf(line, "### `struct %63[a-z_]`, %zu bytes", name, &size) == 2) {
            strcpy(type, name);
            end = 0;
            for (size_t i = 0; i < COUNTOF(types); i++)
                if (strcmp(types[i].type, type) == 0) {
                    cr_expect_eq(types[i].size, size, "%s", type);
                    is_type_seen[i] = true;
                }
        } else if (strncmp(line, "## ", 3) == 0) {
            type[0] = '\0';
        } else if (type[0] != '\0' &&
                   sscanf(line, "| %zu | %zu | `%63[a-z0-9_]` |", &offset, &size, field) == 3) {
            check_row(type, offset, size, field, is_seen);
            cr_expect_eq(offset, end, "%s.%s: rows do not follow each other", type, field);
            end = offset + size;
        }
    }
    fclose(page);
    for (size_t i = 0; i < COUNTOF(fields); i++)
        cr_expect(is_seen[i], "the page has no %s.%s", fields[i].type, fields[i].field);
    for (size_t i = 0; i < COUNTOF(types); i++)
        cr_expect(is_type_seen[i], "the page has no %s", types[i].type);
}

Test(format, the_fields_of_each_struct_fill_it)
{
    for (size_t t = 0; t < COUNTOF(types); t++) {
        size_t end = 0;

        for (size_t i = 0; i < COUNTOF(fields); i++) {
            if (strcmp(fields[i].type, types[t].type) != 0)
                continue;
            cr_expect_eq(fields[i].offset, end, "%s.%s", fields[i].type, fields[i].field);
            end = fields[i].offset + fields[i].size;
        }
        cr_expect_eq(end, types[t].size, "%s", types[t].type);
    }
}

/* Whichever way a block is hashed on this processor: the library's own function is the judge. */
Test(format, the_hash_is_xxh3_at_every_length)
{
    static uint8_t bytes[70000];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t n = 0; n < 3000; n++)
        cr_assert_eq(ts_hash(bytes + n % 9, n), XXH3_64bits(bytes + n % 9, n), "%zu", n);
    for (size_t n = 65000; n < 65600; n++)
        cr_assert_eq(ts_hash(bytes, n), XXH3_64bits(bytes, n), "%zu", n);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        for (size_t n = 0; n < 3000; n++)
            cr_assert_eq(ts_hash_avx2(bytes, n), XXH3_64bits(bytes, n), "%zu", n);
#endif
}

/* The page's formulas, written down again: a second reader has nothing else. */
Test(format, checksums_and_words_are_as_the_page_says)
{
    static const uint8_t bytes[100] = {1, 2, 3};
    uint64_t two[2] = {XXH3_64bits(bytes, 100), 100};
    const uint64_t record[2] = {XXH3_64bits(bytes, 5) ^ 77 * UINT64_C(0x9e3779b97f4a7c15),
                                ((uint64_t)5 << 32 | 9) ^ 88 * UINT64_C(0x517cc1b727220a95)};

    cr_expect_eq(ts_checksum(bytes, 100, 42), XXH3_64bits_withSeed(two, 16, 42));
    two[0] = 0x1234;
    two[1] = 7;
    cr_expect_eq(ts_seed(0x1234, 7), ts_checksum(two, 16, 0));
    cr_expect_eq(ts_record_checksum(42, 88, 77, 9, bytes, 5),
                 (uint32_t)XXH3_64bits_withSeed(record, 16, 42));
    for (unsigned salt = 1; salt <= 3; salt++)
        cr_expect_eq(ts_word_pack(1000, salt),
                     UINT64_C(1000) << 16 |
                         ((1000 + ((uint64_t)salt << 56)) * UINT64_C(0x9e3779b97f4a7c15)) >> 48);
    cr_expect_eq(TS_GENERATION_DROPPED, (UINT64_C(1) << 48) - 1);
    cr_expect(TS_EXTENT_DELTA == 1 && TS_EXTENT_SERIES == 2 && TS_EXTENT_JUMP == 4 &&
              TS_EXTENT_DAMAGED == 8 && TS_RECORD_DELETED == 1 && TS_RECORD_DAMAGED == 2 &&
              TS_RECORD_MORE == UINT32_C(1) << 31 && TS_HEAD_SLOTS == 2 &&
              TS_SLOT_HEADER_BYTES == 64 && TS_FORMAT_VERSION == 1);
    cr_expect(memcmp(TS_META_MAGIC, "TSSTORE\x1a", 8) == 0 &&
              memcmp(TS_HEAD_MAGIC, "TSHEAD\r\n", 8) == 0);
}

/* Reads records out of the files by the page alone, with none of the library's readers. */
static uint64_t
read_by_the_page(const struct image *image, uint64_t *out_bytes)
{
    const uint8_t *meta = image->file[TS_FILE_META], *head = image->file[TS_FILE_HEAD];
    const uint8_t *data = image->file[TS_FILE_DATA], *index = image->file[TS_FILE_INDEX];
    const uint64_t ring = (uint64_t) * (const uint32_t *)(const void *)(meta + 24) << meta[11];
    const uint64_t tail = *(const uint64_t *)(const void *)(meta + 48) >> 16;
    const uint64_t sealed = *(const uint64_t *)(const void *)(meta + 56) >> 16;
    const uint64_t n_entries = image->bytes[TS_FILE_INDEX] / 64;
    const size_t open = (size_t)1 << meta[20];
    uint64_t n = 0;

    for (uint64_t seq = tail; seq <= sealed; seq++) {
        const uint8_t *entry = index + (seq - 1) % n_entries * 64;
        const uint64_t pos = *(const uint64_t *)(const void *)(entry + 40);
        uint8_t header[32];
        uint32_t count;

        cr_assert_eq(*(const uint64_t *)(const void *)entry, seq);
        for (size_t i = 0; i < sizeof header; i++)
            header[i] = data[(pos + i) % ring];
        cr_assert_eq(header[30], 0, "this store is not compressed");
        memcpy(&count, header + 16, sizeof count);
        for (uint32_t i = 0; i < count; i++) {
            uint8_t end[8] = {0}, body[64];
            uint32_t from, to;

            for (size_t k = 0; k < 8; k++)
                end[k] = data[(pos + 32 + 8 * count + 4 * i + k - 4) % ring];
            memcpy(&from, end, 4);
            memcpy(&to, end + 4, 4);
            from = i == 0 ? 0 : from;
            for (uint32_t k = from; k < to && k - from < sizeof body; k++)
                body[k - from] = data[(pos + 32 + 12 * count + k) % ring];
            cr_assert(record_is(*(const uint64_t *)(const void *)(entry + 8) + i, body, to - from));
            *out_bytes += to - from;
            n++;
        }
    }
    for (int s = 0; s < 2; s++) {
        const uint8_t *slot = head + 512 + (size_t)s * open;
        uint32_t count;

        if (*(const uint64_t *)(const void *)slot <= sealed)
            continue;
        memcpy(&count, slot + 16, sizeof count);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t off, bytes;

            memcpy(&off, slot + open - 4 * (i + 1), sizeof off);
            memcpy(&bytes, slot + off + 8, sizeof bytes);
            cr_assert(
                record_is(*(const uint64_t *)(const void *)(slot + 8) + i, slot + off + 24, bytes));
            *out_bytes += bytes;
            n++;
        }
    }
    return n;
}

Test(format, a_reader_written_from_the_page_finds_every_record)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    uint64_t want_bytes = 0, bytes = 0, n;
    struct ts_state state;
    struct image image;

    for (uint64_t id = 1; id <= 400; id++)
        must_append(store, id, (int64_t)id, id % 50);
    wait_for_sealer(store);
    ts_view_state(ts_store_view(store), &state);
    for (uint64_t no = state.oldest_no; no < state.next_no; no++)
        want_bytes += no % 50;
    must_close(store);
    image_take(&image, STORE);
    n = read_by_the_page(&image, &bytes);
    cr_expect_eq(n, state.next_no - state.oldest_no);
    cr_expect_eq(bytes, want_bytes);
    image_free(&image);
}
