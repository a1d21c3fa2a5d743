/* 17_crash.c - the death of a process costs nothing that was acknowledged. */
#include "tests/system/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(crash, .init = site_start, .fini = site_stop);

enum { ROUNDS = 20, ROUND_LINES = 4000, WINDOW = 64 };

/* What became of line n, sent as {"n":n}. */
enum fate { UNSENT, SENT, ACKNOWLEDGED };
static uint8_t fates[ROUNDS * ROUND_LINES];

/* Feeds lines from `next` on until the connection breaks; gives the first one not sent. */
static int
feed_until_broken(struct line_client *client, int next, int last)
{
    int answered = next;

    while (answered < last) {
        while (next < last && next - answered < WINDOW) {
            char line[32];
            const int n = snprintf(line, sizeof line, "{\"n\":%d}\n", next);

            fates[next] = SENT;
            if (send(client->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
                break;
            next++;
        }
        const char *answer = line_read(client);

        if (answer == NULL)
            break;
        cr_assert_eq(strncmp(answer, "OK ", 3), 0, "%s", answer);
        fates[answered++] = ACKNOWLEDGED;
    }
    return next + 1;
}

static void *
kill_soon(void *arg)
{
    const long delay_ms = *(const long *)arg;

    nanosleep(&(struct timespec){0, delay_ms * 1000000}, NULL);
    kill(site.ingestd.pid, SIGKILL);
    return NULL;
}

/* Every acknowledged line is there, none twice, all in order. */
static void
check_survivors(const struct store *store)
{
    struct answer answer = store_get(store, "/data/oldest?limit=1000000");
    json_t *objects = json_object_get(answer.json, "objects"), *object;
    static uint8_t seen[COUNTOF(fates)];
    int64_t before_time = 0, before_n = -1;
    size_t i, n_acknowledged = 0;

    cr_assert_eq(answer.status, 200, "%s", answer.body);
    memset(seen, 0, sizeof seen);
    json_array_foreach(objects, i, object)
    {
        const int64_t time_ns = json_integer_value(json_object_get(object, "timestamp"));
        const int64_t n = json_integer_value(json_object_get(json_object_get(object, "data"), "n"));

        cr_assert(n >= 0 && n < (int64_t)COUNTOF(fates));
        cr_assert_gt(time_ns, before_time);
        cr_assert_gt(n, before_n, "line %jd comes behind %jd", (intmax_t)n, (intmax_t)before_n);
        cr_assert_neq(fates[n], UNSENT);
        seen[n]++;
        before_time = time_ns;
        before_n = n;
    }
    for (i = 0; i < COUNTOF(fates); i++) {
        cr_assert(fates[i] != ACKNOWLEDGED || seen[i] == 1, "line %zu was acknowledged and is gone",
                  i);
        n_acknowledged += fates[i] == ACKNOWLEDGED;
    }
    cr_expect_gt(n_acknowledged, ROUNDS * 4);
}

Test(crash, T280_kill_9_during_writes_costs_no_acknowledged_line)
{
    struct store store = store_create("{\"name\":\"wide\"}");
    unsigned seed = (unsigned)getpid();
    int next = 0;

    for (int round = 0; round < ROUNDS; round++) {
        long delay_ms = rand_r(&seed) % 60;
        struct line_client client;
        pthread_t killer;

        line_login(&client, &store);
        cr_assert_eq(pthread_create(&killer, NULL, kill_soon, &delay_ms), 0);
        next = feed_until_broken(&client, next, (round + 1) * ROUND_LINES);
        line_close(&client);
        pthread_join(killer, NULL);
        process_kill(&site.ingestd);
        ingestd_start();
    }
    check_survivors(&store);
    cr_expect(process_is_alive(&site.queryd[0]));
}

Test(crash, T280_a_ring_that_wraps_survives_kill_9)
{
    struct store store = store_fixture();
    unsigned seed = (unsigned)getpid() * 7;
    int64_t t = 0;

    for (int round = 0; round < 10; round++) {
        struct line_client client;
        const int64_t until = t + 200 + rand_r(&seed) % 500;
        int64_t acknowledged = t;
        const char *times;

        line_login(&client, &store);
        while (t < until) {
            t++;
            cr_assert_str_eq(line_ask(&client, "@%jd {\"t\":%jd,\"p\":\"%0*jd\"}", (intmax_t)t,
                                      (intmax_t)t, (int)(t % 97 + 1), (intmax_t)t),
                             text("OK %jd", (intmax_t)t));
            acknowledged = t;
        }
        process_kill(&site.ingestd);
        line_close(&client);
        ingestd_start();
        times = list_all(&store);
        cr_assert_str_eq(times, run_of(strtoll(times, NULL, 10), acknowledged), "round %d", round);
        cr_assert_gt(strlen(times), 20);
    }
}

Test(crash, a_stale_socket_and_stale_endpoints_do_not_hinder_a_start)
{
    struct store store = store_fixture();

    process_kill(&site.ingestd);
    cr_expect_eq(access(site.socket, F_OK), 0);
    ingestd_start();
    AWAIT(PATIENCE_MS, put(&store, 1, "1").status == 201);
}

/* ---- T281 ---- */

static void *
ask_with_wrong_key(void *arg)
{
    const size_t i = (size_t)arg;
    struct answer answer = CALL(.path = text("/api/stores/many%zu/stats", i),
                                .key = "tsstore_00000000-0000-0000-0000-000000000000");

    return (void *)(size_t)answer.status;
}

Test(crash, T281_parallel_first_requests_with_wrong_keys)
{
    pthread_t threads[200];
    size_t n_refused = 0;

    site_stop();
    site_prepare("{\"limits\":{\"max_connections\":256}}");
    ingestd_start();
    queryd_start(0);
    for (size_t i = 0; i < COUNTOF(threads); i++)
        store_create(text("{\"name\":\"many%zu\",\"num_blocks\":4,\"data_block_size\":256,"
                          "\"index_block_size\":64}",
                          i));
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    ingestd_start();
    queryd_start(0);
    for (size_t i = 0; i < COUNTOF(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_with_wrong_key, (void *)i), 0);
    for (size_t i = 0; i < COUNTOF(threads); i++) {
        void *status;

        pthread_join(threads[i], &status);
        n_refused += (size_t)status == 401;
    }
    cr_expect_eq(n_refused, COUNTOF(threads));
    cr_expect(process_is_alive(&site.queryd[0]));
    cr_expect(process_is_alive(&site.ingestd));
    cr_expect_eq(CALL(.path = "/health").status, 200);
}

/* The object that was just made. */
static struct answer
find(const struct store *store, const struct answer *made)
{
    struct answer answer =
        store_get(store, "/data/time/%jd",
                  (intmax_t)json_integer_value(json_object_get(made->json, "timestamp")));

    cr_expect_eq(answer.status, 200, "%s", answer.body);
    return answer;
}

Test(crash, T282_chosen_content_is_only_content)
{
    struct store store = store_of_type("binary");
    char object[268] = {0};
    const int64_t started = clock_ms();
    struct answer first, second, lists;
    const char *want;

    object[224] = 0x18;
    first = store_post(&store, "application/octet-stream", object, sizeof object);
    second = store_post(&store, "application/octet-stream", "x", 1);
    cr_expect_lt(clock_ms() - started, 1000);
    cr_assert_eq(first.status, 201, "%s", first.body);
    cr_assert_eq(second.status, 201, "%s", second.body);
    lists = store_get(&store, "/data/oldest");
    cr_expect_eq(lists.status, 200);
    cr_assert_eq(json_array_size(json_object_get(lists.json, "objects")), 2);
    cr_expect_eq(json_integer_value(json_object_get(
                     json_array_get(json_object_get(lists.json, "objects"), 0), "size")),
                 268);
    /* Base64 of 224 zeros, 0x18, 43 zeros; and of "x". */
    want = text("\"data\":\"%sAAAY%s==\"", repeat('A', 296), repeat('A', 58));
    cr_expect_not_null(strstr(find(&store, &first).body, want), "%s", want);
    cr_expect_not_null(strstr(find(&store, &second).body, "\"data\":\"eA==\""));
}
