/* extent.c - columns, zstd, checksum. The layout is drawn in proto/format.h. */
#include "common/extent.h"

#include "common/checksum.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* The fastest of the ordinary levels; the others were not compared. */
#define ZSTD_LEVEL 1
/* A codec has to save more than this, or reading would pay for nothing. */
#define WORTH_BYTES 16
/* A bit for each record that the largest open block can hold. */
#define SLOT_MAP_WORDS (65536 / sizeof(struct ts_slot_record) / 64 + 1)

static enum ts_err
reserve(uint8_t **buffer, size_t *capacity, size_t bytes)
{
    uint8_t *grown;

    if (bytes <= *capacity)
        return TS_OK;
    grown = realloc(*buffer, bytes);
    if (grown == NULL)
        return TS_FAIL(TS_E_NOMEM, "out of memory for a block of %zu bytes", bytes);
    *buffer = grown;
    *capacity = bytes;
    return TS_OK;
}

void
ts_extent_writer_done(struct ts_extent_writer *writer)
{
    free(writer->extent);
    free(writer->plain);
    ZSTD_freeCCtx(writer->zstd);
    *writer = (struct ts_extent_writer){0};
}

void
ts_block_done(struct ts_block *block)
{
    free(block->extent);
    free(block->plain);
    ZSTD_freeDCtx(block->zstd);
    *block = (struct ts_block){0};
}

enum ts_err
ts_block_reserve(struct ts_block *block, size_t bytes)
{
    block->seq = 0;
    return reserve(&block->extent, &block->extent_capacity, bytes);
}

static uint64_t
extent_checksum(const uint8_t *extent, size_t payload_end, uint64_t seed)
{
    return ts_checksum(extent + sizeof(uint64_t), payload_end - sizeof(uint64_t), seed);
}

/* Columns to differences, so that zstd sees small numbers. In place. */
static void
delta_columns(uint8_t *plain, uint32_t count)
{
    int64_t *times = (int64_t *)(void *)plain;
    uint32_t *ends = (uint32_t *)(void *)(plain + (size_t)count * sizeof(int64_t));

    for (uint32_t i = count; i-- > 1;) {
        times[i] = (int64_t)((uint64_t)times[i] - (uint64_t)times[i - 1]);
        ends[i] -= ends[i - 1];
    }
}

static void
undelta_columns(uint8_t *plain, uint32_t count)
{
    int64_t *times = (int64_t *)(void *)plain;
    uint32_t *ends = (uint32_t *)(void *)(plain + (size_t)count * sizeof(int64_t));

    for (uint32_t i = 1; i < count; i++) {
        times[i] = (int64_t)((uint64_t)times[i] + (uint64_t)times[i - 1]);
        ends[i] += ends[i - 1];
    }
}

/* Compresses plain[0..raw_bytes) behind the extent's header. False if it does not pay. */
static bool
compress_plain(struct ts_extent_writer *writer, size_t raw_bytes, size_t *out_stored)
{
    size_t stored;

    if (writer->zstd == NULL)
        writer->zstd = ZSTD_createCCtx();
    if (writer->zstd == NULL || raw_bytes <= WORTH_BYTES)
        return false; /* without memory for a context the block is kept raw: nothing is lost */
    stored = ZSTD_compressCCtx(writer->zstd, writer->extent + sizeof(struct ts_extent),
                               raw_bytes - WORTH_BYTES, writer->plain, raw_bytes, ZSTD_LEVEL);
    if (ZSTD_isError(stored))
        return false;
    *out_stored = stored;
    return true;
}

/* Room for an extent of `raw_bytes` of payload, and for the payload. */
static enum ts_err
reserve_extent(struct ts_extent_writer *writer, uint32_t count, uint64_t body_bytes,
               size_t raw_bytes, enum ts_codec codec)
{
    enum ts_err err = reserve(&writer->extent, &writer->extent_capacity,
                              (size_t)ts_extent_raw_bytes(count, body_bytes));

    if (err == TS_OK && codec != TS_CODEC_NONE)
        err = reserve(&writer->plain, &writer->plain_capacity, raw_bytes);
    return err;
}

/* Where the payload is put together: in its place, unless it is to be compressed. */
static uint8_t *
payload_of(const struct ts_extent_writer *writer, enum ts_codec codec)
{
    return codec == TS_CODEC_NONE ? writer->extent + sizeof(struct ts_extent) : writer->plain;
}

