/* index.c - entries of index.tsdb and the search over them. */
#include "common/index.h"

#include "common/checksum.h"
#include "common/shared.h"

static uint64_t
entry_checksum(const struct ts_index_entry *entry, uint64_t seed)
{
    return ts_checksum(entry, offsetof(struct ts_index_entry, checksum), seed);
}

uint64_t
ts_index_off(const struct ts_index *index, uint64_t seq)
{
    return (seq - 1) % index->n_entries * sizeof(struct ts_index_entry);
}

bool
ts_index_read(const struct ts_index *index, uint64_t seq, uint64_t seed,
              struct ts_index_entry *out_entry)
{
    struct ts_index_entry entry;

    ts_copy_out(&entry, index->base + ts_index_off(index, seq), sizeof entry);
    if (entry.seq != seq || entry.checksum != entry_checksum(&entry, seed))
        return false;
    *out_entry = entry;
    return true;
}

void
ts_index_write(const struct ts_index *index, struct ts_index_entry *entry, uint64_t seed)
{
    entry->checksum = entry_checksum(entry, seed);
    ts_copy_in(index->base + ts_index_off(index, entry->seq), entry, sizeof *entry);
}

/* What is looked for: the first block for which reaches() is true; it is monotone in seq. */
struct goal {
    enum { BY_NO, BY_TIME, BY_POS } by;
    uint64_t no, ring_pos;
    int64_t time_ns;
};

static bool
reaches(const struct ts_index_entry *entry, const struct goal *goal)
{
    if (goal->by == BY_TIME)
        return entry->max_time_ns >= goal->time_ns;
    if (goal->by == BY_POS)
        return entry->ring_pos >= goal->ring_pos;
    return entry->first_no + entry->count > goal->no;
}

static bool
find(const struct ts_index *index, uint64_t from_seq, uint64_t to_seq, uint64_t seed,
     const struct goal *goal, struct ts_index_entry *out_entry)
{
    bool found = false;

    /* Numbers out of a file that somebody truncated or overwrote while it is mapped. Of a reader
     * that is overtaken right now, too: it looks again. */
    if (from_seq == 0 || (from_seq <= to_seq && to_seq - from_seq >= index->n_entries))
        return false;
    /* Invariant: every good block before from_seq falls short, *out_entry is the best so far. */
    while (from_seq <= to_seq) {
        const uint64_t middle = from_seq + (to_seq - from_seq) / 2;
        struct ts_index_entry entry;
        uint64_t seq = middle;

        while (seq <= to_seq && !ts_index_read(index, seq, seed, &entry))
            seq++; /* damaged, or lapped: its neighbour answers as well */
        if (seq > to_seq) {
            to_seq = middle - 1;
        } else if (reaches(&entry, goal)) {
            *out_entry = entry;
            found = true;
            to_seq = middle - 1;
        } else {
            from_seq = seq + 1;
        }
    }
    return found;
}

bool
ts_index_find_no(const struct ts_index *index, uint64_t from_seq, uint64_t to_seq, uint64_t seed,
                 uint64_t no, struct ts_index_entry *out_entry)
{
    const struct goal goal = {.no = no};

    return find(index, from_seq, to_seq, seed, &goal, out_entry);
}

bool
ts_index_find_time(const struct ts_index *index, uint64_t from_seq, uint64_t to_seq, uint64_t seed,
                   int64_t time_ns, struct ts_index_entry *out_entry)
{
    const struct goal goal = {.by = BY_TIME, .time_ns = time_ns};

    return find(index, from_seq, to_seq, seed, &goal, out_entry);
}

bool
ts_index_find_pos(const struct ts_index *index, uint64_t from_seq, uint64_t to_seq, uint64_t seed,
                  uint64_t ring_pos, struct ts_index_entry *out_entry)
{
    const struct goal goal = {.by = BY_POS, .ring_pos = ring_pos};

    return find(index, from_seq, to_seq, seed, &goal, out_entry);
}
