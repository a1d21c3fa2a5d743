/* view.c - open the files of a store, look at them consistently. */
#include "common/view.h"

#include "common/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const ts_file_names[TS_N_FILES] = {TS_META_FILE, TS_DATA_FILE, TS_HEAD_FILE,
                                               TS_INDEX_FILE};

static enum ts_err
open_dir(struct ts_view *view, const char *data_dir, const char *name)
{
    struct stat st;

    /* Directories of an original data path may have names that creation would refuse; only what
     * leaves the data directory is never opened. */
    if (name[0] == '\0' || strlen(name) > TS_MAX_NAME_BYTES || strchr(name, '/') != NULL ||
        strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return TS_FAIL_PLAIN(TS_E_NAME);
    strcpy(view->name, name);
    if (asprintf(&view->dir, "%s/%s", data_dir, name) < 0) {
        view->dir = NULL;
        return TS_FAIL(TS_E_NOMEM, "out of memory");
    }
    view->dir_fd = open(view->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (view->dir_fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
        return TS_FAIL_ERRNO(TS_E_IO, "open %s", view->dir);
    }
    if (fstat(view->dir_fd, &st) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "stat %s", view->dir);
    view->dir_dev = st.st_dev;
    view->dir_ino = st.st_ino;
    if (faccessat(view->dir_fd, TS_META_FILE, F_OK, 0) != 0 && errno == ENOENT)
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
    return TS_OK;
}

static enum ts_err
open_files(struct ts_view *view, enum ts_map_mode mode)
{
    const struct ts_meta *meta;
    uint64_t sizes[TS_N_FILES];
    enum ts_err err;

    err = ts_map_open(view->dir_fd, TS_META_FILE, sizeof(struct ts_meta), mode,
                      &view->map[TS_FILE_META]);
    if (err != TS_OK)
        return err;
    meta = ts_view_meta(view);
    err = ts_meta_check(meta, &view->options);
    if (err == TS_OK)
        err = ts_geometry_of(&view->options, &view->geometry);
    if (err != TS_OK)
        return err;
    view->store_id = meta->store_id;
    sizes[TS_FILE_DATA] = view->geometry.ring_bytes;
    sizes[TS_FILE_HEAD] = view->geometry.head_bytes;
    sizes[TS_FILE_INDEX] = view->geometry.index_bytes;
    for (int i = TS_FILE_DATA; i < TS_N_FILES; i++) {
        err = ts_map_open(view->dir_fd, ts_file_names[i], sizes[i], mode, &view->map[i]);
        if (err != TS_OK)
            return err;
    }
    view->index = (struct ts_index){view->map[TS_FILE_INDEX].base, view->geometry.n_index};
    err = ts_head_check(ts_view_head(view), view->geometry.open_shift, view->store_id);
    if (err == TS_OK)
        ts_head_options(ts_view_head(view), &view->options);
    return err;
}

/* The words that move, for a reader; a writer's recovery mends them. */
static enum ts_err
check_words(const struct ts_view *view)
{
    const struct ts_meta *meta = ts_view_meta(view);
    struct ts_words words;
    const size_t bad_off = ts_meta_words(meta, &words);

    if (bad_off != 0)
        return TS_FAIL(TS_E_CORRUPT,
                       TS_META_FILE ": damaged at offset %zu: the word fails its check; opening "
                                    "the store for writing mends it",
                       bad_off);
    if (words.generation == TS_GENERATION_DROPPED)
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        const struct ts_slot *slot = ts_view_slot(view, i);
        const uint32_t open_bytes = view->geometry.open_bytes;

        /* A reset opens a block of the next generation before it tells of it. */
        if (!ts_slot_is_consistent(slot, open_bytes, ts_seed(view->store_id, words.generation)) &&
            !ts_slot_is_consistent(slot, open_bytes,
                                   ts_seed(view->store_id, words.generation + 1)) &&
            words.generation == ts_meta_generation(meta))
            return TS_FAIL(TS_E_CORRUPT,
                           TS_HEAD_FILE ": damaged at offset %zu: header of an open block; opening "
                                        "the store for writing mends it",
                           sizeof(struct ts_head) + (size_t)i * open_bytes);
    }
    return TS_OK;
}

enum ts_err
ts_view_init(struct ts_view *view, const char *data_dir, const char *name, enum ts_map_mode mode)
{
    enum ts_err err;

    *view = (struct ts_view){.dir_fd = -1};
    for (int i = 0; i < TS_N_FILES; i++)
        view->map[i].fd = -1;
    err = open_dir(view, data_dir, name);
    if (err == TS_OK)
        err = open_files(view, mode);
    if (err == TS_OK && mode == TS_MAP_READER)
        err = check_words(view);
    if (err != TS_OK) {
        if (err != TS_E_NOT_FOUND && err != TS_E_NAME)
            TS_CONTEXT("store %s", name);
        ts_view_done(view);
    }
    return err;
}

void
ts_view_done(struct ts_view *view)
{
    for (int i = 0; i < TS_N_FILES; i++)
        ts_map_close(&view->map[i]);
    if (view->dir_fd >= 0)
        close(view->dir_fd);
    free(view->dir);
    view->dir_fd = -1;
    view->dir = NULL;
}

enum ts_err
ts_view_open(const char *data_dir, const char *name, struct ts_view **out_view)
{
    struct ts_view *view = malloc(sizeof *view);
    enum ts_err err;

    if (view == NULL)
        return TS_FAIL(TS_E_NOMEM, "out of memory");
    err = ts_view_init(view, data_dir, name, TS_MAP_READER);
    if (err != TS_OK) {
        free(view);
        return err;
    }
    *out_view = view;
    return TS_OK;
}

void
ts_view_close(struct ts_view *view)
{
    if (view == NULL)
        return;
    ts_view_done(view);
    free(view);
}

bool
ts_view_is_gone(const struct ts_view *view)
{
    struct ts_words words;

    /* A word that was damaged meanwhile: opening again will say so. */
    return ts_meta_words(ts_view_meta(view), &words) != 0 ||
           words.generation == TS_GENERATION_DROPPED;
}

bool
ts_view_is_stale(const struct ts_view *view)
{
    struct stat st;

    if (ts_view_is_gone(view))
        return true;
    return stat(view->dir, &st) != 0 || st.st_ino != view->dir_ino || st.st_dev != view->dir_dev;
}

const struct ts_options *
ts_view_options(const struct ts_view *view)
{
    return &view->options;
}

const char *
ts_view_name(const struct ts_view *view)
{
    return view->name;
}

uint32_t
ts_view_publish_count(const struct ts_view *view)
{
    /* acquire: the records of that publication are seen after it. Pairs with the release in
     * publish(), store.c. */
    return atomic_load_explicit(&ts_view_head(view)->publish_count, memory_order_acquire);
}

struct ts_slot_look
ts_view_look(const struct ts_view *view, unsigned i)
{
    const uint32_t most = ts_slot_max_count(view->geometry.open_bytes);
    struct ts_slot_look look = ts_slot_look(ts_view_slot(view, i));

    if (look.count > most)
        look.count = most; /* damaged: the records that are not there fail their checksums */
    return look;
}

/* The blocks behind sealed_seq, in order. False if one was opened meanwhile: looked at one behind
 * the other, the slots may otherwise show a newer block without the one before it. Two looks that
 * see the same blocks mean that there was a moment, between them, when both were there; and then
 * the second look sees the final count of the older one. */
static bool
look_at_slots(const struct ts_view *view, struct ts_snapshot *s)
{
    uint64_t seen[TS_HEAD_SLOTS];

    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++)
        seen[i] = ts_view_look(view, i).seq;
    s->n_open = 0;
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        const struct ts_slot_look look = ts_view_look(view, i);
        unsigned at = s->n_open;

        if (look.seq != seen[i])
            return false;
        if (look.seq == 0 || look.seq <= s->sealed_seq)
            continue;
        if (at == 1 && s->open[0].seq > look.seq) {
            s->open[1] = s->open[0];
            s->open_slot[1] = s->open_slot[0];
            at = 0;
        }
        s->open[at] = look;
        s->open_slot[at] = i;
        s->n_open++;
    }
    return true;
}

