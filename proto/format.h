/* format.h - every byte a store has on disk, and who may touch it while it is mapped.
 *
 * Purpose    The structs of meta.tsdb, head.tsdb, index.tsdb and of the extents in data.tsdb.
 *            docs/format.md is the page to read with it; a unit test compares the two.
 * Invariant  Little endian, naturally aligned, padding explicit and zero, no file ever grows.
 *            Words marked _Atomic change while readers look; all others are written once, before
 *            the word that publishes them.
 * Threads    One writer process (its threads hold the store's lock or are the sealer). Readers
 *            are any thread of any process, through the accessors named beside each word.
 * Units      bytes; block sequence numbers and record numbers start at 1.
 */
#ifndef TS_FORMAT_H
#define TS_FORMAT_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the format is little endian; a big endian port needs conversion in every accessor"
#endif

#define TS_FORMAT_VERSION 1
#define TS_META_MAGIC "TSSTORE\x1a"
#define TS_HEAD_MAGIC "TSHEAD\r\n"
#define TS_META_FILE "meta.tsdb"
#define TS_DATA_FILE "data.tsdb"
#define TS_HEAD_FILE "head.tsdb"
#define TS_INDEX_FILE "index.tsdb"

/* Feature words: a compatible bit may be unknown to a reader, an incompatible one may not. */
#define TS_COMPAT_KNOWN 0u
#define TS_INCOMPAT_KNOWN 0u

/* ---- meta.tsdb: one cache line, one sector ----
 *
 * The last three words carry 48 bits of value and 16 of check each (ts_word_pack() in
 * common/meta.h): they move one at a time, so no checksum over the line could stay true. */
struct ts_meta {
    char magic[8];               /*  0.. 7 TS_META_MAGIC */
    uint16_t version;            /*  8.. 9 TS_FORMAT_VERSION */
    uint8_t type;                /* 10     enum ts_type */
    uint8_t block_shift;         /* 11     log2 of data_block_bytes */
    uint8_t index_shift;         /* 12     log2 of index_block_bytes */
    uint8_t codec;               /* 13     enum ts_codec */
    uint8_t order;               /* 14     enum ts_order */
    uint8_t duplicates;          /* 15     enum ts_duplicates */
    uint16_t compat;             /* 16..17 compatible features */
    uint16_t incompat;           /* 18..19 incompatible features */
    uint8_t open_shift;          /* 20     log2 of the bytes of an open block in head.tsdb */
    uint8_t reserved[3];         /* 21..23 zero */
    uint32_t num_blocks;         /* 24..27 */
    uint32_t sync_ms;            /* 28..31 0 each, UINT32_MAX none, else the interval */
    uint32_t store_id;           /* 32..35 random; seeds every checksum of the store */
    uint32_t checksum;           /* 36..39 XXH3 of bytes 0..35, low half */
    _Atomic uint64_t generation; /* 40..47 writer, release; readers acquire. Raised by reset */
    _Atomic uint64_t tail_seq;   /* 48..55 writer, then a release FENCE (common/ring.c); the
                                  *        oldest block that is still whole */
    _Atomic uint64_t sealed_seq; /* 56..63 writer, release; readers acquire. The newest block
                                  *        in the ring; 0 before the first */
};
static_assert(sizeof(struct ts_meta) == 64, "one sector");
static_assert(offsetof(struct ts_meta, compat) == 16, "natural = packed");
static_assert(offsetof(struct ts_meta, num_blocks) == 24, "natural = packed");
static_assert(offsetof(struct ts_meta, checksum) == 36, "natural = packed");
static_assert(offsetof(struct ts_meta, generation) == 40, "natural = packed");
static_assert(offsetof(struct ts_meta, sealed_seq) == 56, "natural = packed");

#define TS_WORD_MAX ((UINT64_C(1) << 48) - 1)
#define TS_GENERATION_DROPPED TS_WORD_MAX /* the store was removed while mapped */

