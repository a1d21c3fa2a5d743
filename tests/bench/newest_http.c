/* newest_http.c - data/newest?limit=1 against civetweb answering a constant.
 *
 * See tests/rig/http_load.h. */
#include "tests/rig/daemons.h"
#include "tests/rig/http_load.h"

#include <stdio.h>
#include <string.h>

enum { N_CONNECTIONS = 16, N_RECORDS = 10000 };
#define TARGET 0.8

static void
fill_store(const char *store, const char *key)
{
    static struct feeder feeder;
    char line[128];

    feeder_open(&feeder, store, key);
    for (int i = 0; i < N_RECORDS; i++) {
        const int n =
            snprintf(line, sizeof line, "{\"t\":%d.5,\"room\":\"boiler\"}\n", i % 90 + 10);

        if (!send_all(feeder.fd, line, (size_t)n) || strncmp(feeder_read(&feeder), "OK ", 3) != 0)
            die("fill the store");
    }
    feeder_close(&feeder);
}

static void
measure(const char *store, const char *key)
{
    char request[512], what[64];
    const struct http_load load = {
        .request = request,
        .request_bytes = (size_t)snprintf(request, sizeof request,
                                          "GET /api/stores/%s/data/newest?limit=1 HTTP/1.1\r\n"
                                          "Host: localhost\r\nX-API-Key: %s\r\n\r\n",
                                          store, key),
        .n_connections = N_CONNECTIONS,
    };

    snprintf(what, sizeof what, "newest?limit=1, %d connections, %s", N_CONNECTIONS, store);
    http_load_compare(&load, &(struct http_question){.what = what,
                                                     .port = site.queryd.port,
                                                     .target = TARGET,
                                                     .latency_target = 1 / TARGET});
}

int
main(void)
{
    char keys[2][STORE_KEY_BYTES];

    site_begin();
    for (int codec = TS_CODEC_NONE; codec <= TS_CODEC_ZSTD; codec++) {
        struct ts_options options;

        ts_options_init(&options);
        options.codec = (enum ts_codec)codec;
        site_create_store(ts_codec_name(options.codec), &options, keys[codec]);
    }
    start_ingestd();
    start_queryd();
    for (int codec = TS_CODEC_NONE; codec <= TS_CODEC_ZSTD; codec++) {
        const char *store = ts_codec_name((enum ts_codec)codec);

        fill_store(store, keys[codec]);
        measure(store, keys[codec]);
    }
    site_end();
    return 0;
}