/* Where the number behind the ring is, if no open block tells. */
static uint64_t
end_of_ring(const struct ts_view *view, const struct ts_snapshot *s)
{
    struct ts_index_entry entry;

    for (uint64_t seq = s->sealed_seq; seq > 0 && seq + 1 >= s->tail_seq; seq--)
        if (ts_index_read(&view->index, seq, s->seed, &entry))
            return entry.first_no + entry.count;
    return 1;
}

/* The number of the oldest record of the ring, whose first good entry is *first. */
static uint64_t
start_of_ring(const struct ts_view *view, const struct ts_snapshot *s,
              const struct ts_index_entry *first)
{
    struct ts_index_entry entry;

    if (first->seq == s->tail_seq)
        return first->first_no;
    /* The entry of the oldest block is damaged: what is left of the one before it tells where the
     * damage begins. */
    if (s->tail_seq == 1)
        return 1;
    if (ts_index_read(&view->index, s->tail_seq - 1, s->seed, &entry))
        return entry.first_no + entry.count;
    return first->first_no;
}

/* Numbers that follow from the blocks. False if the ring moved while they were read. */
static bool
count_records(const struct ts_view *view, struct ts_snapshot *s)
{
    struct ts_index_entry entry;

    if (s->n_open > 0)
        s->next_no = s->open[s->n_open - 1].first_no + s->open[s->n_open - 1].count;
    else
        s->next_no = end_of_ring(view, s);
    s->oldest_no = s->n_open > 0 ? s->open[0].first_no : s->next_no;
    if (s->tail_seq <= s->sealed_seq) {
        if (ts_index_find_no(&view->index, s->tail_seq, s->sealed_seq, s->seed, 0, &entry))
            s->oldest_no = start_of_ring(view, s, &entry);
        else if (s->oldest_no > 1) /* no entry is good: how many are lost is lost, too */
            s->oldest_no = s->tail_seq == 1 ? 1 : s->oldest_no - 1;
        atomic_thread_fence(memory_order_acquire); /* pairs with ts_ring_reclaim() */
        if (ts_meta_tail(ts_view_meta(view)) != s->tail_seq)
            return false;
    }
    return true;
}