/* ---- index.tsdb: a ring of entries; block seq is at (seq - 1) % n_entries ---- */
struct ts_index_entry {
    uint64_t seq;         /*  0.. 7 block sequence number, from 1 */
    uint64_t first_no;    /*  8..15 record number of the first record */
    int64_t min_time_ns;  /* 16..23 */
    int64_t max_time_ns;  /* 24..31 */
    int64_t high_time_ns; /* 32..39 greatest time of this and all earlier blocks */
    uint64_t ring_pos; /* 40..47 where the extent starts: bytes since creation, never wrapped; the
                        *        file offset is ring_pos % ring bytes */
    uint32_t extent_bytes; /* 48..51 whole extent, a multiple of 8 */
    uint32_t count;        /* 52..55 records */
    uint64_t checksum;     /* 56..63 XXH3 of bytes 0..55, seeded with store and generation */
};
static_assert(sizeof(struct ts_index_entry) == 64, "one cache line");
static_assert(offsetof(struct ts_index_entry, extent_bytes) == 48, "natural = packed");
static_assert(offsetof(struct ts_index_entry, checksum) == 56, "natural = packed");

/* ---- data.tsdb: extents, back to back, wrapping at the end of the file ----
 *
 *   header 32 | series directory | payload | pad to 8 | delete map
 *
 * The payload, when codec is none or after decompression, is columns of `count` entries:
 *   time_ns  int64   differences to the entry before when TS_EXTENT_DELTA is set (compressed)
 *   end      uint32  end of the record's body, from the start of bodies; lengths when DELTA
 *   series   uint32  only with TS_EXTENT_SERIES
 *   bodies   the records, back to back
 * The delete map has one bit per record, set when it is deleted, padded to 8 bytes; it is the
 * only part that changes after sealing and so outside the checksum. */
struct ts_extent {
    uint64_t checksum;     /*  0.. 7 XXH3 of bytes 8..31 and of directory and payload, seeded */
    uint64_t seq;          /*  8..15 */
    uint32_t count;        /* 16..19 */
    uint32_t stored_bytes; /* 20..23 payload as it lies here, without pad */
    uint32_t raw_bytes;    /* 24..27 payload before compression */
    uint16_t dir_units;    /* 28..29 series directory, in units of 8 bytes */
    uint8_t codec;         /* 30     enum ts_codec of this payload */
    uint8_t flags;         /* 31     TS_EXTENT_... */
};
static_assert(sizeof(struct ts_extent) == 32, "no padding");
static_assert(offsetof(struct ts_extent, dir_units) == 28, "natural = packed");

#define TS_EXTENT_DELTA 1u  /* columns are differences */
#define TS_EXTENT_SERIES 2u /* series column and directory are there */
#define TS_EXTENT_JUMP 4u   /* numbers before first_no were skipped, not lost (power failure) */
#define TS_EXTENT_DAMAGED                                                                          \
    8u /* behind the bodies: a bit per record whose bytes were damaged before                      \
        * it was sealed, padded to 8 bytes */

/* Bytes a record costs in an extent besides its body (time and end). */
#define TS_EXTENT_RECORD_BYTES 12u

/* ---- head.tsdb: a header, then TS_HEAD_SLOTS open blocks ---- */

/* What was durable at the last sync. It goes to the disk right behind every sync of the ring, so
 * sealed_seq is exact; durable_no may be one sync behind. */
struct ts_sync_point {
    uint64_t counter;    /*  0.. 7 the higher of the two copies is the newer; 0 never written */
    uint64_t sealed_seq; /*  8..15 blocks up to here were durable in the ring */
    uint64_t durable_no; /* 16..23 records up to here were durable; no number up to here is ever
                          * given out again */
    uint64_t ring_pos;   /* 24..31 end of block sealed_seq */
    uint8_t boot_id[16]; /* 32..47 the kernel's, of the writer */
    uint64_t generation; /* 48..55 */
    uint32_t is_clean;   /* 56..59 1: closed in order, nothing was written since */
    uint32_t checksum;   /* 60..63 XXH3 of bytes 0..59, low half, seeded with the store */
};
static_assert(sizeof(struct ts_sync_point) == 64, "one sector");
static_assert(offsetof(struct ts_sync_point, boot_id) == 32, "natural = packed");
static_assert(offsetof(struct ts_sync_point, checksum) == 60, "natural = packed");