/* Finishes the extent from what was put together in payload_of(). */
static void
finish_extent(struct ts_extent_writer *writer, uint64_t seq, uint32_t count, size_t raw_bytes,
              unsigned flags, const uint64_t *delete_map, enum ts_codec codec, uint64_t seed)
{
    const size_t map_bytes = ((size_t)count + 63) / 64 * 8;
    struct ts_extent header = {
        .seq = seq, .count = count, .raw_bytes = (uint32_t)raw_bytes, .flags = (uint8_t)flags};
    size_t stored = raw_bytes;
    size_t payload_end, padded_end;

    header.codec = TS_CODEC_NONE;
    if (codec == TS_CODEC_ZSTD) {
        delta_columns(writer->plain, count);
        if (compress_plain(writer, raw_bytes, &stored)) {
            header.codec = TS_CODEC_ZSTD;
            header.flags |= TS_EXTENT_DELTA;
        } else {
            undelta_columns(writer->plain, count);
        }
    }
    if (header.codec != codec)
        memcpy(writer->extent + sizeof header, writer->plain, raw_bytes);
    header.stored_bytes = (uint32_t)stored;
    memcpy(writer->extent, &header, sizeof header);
    payload_end = sizeof header + stored;
    padded_end = TS_PAD8(payload_end);
    memset(writer->extent + payload_end, 0, padded_end - payload_end);
    header.checksum = extent_checksum(writer->extent, payload_end, seed);
    memcpy(writer->extent, &header.checksum, sizeof header.checksum);
    memcpy(writer->extent + padded_end, delete_map, map_bytes);
    writer->extent_bytes = padded_end + map_bytes;
    writer->count = count;
}

enum ts_err
ts_extent_from_slot(struct ts_extent_writer *writer, const struct ts_slot *slot,
                    uint32_t open_bytes, const struct ts_slot_look *look, enum ts_codec codec,
                    uint64_t seed)
{
    const uint32_t count = look->count;
    const size_t columns = (size_t)count * TS_EXTENT_RECORD_BYTES;
    uint64_t delete_map[SLOT_MAP_WORDS] = {0}, damaged_map[SLOT_MAP_WORDS] = {0};
    const size_t map_bytes = ((size_t)count + 63) / 64 * 8;
    unsigned flags = look->flags;
    uint8_t *plain;
    int64_t *times;
    uint32_t *ends;
    uint32_t end = 0;
    enum ts_err err;

    /* A record costs less in columns than in the open block. Behind the good bodies there must be
     * room to read one more, whatever its length claims to be. */
    assert(count > 0 && columns <= open_bytes && map_bytes <= sizeof delete_map);
    err = reserve_extent(writer, count, 2 * (uint64_t)open_bytes + map_bytes,
                         columns + 2 * (size_t)open_bytes + map_bytes, codec);
    if (err != TS_OK)
        return err;
    plain = payload_of(writer, codec);
    times = (int64_t *)(void *)plain;
    ends = (uint32_t *)(void *)(plain + (size_t)count * sizeof(int64_t));
    writer->n_damaged = 0;
    writer->min_time_ns = writer->max_time_ns = INT64_MIN;
    for (uint32_t i = 0; i < count; i++) {
        struct ts_record record = {.time_ns = writer->max_time_ns};
        const enum ts_slot_answer answer =
            ts_slot_read(slot, open_bytes, seed, look, i, plain + columns + end, &record);

        /* The number of a damaged record stays, its bytes are worth nothing. */
        if ((answer != TS_SLOT_RECORD && answer != TS_SLOT_DELETED) ||
            record.bytes > open_bytes - end) {
            record = (struct ts_record){.time_ns = writer->max_time_ns};
            damaged_map[i / 64] |= UINT64_C(1) << (i % 64);
            writer->n_damaged++;
        } else if (writer->max_time_ns == INT64_MIN) {
            writer->min_time_ns = record.time_ns;
        }
        if (answer == TS_SLOT_DELETED)
            delete_map[i / 64] |= UINT64_C(1) << (i % 64);
        writer->max_time_ns = record.time_ns;
        end += (uint32_t)record.bytes;
        times[i] = record.time_ns;
        ends[i] = end;
    }
    if (writer->n_damaged > 0) {
        flags |= TS_EXTENT_DAMAGED;
        memcpy(plain + columns + end, damaged_map, map_bytes);
        end += (uint32_t)map_bytes;
    }
    finish_extent(writer, look->seq, count, columns + end, flags, delete_map, codec, seed);
    return TS_OK;
}

