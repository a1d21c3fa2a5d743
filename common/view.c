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
    return ts_head_check(ts_view_head(view), view->geometry.open_shift, view->store_id);
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
ts_view_is_stale(const struct ts_view *view)
{
    struct stat st;

    if (ts_meta_generation(ts_view_meta(view)) == TS_GENERATION_DROPPED)
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

/* The blocks behind sealed_seq, in order. */
static void
look_at_slots(const struct ts_view *view, struct ts_snapshot *s)
{
    s->n_open = 0;
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        const struct ts_slot_look look = ts_slot_look(ts_view_slot(view, i));
        unsigned at = s->n_open;

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
}

/* Numbers that follow from the blocks. False if the ring moved while they were read. */
static bool
count_records(const struct ts_view *view, struct ts_snapshot *s)
{
    struct ts_index_entry entry;

    s->next_no = 1;
    if (s->n_open > 0) {
        s->next_no = s->open[s->n_open - 1].first_no + s->open[s->n_open - 1].count;
    } else if (s->sealed_seq > 0 &&
               ts_index_read(&view->index, s->sealed_seq, s->seed, &entry)) {
        s->next_no = entry.first_no + entry.count;
    }
    s->oldest_no = s->n_open > 0 ? s->open[0].first_no : s->next_no;
    if (s->tail_seq <= s->sealed_seq) {
        if (ts_index_find_no(&view->index, s->tail_seq, s->sealed_seq, s->seed, 0, &entry))
            s->oldest_no = entry.first_no;
        atomic_thread_fence(memory_order_acquire); /* pairs with ts_ring_reclaim() */
        if (ts_meta_tail(ts_view_meta(view)) != s->tail_seq)
            return false;
    }
    return true;
}

void
ts_view_snapshot(const struct ts_view *view, struct ts_snapshot *out)
{
    const struct ts_meta *meta = ts_view_meta(view);
    struct ts_snapshot s;

    /* Each turn that fails means that the writer got on: lock-free. */
    for (;;) {
        s.generation = ts_meta_generation(meta);
        s.seed = ts_seed(view->store_id, s.generation);
        s.tail_seq = ts_meta_tail(meta);
        s.sealed_seq = ts_meta_sealed(meta);
        look_at_slots(view, &s);
        atomic_thread_fence(memory_order_acquire);
        if (ts_meta_sealed(meta) != s.sealed_seq || ts_meta_generation(meta) != s.generation)
            continue;
        if (count_records(view, &s))
            break;
    }
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
    stats.n_records = s.next_no - s.oldest_no;
    stats.has_records = edge_time(view, false, &stats.oldest_time_ns) &&
                        edge_time(view, true, &stats.newest_time_ns);
    /* acquire: pairs with the release in sync.c. */
    stats.durable_no =
        atomic_load_explicit(&ts_view_head(view)->durable_no, memory_order_acquire);
    stats.ring_bytes = g->ring_bytes;
    stats.ring_used_bytes = head_pos - tail_pos;
    for (int i = 0; i < TS_N_FILES; i++)
        stats.file_bytes += view->map[i].bytes;
    stats.head_block = ts_view_block_num(view, head_pos);
    stats.tail_block = ts_view_block_num(view, tail_pos);
    stats.write_offset = (uint32_t)(head_pos & (((uint64_t)1 << g->block_shift) - 1));
    stats.active_blocks = (uint32_t)((stats.ring_used_bytes + ((uint64_t)1 << g->block_shift) - 1) >>
                                     g->block_shift);
    if (stats.active_blocks == 0)
        stats.active_blocks = 1; /* as the original counts: the head block is always in use */
    *out = stats;
    return TS_OK;
}