struct ts_head {
    char magic[8];         /*   0..  7 TS_HEAD_MAGIC */
    uint16_t version;      /*   8..  9 */
    uint8_t n_slots;       /*  10      TS_HEAD_SLOTS */
    uint8_t open_shift;    /*  11      as in meta */
    uint32_t store_id;     /*  12.. 15 as in meta */
    int64_t max_age_ns;    /*  16.. 23 older records are invisible; 0: none */
    int64_t max_future_ns; /*  24.. 31 how far ahead of the clock a time may be; 0: any */
    uint8_t on_future;     /*  32      enum ts_on_future: what befalls one that is not */
    uint8_t reserved1[27]; /*  33.. 59 zero */
    uint32_t checksum;     /*  60.. 63 XXH3 of bytes 0..59, low half */
    struct ts_sync_point sync_points[2]; /* 64..191 writer's sync thread; read at open only */
    _Atomic uint64_t durable_no;         /* 192..199 writer release; stats of readers acquire */
    _Atomic uint32_t writer_pid;    /* 200..203 writer, relaxed: who holds the lock, for messages */
    uint8_t reserved2[52];          /* 204..255 zero */
    _Atomic uint32_t publish_count; /* 256..259 writer: raised after each published batch; readers
                                     *          poll it or sleep on it (futex) */
    uint8_t reserved3[252];         /* 260..511 zero */
};
static_assert(sizeof(struct ts_head) == 512, "a sector");
static_assert(offsetof(struct ts_head, max_age_ns) == 16, "natural = packed");
static_assert(offsetof(struct ts_head, sync_points) == 64, "natural = packed");
static_assert(offsetof(struct ts_head, durable_no) == 192, "natural = packed");
static_assert(offsetof(struct ts_head, publish_count) == 256, "a cache line of its own");

#define TS_HEAD_SLOTS 2u
#define TS_SLOT_HEADER_BYTES 64u

/* An open block. Records grow up from TS_SLOT_HEADER_BYTES; from the end of the block an array
 * of uint32 grows down, entry i at -4 (i + 1), the offset of record i from the block's start.
 * A record's bytes and its array entry are written before `count` counts it. */
struct ts_slot {
    _Atomic uint64_t seq; /*  0.. 7 writer. To reuse the block: 0, release and fence, new bytes,
                           *        then the new number, release. Readers acquire it first, copy,
                           *        acquire fence, and look again */
    _Atomic uint64_t first_no; /*  8..15 written while seq is 0 */
    _Atomic uint32_t count;    /* 16..19 writer release: publishes the record; readers acquire */
    uint32_t flags;            /* 20..23 TS_EXTENT_JUMP */
    uint64_t opened_seq; /* 24..31 as seq: recovery goes by it, readers compare it when they open */
    uint64_t opened_no;  /* 32..39 as first_no, likewise */
    uint8_t reserved[16]; /* 40..55 zero */
    uint64_t checksum;    /* 56..63 XXH3 of flags, opened_seq, opened_no as uint64, seeded */
};
static_assert(sizeof(struct ts_slot) == TS_SLOT_HEADER_BYTES, "one cache line");
static_assert(offsetof(struct ts_slot, flags) == 20, "natural = packed");
static_assert(offsetof(struct ts_slot, opened_seq) == 24, "natural = packed");
static_assert(offsetof(struct ts_slot, checksum) == 56, "natural = packed");

/* A record of an open block; its body follows, padded to 8 bytes. */
struct ts_slot_record {
    int64_t time_ns; /*  0.. 7 */
    uint32_t bytes;  /*  8..11 body; with TS_RECORD_MORE the next record is of the same batch, and
                      *        counts only together with this one */
    uint32_t series_no; /* 12..15 0: none */
    uint32_t checksum;  /* 16..19 of body, time, bytes, series, record number and the store's seed:
                         *        a record proves its own number. See common/head.c */
    _Atomic uint32_t flags; /* 20..23 TS_RECORD_...; not in the checksum, changes in place */
};
static_assert(sizeof(struct ts_slot_record) == 24, "no padding");
static_assert(offsetof(struct ts_slot_record, flags) == 20, "natural = packed");

#define TS_RECORD_MORE (UINT32_C(1) << 31)
#define TS_RECORD_BYTES(field) ((field) & ~TS_RECORD_MORE)

#define TS_RECORD_DELETED 1u
#define TS_RECORD_DAMAGED 2u /* its bytes failed the checksum at recovery: its number was kept */

