/* views.c - stores by name, through creation, removal and return. */
#include "queryd/views.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char data_dir[64];

static void
make_data_dir(void)
{
    strcpy(data_dir, "/tmp/tsstore-views-XXXXXX");
    cr_assert_not_null(mkdtemp(data_dir));
}

static void
remove_tree(const char *name)
{
    char command[200];

    snprintf(command, sizeof command, "rm -rf '%s/%s'", data_dir, name);
    cr_assert_eq(system(command), 0);
}

static void
remove_data_dir(void)
{
    remove_tree("");
}

TestSuite(views, .init = make_data_dir, .fini = remove_data_dir, .timeout = 60);

/* A store with one key and n records. */
static void
create(const char *name, int n, char out_key[TS_KEY_TEXT_BYTES])
{
    struct ts_options options;
    struct ts_appended done;
    struct ts_store *store;
    char dir[200];

    ts_options_init(&options);
    options.num_blocks = 16;
    cr_assert_eq(ts_store_create(data_dir, name, &options), TS_OK, "%s", ts_error_text());
    snprintf(dir, sizeof dir, "%s/%s", data_dir, name);
    cr_assert_eq(ts_keys_create(dir, name, "test", out_key), TS_OK, "%s", ts_error_text());
    cr_assert_eq(ts_store_open(data_dir, name, &store), TS_OK, "%s", ts_error_text());
    for (int i = 0; i < n; i++)
        cr_assert_eq(ts_store_append(store, 0, "1", 1, &done), TS_OK);
    cr_assert_eq(ts_store_close(store), TS_OK);
}

static uint64_t
count_records(struct store *store)
{
    const struct ts_range all = {0};
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_view *view;
    struct ts_gap gap;
    uint64_t n = 0;

    cr_assert_eq(store_view(store, &view), TS_OK, "%s", ts_error_text());
    cr_assert_eq(store_take_cursor(store, &all, &cursor), TS_OK);
    while (ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD)
        n++;
    store_give_cursor(store, cursor);
    return n;
}

static struct store *
hold(struct views *views, const char *name)
{
    struct store *store;

    cr_assert_eq(views_hold(views, name, &store), TS_OK);
    return store;
}

static struct views *
open_views(void)
{
    struct views *views;

    cr_assert_eq(views_new(data_dir, &views), TS_OK);
    return views;
}

Test(views, names_that_no_store_can_have_are_refused)
{
    static const char *const names[] = {"", ".", "..", "../x", "a/b", ".hidden", "-x", "a b"};
    struct views *views = open_views();
    struct store *store;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_expect_eq(views_hold(views, names[i], &store), TS_E_KEY_STORE, "'%s'", names[i]);
        cr_expect_str_eq(ts_error_text(), "authentication failed");
    }
    views_free(views);
}

Test(views, a_store_is_mapped_once_and_its_cursors_are_used_again)
{
    struct views *views = open_views();
    char key[TS_KEY_TEXT_BYTES];
    struct store *one, *two;

    create("s", 3, key);
    one = hold(views, "s");
    two = hold(views, "s");
    cr_expect_eq(one, two);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(count_records(one), 3);
    cr_expect_eq(ts_keyring_check(store_keys(one), key, strlen(key), TS_SCOPE_READ), TS_OK);
    store_release(one);
    store_release(two);
    views_free(views);
}

Test(views, a_store_that_is_not_there_says_so_and_appears_when_it_is_made)
{
    struct views *views = open_views();
    char key[TS_KEY_TEXT_BYTES];
    struct ts_view *view;
    struct store *store;

    store = hold(views, "late");
    cr_expect_eq(ts_keyring_check(store_keys(store), "tsstore_00000000-0000-0000-0000-000000000000",
                                  44, TS_SCOPE_READ),
                 TS_E_KEY_STORE);
    cr_expect_eq(store_view(store, &view), TS_E_CLOSED);
    views_forget(views, store);
    store_release(store);
    create("late", 2, key);
    store = hold(views, "late");
    cr_expect_eq(count_records(store), 2);
    store_release(store);
    views_free(views);
}

Test(views, what_is_held_outlives_its_store_and_the_next_holder_gets_the_new_one)
{
    struct views *views = open_views();
    struct store *before, *after;
    char key[TS_KEY_TEXT_BYTES];

    create("s", 5, key);
    before = hold(views, "s");
    cr_expect_eq(count_records(before), 5);
    remove_tree("s");
    create("s", 2, key);
    after = hold(views, "s");
    cr_expect_neq(before, after);
    cr_expect_eq(count_records(after), 2);
    cr_expect_eq(count_records(before), 5);
    store_release(before);
    store_release(after);
    views_free(views);
}

/* Who may read is asked of the last look, which each views_hold() takes. */
static enum ts_err
check(struct store *store, const char *key)
{
    return ts_keyring_check_refreshed(store_keys(store), key, strlen(key), TS_SCOPE_READ);
}

