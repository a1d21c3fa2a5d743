/* head.h - open blocks: append a record, read a record.
 *
 * Purpose    The newest records, raw, each visible to every reader the moment it is counted.
 * Invariant  A record's bytes and its array entry are written before `count` counts it (release,
 *            acquire), and never change while `seq` stays, but for the flags of a record.
 * Ownership  Everything lives in the mapping of head.tsdb.
 * Threads    One writer at a time (the store's lock); any reader in any process.
 * Errors     None: a read has answers (enum ts_slot_answer), not faults.
 */
#ifndef TS_HEAD_H
#define TS_HEAD_H

#include "common/meta.h"
#include "common/shared.h"

/* The writer's private knowledge of the block it is filling. */
struct ts_open_block {
    struct ts_slot *slot; /* view into head.tsdb */
    uint32_t open_bytes;
    uint32_t used_bytes; /* where the next record goes, from the start of the slot */
    uint32_t body_bytes; /* of all records, without pad */
    uint32_t count;
    uint64_t seq, first_no;
    uint64_t seed;
    int64_t opened_ns; /* CLOCK_MONOTONIC; 0: the block was found by recovery */
    uint32_t faults;   /* ts_map_faults() then */
};

/* Slot `i` of a mapped head file. */
static inline struct ts_slot *
ts_head_slot(const uint8_t *head_base, unsigned i, uint32_t open_bytes)
{
    return (struct ts_slot *)(uintptr_t)(head_base + sizeof(struct ts_head) +
                                         (size_t)i * open_bytes);
}

/* Fills the header of head.tsdb, all but the moving words. */
void ts_head_init(struct ts_head *head, const struct ts_options *options, uint8_t open_shift,
                  uint32_t store_id);
enum ts_err ts_head_check(const struct ts_head *head, uint8_t open_shift,
                          uint32_t store_id) TS_MUST_USE;

/* Those of the options that are in the header, which was checked. */
void ts_head_options(const struct ts_head *head, struct ts_options *options);

/* Reuses a slot for block `seq`, whose first record will be first_no. Readers of the old block
 * find out by its sequence number. */
void ts_slot_open(struct ts_open_block *block, struct ts_slot *slot, uint32_t open_bytes,
                  uint64_t seq, uint64_t first_no, uint32_t flags, uint64_t seed);

/* True if flags, opened_seq and opened_no are what a writer put there. */
bool ts_slot_header_is_good(const struct ts_slot *slot, uint64_t seed);

/* Makes the header that of block `seq` again, if it was damaged. */
void ts_slot_repair_header(struct ts_slot *slot, uint64_t seq, uint64_t first_no, uint64_t seed);

/* True if the words that readers go by say the same as the header, beside a writer or without. */
bool ts_slot_is_consistent(const struct ts_slot *slot, uint32_t open_bytes, uint64_t seed);

/* Offset of record idx from the slot's start, or 0 if the array holds nonsense. */
uint32_t ts_slot_record_off(const struct ts_slot *slot, uint32_t open_bytes, uint32_t idx);

/* The most records that an open block can hold. */
static inline uint32_t
ts_slot_max_count(uint32_t open_bytes)
{
    return (uint32_t)((open_bytes - TS_SLOT_HEADER_BYTES) /
                      (sizeof(struct ts_slot_record) + sizeof(uint32_t)));
}

/* Bytes that a record needs in an open block, array entry included. */
static inline uint64_t
ts_slot_record_bytes(uint64_t body_bytes)
{
    return sizeof(struct ts_slot_record) + ((body_bytes + 7) & ~UINT64_C(7)) + sizeof(uint32_t);
}

/* The largest body that fits an empty open block. */
static inline uint64_t
ts_slot_max_body(uint32_t open_bytes)
{
    return (open_bytes - TS_SLOT_HEADER_BYTES - sizeof(struct ts_slot_record) - 8) & ~UINT64_C(7);
}

static inline bool
ts_slot_has_room(const struct ts_open_block *block, uint64_t body_bytes)
{
    return block->used_bytes + ts_slot_record_bytes(body_bytes) +
               (uint64_t)block->count * sizeof(uint32_t) <=
           block->open_bytes;
}

/* Adds a record; nobody sees it before ts_slot_publish(). There must be room. has_more: the next
 * one belongs to it, and recovery keeps both or none. */
void ts_slot_add(struct ts_open_block *block, int64_t time_ns, uint32_t series_no, const void *body,
                 uint32_t bytes, bool has_more);
void ts_slot_publish(const struct ts_open_block *block);

/* Adds a record and publishes it. */
static inline void
ts_slot_put(struct ts_open_block *block, int64_t time_ns, uint32_t series_no, const void *body,
            uint32_t bytes)
{
    ts_slot_add(block, time_ns, series_no, body, bytes, false);
    ts_slot_publish(block);
}

/* Appends items as long as there is nothing to decide: they have room, and a time behind newest_ns,
 * or none, in which case they get now_ns if that is; times of their own are not behind limit_ns.
 * Publishes them, sets `done` of each (but for block_num) and err, and returns how many. */
size_t ts_slot_put_items(struct ts_open_block *block, struct ts_batch_item *items, size_t n,
                         int64_t newest_ns, int64_t now_ns, int64_t limit_ns);

/* Checksum of a record of an open block, from its header's fields; see struct ts_slot_record. */
uint32_t ts_record_checksum(uint64_t seed, uint64_t record_no, int64_t time_ns, uint32_t series_no,
                            const void *body, uint32_t bytes_field);

/* One look at a slot. */
struct ts_slot_look {
    uint64_t seq, first_no; /* seq 0: being reused, or never used */
    uint32_t count, flags;
};
/* A consistent one, or seq 0. */
struct ts_slot_look ts_slot_look(const struct ts_slot *slot);

enum ts_slot_answer {
    TS_SLOT_RECORD,  /* copied */
    TS_SLOT_DELETED, /* the record is there and deleted */
    TS_SLOT_DAMAGED, /* its checksum fails, or recovery gave its bytes up */
    TS_SLOT_MOVED    /* the slot holds another block by now: look for the record again */
};

/* Copies record `idx` of block `look` into body[open_bytes]; *out_record is set for TS_SLOT_RECORD
 * and TS_SLOT_DELETED. */
enum ts_slot_answer ts_slot_read(const struct ts_slot *slot, uint32_t open_bytes, uint64_t seed,
                                 const struct ts_slot_look *look, uint32_t idx, uint8_t *body,
                                 struct ts_record *out_record);

/* Offset of the array entry of record idx. */
static inline size_t
ts_slot_array_off(uint32_t open_bytes, uint32_t idx)
{
    return open_bytes - ((size_t)idx + 1) * sizeof(uint32_t);
}

#endif