/* ---- series.tsdb: which number means which key; only in keyed stores ----
 *
 *   header 64 | buckets, uint32 | entries, 64 | hot words, 16, padded to 64 | chunks, 64
 *
 * Series and chunks are counted from 1; 0 is none. Nothing here straddles a sector. */
#define TS_SERIES_FILE "series.tsdb"
#define TS_SERIES_MAGIC "TSSERIES"

struct ts_series_head {
    char magic[8];           /*  0.. 7 TS_SERIES_MAGIC */
    uint16_t version;        /*  8.. 9 TS_FORMAT_VERSION */
    uint8_t reserved1[2];    /* 10..11 zero */
    uint32_t store_id;       /* 12..15 as in meta */
    uint32_t n_series;       /* 16..19 entries */
    uint32_t n_chunks;       /* 20..23 */
    uint32_t n_buckets;      /* 24..27 the power of two that n_series asks for, at least 16 */
    uint32_t checksum;       /* 28..31 XXH3 of bytes 0..27, low half */
    _Atomic uint64_t change; /* 32..39 writer: odd and a release fence before a change, even with
                              *        release behind it. Readers that found nothing look again if
                              *        it moved meanwhile */
    uint8_t reserved2[24];   /* 40..63 zero */
};
static_assert(sizeof(struct ts_series_head) == 64, "one cache line");
static_assert(offsetof(struct ts_series_head, store_id) == 12, "natural = packed");
static_assert(offsetof(struct ts_series_head, checksum) == 28, "natural = packed");
static_assert(offsetof(struct ts_series_head, change) == 32, "natural = packed");

#define TS_SERIES_INLINE_BYTES 32u

/* A key and its number. All but `next` is written while `checksum` is 0, then a release fence,
 * then the checksum, then the link that leads here, release. To free it: the link, checksum 0, a
 * release fence, zeros; `next` stays for readers who stand here. */
struct ts_series_entry {
    uint64_t checksum;    /*  0.. 7 XXH3 of bytes 12..63 and of the rest of the key, seeded with the
                           *        store and the number */
    uint32_t next;        /*  8..11 in the hash chain, always greater than the own number; writer
                           *        release, readers acquire, as the buckets */
    uint32_t first_chunk; /* 12..15 0: the key is no longer than TS_SERIES_INLINE_BYTES */
    uint64_t born_no;     /* 16..23 records below it are of an earlier series of this number */
    uint32_t hash;        /* 24..27 XXH3 of the key, seeded, low half */
    uint16_t key_bytes;   /* 28..29 1 to TS_MAX_KEY_BYTES */
    uint8_t state;        /* 30     TS_SERIES_FREE, TS_SERIES_USED */
    uint8_t reserved;     /* 31     zero */
    uint8_t key[TS_SERIES_INLINE_BYTES]; /* 32..63 the first bytes, then zeros */
};
static_assert(sizeof(struct ts_series_entry) == 64, "one cache line");
static_assert(offsetof(struct ts_series_entry, first_chunk) == 12, "natural = packed");
static_assert(offsetof(struct ts_series_entry, hash) == 24, "natural = packed");
static_assert(offsetof(struct ts_series_entry, key) == 32, "natural = packed");

#define TS_SERIES_FREE 0u
#define TS_SERIES_USED 1u

/* What sealing moves, apart from the entries so that it dirties few pages. Each word carries 48
 * bits of value and 16 of check, as those of meta.tsdb. */
struct ts_series_hot {
    _Atomic uint64_t newest_seq; /*  0.. 7 no sealed block behind this one holds the series; writer
                                  *        release, readers acquire */
    _Atomic uint64_t before_seq; /*  8..15 what newest_seq was before; written before it */
};
static_assert(sizeof(struct ts_series_hot) == 16, "no padding");
static_assert(offsetof(struct ts_series_hot, before_seq) == 8, "natural = packed");

#define TS_SERIES_CHUNK_BYTES 60u

/* The rest of a longer key. */
struct ts_series_chunk {
    uint8_t key[TS_SERIES_CHUNK_BYTES]; /*  0..59 the last one is filled up with zeros */
    uint32_t next;                      /* 60..63 looked at only if the key is not complete */
};
static_assert(sizeof(struct ts_series_chunk) == 64, "one cache line");
static_assert(offsetof(struct ts_series_chunk, next) == 60, "natural = packed");

#endif