/* Words and open blocks as they were at one moment. False if the writer got on meanwhile. A word
 * that fails its check makes it the snapshot of a dropped store: nothing of it can be believed, and
 * whoever opens the store again is told why. */
static bool
look_at_words(const struct ts_view *view, struct ts_snapshot *s)
{
    const struct ts_meta *meta = ts_view_meta(view);
    struct ts_words words;

    *s = (struct ts_snapshot){
        .generation = TS_GENERATION_DROPPED, .tail_seq = 1, .oldest_no = 1, .next_no = 1};
    if (ts_meta_words(meta, &words) != 0)
        return true;
    if (words.tail_seq <= words.sealed_seq &&
        words.sealed_seq - words.tail_seq >= view->index.n_entries)
        return ts_meta_tail(meta) == words.tail_seq; /* damage, or it moved between the loads */
    s->tail_seq = words.tail_seq;
    s->sealed_seq = words.sealed_seq;
    s->seed = ts_seed(view->store_id, words.generation);
    if (words.generation == TS_GENERATION_DROPPED)
        return true;
    if (!look_at_slots(view, s))
        return false;
    atomic_thread_fence(memory_order_acquire);
    s->generation = words.generation;
    return ts_meta_sealed(meta) == s->sealed_seq && ts_meta_generation(meta) == s->generation &&
           count_records(view, s);
}

void
ts_view_snapshot(const struct ts_view *view, struct ts_snapshot *out)
{
    struct ts_snapshot s;

    /* Each turn that fails means that the writer got on: lock-free. */
    while (!look_at_words(view, &s))
        ;
    *out = s;
}

void
ts_view_state(const struct ts_view *view, struct ts_state *out)
{
    struct ts_snapshot s;

    ts_view_snapshot(view, &s);
    *out = (struct ts_state){s.generation, s.oldest_no, s.next_no};
}