/* Columns and bodies of a block as its writer left it. False if it is not that any more. */
static bool
gather_fresh(struct ts_extent_writer *writer, const struct ts_open_block *block, uint8_t *plain,
             uint64_t *delete_map)
{
    const uint8_t *const base = (const uint8_t *)block->slot;
    int64_t *const times = (int64_t *)(void *)plain;
    uint32_t *const ends = (uint32_t *)(void *)(plain + (size_t)block->count * sizeof *times);
    uint8_t *const bodies = plain + (size_t)block->count * TS_EXTENT_RECORD_BYTES;
    uint32_t at = TS_SLOT_HEADER_BYTES, end = 0;

    for (uint32_t i = 0; i < block->count; i++) {
        /* A struct ts_slot_record by its words, as head.c puts them there. */
        const uint64_t time_word = ts_load_u64(base + at);
        const uint32_t bytes = TS_RECORD_BYTES(ts_load_u32(base + at + 8));
        const uint32_t flags = ts_load_u32(base + at + 20);

        at += (uint32_t)sizeof(struct ts_slot_record);
        if (bytes > block->body_bytes - end || TS_PAD8(bytes) > block->used_bytes - at ||
            (flags & ~TS_RECORD_DELETED) != 0)
            return false;
        if (flags != 0)
            delete_map[i / 64] |= UINT64_C(1) << (i % 64);
        ts_copy_out(bodies + end, base + at, bytes);
        at += (uint32_t)TS_PAD8(bytes);
        end += bytes;
        times[i] = (int64_t)time_word;
        ends[i] = end;
    }
    writer->n_damaged = 0;
    writer->min_time_ns = times[0];
    writer->max_time_ns = times[block->count - 1];
    return at == block->used_bytes && end == block->body_bytes;
}

enum ts_err
ts_extent_from_fresh(struct ts_extent_writer *writer, const struct ts_open_block *block,
                     unsigned flags, enum ts_codec codec)
{
    const size_t raw_bytes = (size_t)block->count * TS_EXTENT_RECORD_BYTES + block->body_bytes;
    uint64_t delete_map[SLOT_MAP_WORDS] = {0};
    const enum ts_err err =
        reserve_extent(writer, block->count, block->body_bytes, raw_bytes, codec);

    assert(block->count > 0 && block->count / 64 < SLOT_MAP_WORDS);
    if (err != TS_OK)
        return err;
    if (!gather_fresh(writer, block, payload_of(writer, codec), delete_map)) {
        const struct ts_slot_look look = {
            .seq = block->seq, .first_no = block->first_no, .count = block->count, .flags = flags};

        return ts_extent_from_slot(writer, block->slot, block->open_bytes, &look, codec,
                                   block->seed);
    }
    finish_extent(writer, block->seq, block->count, raw_bytes, flags, delete_map, codec,
                  block->seed);
    return TS_OK;
}

enum ts_err
ts_extent_from_items(struct ts_extent_writer *writer, uint64_t seq,
                     const struct ts_batch_item *items, uint32_t n, uint64_t body_bytes,
                     enum ts_codec codec, uint64_t seed)
{
    const size_t columns = (size_t)n * TS_EXTENT_RECORD_BYTES;
    uint64_t *no_deletes;
    uint8_t *plain;
    int64_t *times;
    uint32_t *ends;
    uint32_t end = 0;
    enum ts_err err;

    assert(n > 0);
    err = reserve_extent(writer, n, body_bytes, columns + body_bytes, codec);
    if (err != TS_OK)
        return err;
    no_deletes = calloc(((size_t)n + 63) / 64, sizeof *no_deletes);
    if (no_deletes == NULL)
        return TS_FAIL(TS_E_NOMEM, "out of memory for a block of %u records", n);
    plain = payload_of(writer, codec);
    times = (int64_t *)(void *)plain;
    ends = (uint32_t *)(void *)(plain + (size_t)n * sizeof(int64_t));
    for (uint32_t i = 0; i < n; i++) {
        if (items[i].bytes > 0)
            memcpy(plain + columns + end, items[i].data, items[i].bytes);
        end += (uint32_t)items[i].bytes;
        times[i] = items[i].done.time_ns;
        ends[i] = end;
    }
    writer->min_time_ns = times[0];
    writer->max_time_ns = times[n - 1];
    finish_extent(writer, seq, n, columns + end, 0, no_deletes, codec, seed);
    free(no_deletes);
    return TS_OK;
}

