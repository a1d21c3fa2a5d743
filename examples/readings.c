/* readings.c - append readings, and read a range of them back.
 *
 *     cc -o readings readings.c $(pkg-config --cflags --libs tsstore)
 *     ./readings .
 *
 * The store "readings" is made below the given directory when it is not there yet; each run
 * appends ten more.
 */
#include <inttypes.h>
#include <stdio.h>
#include <tsstore.h>

#define SECOND_NS INT64_C(1000000000)
#define BEGIN_NS (INT64_C(1767225600) * SECOND_NS) /* 2026-01-01T00:00:00Z */

static enum ts_err
create_unless_there(const char *data_dir)
{
    struct ts_options options;
    enum ts_err err;

    ts_options_init(&options);
    options.num_blocks = 64; /* of 4096 bytes: the footprint, decided once */
    err = ts_store_create(data_dir, "readings", &options);
    return err == TS_E_EXISTS ? TS_OK : err;
}

/* Ten readings, a second apart, behind the newest one. *out_first_ns is the time of the first. */
static enum ts_err
append_ten(struct ts_store *store, int64_t *out_first_ns)
{
    struct ts_stats stats;
    enum ts_err err;

    err = ts_view_stats(ts_store_view(store), &stats);
    if (err != TS_OK)
        return err;
    *out_first_ns = stats.has_records ? stats.newest_time_ns + SECOND_NS : BEGIN_NS;
    for (int i = 0; i < 10 && err == TS_OK; i++) {
        char text[64];
        const int bytes = snprintf(text, sizeof text, "{\"celsius\":%.1f}", 21.0 + i * 0.1);

        err = ts_store_append_json(store, *out_first_ns + i * SECOND_NS, text, (size_t)bytes, NULL);
    }
    return err;
}

/* Prints the records of a range. What is not a record says why records are missing. */
static enum ts_err
print_range(struct ts_view *view, const struct ts_range *range)
{
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    enum ts_step step;
    enum ts_err err;

    err = ts_cursor_open(view, range, &cursor);
    if (err != TS_OK)
        return err;
    while ((step = ts_cursor_next(cursor, &record, &gap)) != TS_STEP_END && step != TS_STEP_GONE) {
        if (step == TS_STEP_RECORD)
            printf("%" PRIu64 " %" PRId64 " %.*s\n", record.no, record.time_ns / SECOND_NS,
                   (int)record.bytes, (const char *)record.data);
        else if (step == TS_STEP_GAP)
            printf("%" PRIu64 " records were overwritten\n", gap.lost);
        else if (step == TS_STEP_DAMAGED)
            printf("%" PRIu64 " records are damaged: %s\n", gap.lost, ts_error_text());
    }
    ts_cursor_close(cursor);
    return TS_OK;
}

int
main(int argc, char **argv)
{
    const struct ts_range newest = {.backward = true, .limit = 2};
    struct ts_range range = {.has_from = true, .has_to = true};
    struct ts_store *store = NULL;
    enum ts_err err;

    if (argc != 2)
        return fprintf(stderr, "usage: readings DIR\n"), 2;
    err = create_unless_there(argv[1]);
    if (err == TS_OK)
        err = ts_store_open(argv[1], "readings", &store);
    if (err == TS_OK)
        err = append_ten(store, &range.from_time_ns);
    if (err == TS_OK) {
        range.from_time_ns += 3 * SECOND_NS; /* both bounds belong to the range */
        range.to_time_ns = range.from_time_ns + 2 * SECOND_NS;
        printf("the fourth to the sixth:\n");
        err = print_range(ts_store_view(store), &range);
    }
    if (err == TS_OK) {
        printf("the newest two:\n");
        err = print_range(ts_store_view(store), &newest);
    }
    if (err != TS_OK)
        fprintf(stderr, "readings: %s\n", ts_error_text());
    if (ts_store_close(store) != TS_OK && err == TS_OK) {
        fprintf(stderr, "readings: close: %s\n", ts_error_text());
        return 1;
    }
    return err != TS_OK;
}
