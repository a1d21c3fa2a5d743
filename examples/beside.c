/* beside.c - read a store while ingestd writes it.
 *
 *     cc -o beside beside.c $(pkg-config --cflags --libs tsstore)
 *     ./beside DATA-DIR STORE [RECORDS]
 *
 * Prints what is there, and then RECORDS more (0) as they come. To read takes no lock and needs no
 * daemon; to write a store that ingestd has is refused.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <tsstore.h>

/* Says who writes the store, if somebody does. */
static void
try_to_write(const char *data_dir, const char *name)
{
    struct ts_store *store;
    const enum ts_err err = ts_store_open(data_dir, name, &store);

    if (err == TS_OK) {
        printf("nobody writes it\n");
        if (ts_store_close(store) != TS_OK)
            printf("close: %s\n", ts_error_text());
    } else {
        printf("%s: %s\n", ts_error_name(err), ts_error_text());
    }
}

/* Returns when something was published since `count`, or after 100 ms: a reset and a drop are told
 * by the next step of the cursor only. */
static void
wait_for_more(const struct ts_view *view, uint32_t count)
{
    const struct timespec pause = {.tv_nsec = 5000000};

    for (int i = 0; i < 20 && ts_view_publish_count(view) == count; i++)
        nanosleep(&pause, NULL);
}

/* False if the store is there no more. */
static bool
print_step(enum ts_step step, const struct ts_record *record, const struct ts_gap *gap)
{
    switch (step) {
    case TS_STEP_RECORD:
        printf("%" PRIu64 " %.*s\n", record->no, (int)record->bytes, (const char *)record->data);
        break;
    case TS_STEP_GAP:
        printf("%" PRIu64 " records were overwritten\n", gap->lost);
        break;
    case TS_STEP_DAMAGED:
        printf("%" PRIu64 " records are damaged: %s\n", gap->lost, ts_error_text());
        break;
    case TS_STEP_RESET:
        printf("the store was reset\n");
        break;
    case TS_STEP_END:
        break;
    case TS_STEP_GONE:
        printf("the store was dropped\n");
        return false;
    }
    fflush(stdout);
    return true;
}

static int
print(struct ts_view *view, uint64_t n_more)
{
    const struct ts_range range = {.follow = true};
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_state state;
    struct ts_gap gap;
    enum ts_step step;

    ts_view_state(view, &state);
    if (ts_cursor_open(view, &range, &cursor) != TS_OK)
        return fprintf(stderr, "beside: %s\n", ts_error_text()), 1;
    do {
        /* Asked before the look: what comes after it changes the count. */
        const uint32_t count = ts_view_publish_count(view);

        step = ts_cursor_next(cursor, &record, &gap);
        if (step == TS_STEP_END && ts_cursor_position(cursor) < state.next_no + n_more)
            wait_for_more(view, count);
    } while (print_step(step, &record, &gap) &&
             ts_cursor_position(cursor) < state.next_no + n_more);
    ts_cursor_close(cursor);
    return 0;
}

int
main(int argc, char **argv)
{
    const uint64_t n_more = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    struct ts_view *view;
    int status;

    if (argc < 3)
        return fprintf(stderr, "usage: beside DATA-DIR STORE [RECORDS]\n"), 2;
    try_to_write(argv[1], argv[2]);
    fflush(stdout);
    if (ts_view_open(argv[1], argv[2], &view) != TS_OK)
        return fprintf(stderr, "beside: %s\n", ts_error_text()), 1;
    status = print(view, n_more);
    ts_view_close(view);
    return status;
}
