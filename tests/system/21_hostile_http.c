/* 21_hostile_http.c - requests that no client library would send. */
#include "tests/system/harness.h"

#include <stdlib.h>

TestSuite(hostile_http, .init = site_start, .fini = site_stop);

/* Sent as it is to both daemons; `want` is the start of the answer, NULL: anything, or nothing. */
static void
expect_raw(const char *request, const char *want)
{
    struct process *const daemons[] = {&site.queryd[0], &site.ingestd};

    for (size_t i = 0; i < COUNTOF(daemons); i++) {
        const char *answer = tcp_exchange(daemons[i]->port, request, 1000);

        cr_assert(process_is_alive(daemons[i]), "%s died of %.60s", daemons[i]->name, request);
        cr_expect(want == NULL || strncmp(answer, want, strlen(want)) == 0, "%s: %.60s: %.200s",
                  daemons[i]->name, request, answer);
    }
}

Test(hostile_http, malformed_requests_are_refused_and_kill_nobody)
{
    static const struct {
        const char *request, *want;
    } rows[] = {
        {"\r\n\r\n\r\n", NULL},
        {"GET\r\n\r\n", NULL},
        {"GET / HTTP/9.9\r\n\r\n", NULL},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", NULL},
        {"GET /health\r\n\r\n", NULL},
        {"GET http://elsewhere.example/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
         NULL},
        {"GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 4"},
        {"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 404"},
        {"GET /api/stores/%2e%2e/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
         "HTTP/1.1 40"},
        {"GET /api/stores/a%00b/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
         "HTTP/1.1 4"},
        {"BREW /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL},
        {"POST /api/stores HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
         NULL},
        {"POST /api/stores HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n"
         "Connection: close\r\n\r\n",
         NULL},
        {"POST /api/stores HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
         "Connection: close\r\n\r\nzzz\r\n",
         NULL},
        {"POST /api/stores HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
         "Connection: close\r\n\r\nffffffffffffffff\r\nx",
         NULL},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect_raw(rows[i].request, rows[i].want);
    cr_expect_eq(CALL(.path = "/health").status, 200);
}

Test(hostile_http, long_heads_are_refused)
{
    expect_raw(
        text("GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", repeat('a', 100000)),
        NULL);
    expect_raw(text("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\nConnection: close\r\n\r\n",
                    repeat('a', 100000)),
               NULL);
    cr_expect_eq(CALL(.path = "/health").status, 200);
}

Test(hostile_http, a_chunked_body_is_a_body)
{
    struct store store = store_fixture();
    const char *answer =
        tcp_exchange(site.queryd[0].port,
                     text("POST /api/stores/S/data HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n"
                          "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
                          "Connection: close\r\n\r\n"
                          "5\r\n{\"tim\r\n15\r\nestamp\":7,\"data\":[1,2\r\n2\r\n]}\r\n0\r\n\r\n",
                          store.key),
                     PATIENCE_MS);

    cr_expect_eq(strncmp(answer, "HTTP/1.1 201 ", 13), 0, "%s", answer);
    cr_expect_str_eq(list_all(&store), "7");
}

Test(hostile_http, two_requests_in_one_write_get_two_answers)
{
    const char *answers =
        tcp_exchange(site.queryd[0].port,
                     "GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n"
                     "Connection: close\r\n\r\n",
                     PATIENCE_MS);
    const char *second = strstr(answers + 1, "HTTP/1.1 200 ");

    cr_expect_eq(strncmp(answers, "HTTP/1.1 200 ", 13), 0, "%s", answers);
    cr_expect_not_null(second, "%s", answers);
}

Test(hostile_http, old_http_is_answered_and_closed)
{
    const char *answer =
        tcp_exchange(site.queryd[0].port, "GET /health HTTP/1.0\r\n\r\n", PATIENCE_MS);

    cr_expect_not_null(strstr(answer, " 200 "), "%s", answer);
    cr_expect_not_null(strstr(answer, "\"status\":\"ok\""), "%s", answer);
}