/* ---- back ---- */

static enum ts_err
refuse(struct ts_block *block, size_t offset, const char *what)
{
    block->seq = 0;
    return TS_FAIL(TS_E_CORRUPT, "byte %zu of the block: %s", offset, what);
}

static enum ts_err
decompress(struct ts_block *block, const struct ts_extent *header, const uint8_t *payload)
{
    enum ts_err err;
    size_t n;

    err = reserve(&block->plain, &block->plain_capacity, header->raw_bytes);
    if (err != TS_OK)
        return err;
    if (block->zstd == NULL)
        block->zstd = ZSTD_createDCtx();
    if (block->zstd == NULL)
        return TS_FAIL(TS_E_NOMEM, "out of memory for a zstd context");
    n = ZSTD_decompressDCtx(block->zstd, block->plain, header->raw_bytes, payload,
                            header->stored_bytes);
    if (ZSTD_isError(n) || n != header->raw_bytes)
        return refuse(block, sizeof *header, "zstd cannot read it");
    return TS_OK;
}

/* Columns of a payload that passed its checksum are checked all the same: a newer writer's bug
 * must not become a reader's overrun. */
static enum ts_err
check_columns(struct ts_block *block, uint32_t count, size_t raw_bytes, unsigned flags)
{
    const size_t columns = (size_t)count * TS_EXTENT_RECORD_BYTES;
    const size_t damaged_bytes = flags & TS_EXTENT_DAMAGED ? ((size_t)count + 63) / 64 * 8 : 0;
    uint32_t end = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (block->end[i] < end)
            return refuse(block, sizeof(struct ts_extent), "bodies overlap");
        end = block->end[i];
    }
    if (columns + end + damaged_bytes != raw_bytes)
        return refuse(block, sizeof(struct ts_extent), "bodies do not fill the block");
    block->damaged_map = damaged_bytes > 0 ? block->bodies + end : NULL;
    return TS_OK;
}

enum ts_err
ts_extent_decode(struct ts_block *block, size_t bytes, uint64_t seq, uint64_t first_no,
                 uint32_t count, uint64_t raw_limit, uint64_t seed)
{
    const size_t map_bytes = ((size_t)count + 63) / 64 * 8;
    const uint8_t *payload = block->extent + sizeof(struct ts_extent);
    struct ts_extent header;
    enum ts_err err = TS_OK;

    if (bytes < sizeof header)
        return refuse(block, 0, "too short");
    memcpy(&header, block->extent, sizeof header);
    if (header.seq != seq || header.count != count || count == 0)
        return refuse(block, 8, "it is not the block that the index names");
    if ((uint64_t)sizeof header + TS_PAD8((uint64_t)header.stored_bytes) + map_bytes != bytes ||
        header.raw_bytes > raw_limit ||
        header.raw_bytes < (uint64_t)count * TS_EXTENT_RECORD_BYTES || header.dir_units != 0 ||
        (header.flags & ~(TS_EXTENT_DELTA | TS_EXTENT_JUMP | TS_EXTENT_DAMAGED)) != 0)
        return refuse(block, 16, "impossible lengths");
    if (header.checksum !=
        extent_checksum(block->extent, sizeof header + header.stored_bytes, seed))
        return refuse(block, 0, "checksum mismatch");
    if (header.codec == TS_CODEC_ZSTD) {
        err = decompress(block, &header, payload);
        if (err != TS_OK)
            return err;
        payload = block->plain;
        if (header.flags & TS_EXTENT_DELTA)
            undelta_columns(block->plain, count);
    } else if (header.codec != TS_CODEC_NONE || header.raw_bytes != header.stored_bytes) {
        return refuse(block, 30, "unknown codec");
    }
    block->seq = seq;
    block->first_no = first_no;
    block->count = count;
    block->time_ns = (const int64_t *)(const void *)payload;
    block->end = (const uint32_t *)(const void *)(payload + (size_t)count * sizeof(int64_t));
    block->bodies = payload + (size_t)count * TS_EXTENT_RECORD_BYTES;
    block->delete_map = block->extent + bytes - map_bytes;
    return check_columns(block, count, header.raw_bytes, header.flags);
}