Test(views, each_holder_meets_the_keys_of_now_and_a_new_key_maps_nothing_again)
{
    struct views *views = open_views();
    char first[TS_KEY_TEXT_BYTES], second[TS_KEY_TEXT_BYTES], dir[200];
    struct store *before, *after;

    create("s", 3, first);
    snprintf(dir, sizeof dir, "%s/s", data_dir);
    before = hold(views, "s");
    cr_expect_eq(count_records(before), 3);
    cr_expect_eq(check(before, first), TS_OK);
    cr_assert_eq(ts_keys_regenerate(dir, "s", second), TS_OK);
    after = hold(views, "s");
    cr_expect_eq(before, after);
    cr_expect_eq(check(after, first), TS_E_KEY_INVALID);
    cr_expect_eq(check(after, second), TS_OK);
    store_release(after);
    remove_tree("s");
    create("s", 1, first);
    after = hold(views, "s");
    cr_expect_neq(before, after);
    cr_expect_eq(check(after, first), TS_OK);
    cr_expect_eq(check(after, second), TS_E_KEY_INVALID);
    cr_expect_eq(count_records(after), 1);
    store_release(after);
    store_release(before);
    views_free(views);
}

Test(views, sweeping_lets_go_of_what_was_removed)
{
    struct views *views = open_views();
    struct store *store, *again;
    char key[TS_KEY_TEXT_BYTES];

    create("s", 1, key);
    store = hold(views, "s");
    cr_expect_eq(count_records(store), 1);
    views_sweep(views);
    again = hold(views, "s");
    cr_expect_eq(store, again);
    store_release(again);
    remove_tree("s");
    views_sweep(views);
    again = hold(views, "s");
    cr_expect_neq(store, again);
    store_release(again);
    store_release(store);
    views_free(views);
}

/* How many lines log_file has by now that contain the text. */
static unsigned
lines_with(FILE *log_file, const char *text)
{
    char line[512];
    unsigned n = 0;

    rewind(log_file);
    while (fgets(line, sizeof line, log_file) != NULL)
        n += strstr(line, text) != NULL;
    return n;
}

Test(views, damage_is_told_once_and_a_thousand_damages_are_no_flood)
{
    struct views *views = open_views();
    struct store *store;
    FILE *log_file = tmpfile();

    cr_assert_not_null(log_file);
    cr_assert(dup2(fileno(log_file), STDERR_FILENO) >= 0);
    store = hold(views, "x");
    (void)TS_FAIL(TS_E_CORRUPT, "store x: data.tsdb: byte 4096: checksum");
    for (int i = 0; i < 3; i++)
        store_tell_damage(store, &(struct ts_gap){.from_no = 7, .to_no = 9, .lost = 3});
    cr_expect_eq(lines_with(log_file, "data.tsdb: byte 4096: checksum: records 7 to 9"), 1);
    for (uint64_t no = 1000; no < 2000; no++)
        store_tell_damage(store, &(struct ts_gap){.from_no = no, .to_no = no, .lost = 1});
    cr_expect_leq(lines_with(log_file, "checksum"), 20);
    cr_expect_geq(lines_with(log_file, "checksum"), 2);
    store_release(store);
    views_free(views);
    fclose(log_file);
}

struct crowd {
    struct views *views;
    int n_bad;
};

static void *
read_often(void *arg)
{
    struct crowd *crowd = arg;

    for (int i = 0; i < 300; i++) {
        struct store *store;
        struct ts_view *view;

        if (views_hold(crowd->views, "s", &store) != TS_OK) {
            crowd->n_bad++;
            continue;
        }
        /* Between two lives of the store there is none; what is there is whole. */
        if (store_view(store, &view) == TS_OK && count_records(store) != 4)
            crowd->n_bad++;
        store_release(store);
        if (i % 50 == 0)
            views_sweep(crowd->views);
    }
    return NULL;
}

Test(views, many_threads_hold_and_release_while_the_store_comes_and_goes)
{
    struct crowd crowds[4];
    struct views *views = open_views();
    char key[TS_KEY_TEXT_BYTES];
    pthread_t threads[4];

    create("s", 4, key);
    for (int i = 0; i < 4; i++) {
        crowds[i] = (struct crowd){.views = views};
        cr_assert_eq(pthread_create(&threads[i], NULL, read_often, &crowds[i]), 0);
    }
    for (int i = 0; i < 5; i++) {
        char from[200], to[200];

        /* Renamed whole, so that no reader meets half a store. */
        create("next", 4, key);
        snprintf(from, sizeof from, "%s/s", data_dir);
        snprintf(to, sizeof to, "%s/gone%d", data_dir, i);
        cr_assert_eq(rename(from, to), 0);
        snprintf(to, sizeof to, "%s/next", data_dir);
        cr_assert_eq(rename(to, from), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(crowds[i].n_bad, 0);
    }
    views_free(views);
}