/* The time of the first record from `backward`'s end, by the one read path. */
static bool
edge_time(struct ts_view *view, bool backward, int64_t *out_time_ns)
{
    const struct ts_range range = {.backward = backward, .limit = 1};
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    enum ts_step step;

    if (ts_cursor_open(view, &range, &cursor) != TS_OK)
        return false;
    do
        step = ts_cursor_next(cursor, &record, &gap);
    while (step == TS_STEP_GAP || step == TS_STEP_DAMAGED || step == TS_STEP_RESET);
    if (step == TS_STEP_RECORD)
        *out_time_ns = record.time_ns;
    ts_cursor_close(cursor);
    return step == TS_STEP_RECORD;
}

/* How many numbers from oldest_no on no record ever had: after a power failure they go on at the
 * next multiple of 2^32. */
static uint64_t
count_skipped(const struct ts_view *view, const struct ts_snapshot *s)
{
    struct ts_snapshot before = *s;
    uint64_t no = s->oldest_no, n_skipped = 0;

    for (;;) {
        const uint64_t jump = (no | UINT32_MAX) + 1;
        uint64_t next = s->next_no, end;
        struct ts_index_entry entry;
        unsigned i;

        if (jump == 0 || jump > s->next_no)
            return n_skipped;
        if (s->tail_seq <= s->sealed_seq &&
            ts_index_find_no(&view->index, s->tail_seq, s->sealed_seq, s->seed, jump, &entry)) {
            next = entry.first_no;
            before.sealed_seq = entry.seq - 1;
            end = end_of_ring(view, &before);
        } else {
            for (i = 0; i < s->n_open && s->open[i].first_no < jump; i++)
                ;
            if (i < s->n_open)
                next = s->open[i].first_no;
            end = i > 0 ? s->open[i - 1].first_no + s->open[i - 1].count : end_of_ring(view, s);
        }
        if (next < jump || end > next)
            return n_skipped; /* the ring moved on */
        n_skipped += next - end;
        if (next == s->next_no)
            return n_skipped;
        no = next;
    }
}

enum ts_err
ts_view_stats(struct ts_view *view, struct ts_stats *out)
{
    const struct ts_geometry *g = &view->geometry;
    struct ts_stats stats = {0};
    struct ts_snapshot s;
    struct ts_index_entry tail, last;
    uint64_t tail_pos = 0, head_pos = 0;

    ts_view_snapshot(view, &s);
    if (s.generation == TS_GENERATION_DROPPED)
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
    if (s.tail_seq <= s.sealed_seq) {
        stats.n_sealed_blocks = s.sealed_seq - s.tail_seq + 1;
        if (ts_index_read(&view->index, s.sealed_seq, s.seed, &last))
            head_pos = last.ring_pos + last.extent_bytes;
        if (ts_index_find_no(&view->index, s.tail_seq, s.sealed_seq, s.seed, 0, &tail))
            tail_pos = tail.ring_pos;
        if (tail_pos > head_pos || head_pos - tail_pos > g->ring_bytes)
            tail_pos = head_pos; /* it moved while we looked */
    }
    stats.state = (struct ts_state){s.generation, s.oldest_no, s.next_no};
    stats.n_records = s.next_no - s.oldest_no - count_skipped(view, &s);
    stats.has_records = edge_time(view, false, &stats.oldest_time_ns) &&
                        edge_time(view, true, &stats.newest_time_ns);
    /* acquire: pairs with the release in sync.c. */
    stats.durable_no = atomic_load_explicit(&ts_view_head(view)->durable_no, memory_order_acquire);
    stats.ring_bytes = g->ring_bytes;
    stats.ring_used_bytes = head_pos - tail_pos;
    for (int i = 0; i < TS_N_FILES; i++)
        stats.file_bytes += view->map[i].bytes;
    stats.head_block = ts_view_block_num(view, head_pos);
    stats.tail_block = ts_view_block_num(view, tail_pos);
    stats.write_offset = (uint32_t)(head_pos & (((uint64_t)1 << g->block_shift) - 1));
    stats.active_blocks =
        (uint32_t)((stats.ring_used_bytes + ((uint64_t)1 << g->block_shift) - 1) >> g->block_shift);
    if (stats.active_blocks == 0)
        stats.active_blocks = 1; /* as the original counts: the head block is always in use */
    *out = stats;
    return TS_OK;
}
