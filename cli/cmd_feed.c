/* cmd_feed.c - tsstore feed system|-: readings into a running ingestd. */
#include "cli/feed.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/verbs.h"
#include "cli/when.h"
#include "common/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_STORE "system"
#define DEFAULT_INTERVAL_NS 1000000000
#define KEY_BYTES 256

struct feed_args {
    struct cli_common common;
    struct cli_number interval, count;
    const char *store, *key, *key_file, *socket;
};

#define TEXT_ROW(option, field, value, text)                                                       \
    {                                                                                              \
        .name = option, .kind = CLI_TEXT, .placeholder = value, .help = text,                      \
        .offset = offsetof(struct feed_args, field)                                                \
    }

static const struct cli_option options[] = {
    TEXT_ROW("store", store, "NAME", "store to feed (system)"),
    {.name = "interval",
     .kind = CLI_DURATION,
     .placeholder = "DURATION",
     .help = "between readings of 'system' (1s)",
     .offset = offsetof(struct feed_args, interval),
     .min = 1000000,
     .max = INT64_C(86400) * 1000000000},
    {.name = "count",
     .kind = CLI_NUMBER,
     .placeholder = "N",
     .help = "end after N readings of 'system'",
     .offset = offsetof(struct feed_args, count),
     .min = 1,
     .max = INT64_MAX},
    TEXT_ROW("key-file", key_file, "FILE", "file with the store's API key"),
    TEXT_ROW("key", key, "KEY", "the API key itself (shows in ps; TSSTORE_API_KEY does not)"),
    TEXT_ROW("socket", socket, "PATH", "Unix socket of ingestd (TSSTORE_SOCKET_PATH)"),
};

/* The first line of a key file, without blanks around it. */
static enum ts_err
read_key_file(const char *path, char out_key[KEY_BYTES])
{
    char text[KEY_BYTES * 2];
    ssize_t got;
    size_t start, bytes;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return TS_FAIL_ERRNO(TS_E_IO, "open key file %s", path);
    got = read(fd, text, sizeof text - 1);
    if (got < 0) {
        const enum ts_err err = TS_FAIL_ERRNO(TS_E_IO, "read key file %s", path);

        close(fd);
        return err;
    }
    close(fd);
    text[got] = '\0';
    start = strspn(text, " \t\r\n");
    bytes = strcspn(text + start, " \t\r\n");
    if (bytes >= KEY_BYTES)
        return TS_FAIL(TS_E_KEY_FORMAT, "key file %s holds no API key", path);
    memcpy(out_key, text + start, bytes);
    out_key[bytes] = '\0';
    explicit_bzero(text, sizeof text);
    return TS_OK;
}

/* Command line, key file, environment. A key is one word, or it would end the AUTH line early. */
static enum ts_err
find_key(const struct feed_args *args, char out_key[KEY_BYTES])
{
    const char *from = args->key != NULL ? args->key : getenv("TSSTORE_API_KEY");
    size_t bytes;

    if (args->key != NULL && args->key_file != NULL)
        return TS_FAIL(TS_E_USAGE, "--key and --key-file exclude each other");
    if (args->key_file != NULL) {
        const enum ts_err err = read_key_file(args->key_file, out_key);

        if (err != TS_OK)
            return err;
    } else {
        if (from == NULL || from[0] == '\0')
            return TS_FAIL(TS_E_KEY_MISSING,
                           "API key required: --key-file, TSSTORE_API_KEY or --key");
        snprintf(out_key, KEY_BYTES, "%s", from);
    }
    bytes = strlen(out_key);
    if (!ts_key_has_shape(out_key, bytes) || strcspn(out_key, " \t\r\n\v\f") != bytes)
        return TS_FAIL_PLAIN(TS_E_KEY_FORMAT);
    return TS_OK;
}

static void
show_result(const struct feed_job *job, bool is_system, double elapsed_s)
{
    if (job->common->wants_json) {
        printf("{\"stored\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"unanswered\":%" PRIu64
               ",\"missed\":%" PRIu64 ",\"elapsed_s\":%.3f}\n",
               job->n_stored, job->n_refused, job->n_unanswered, job->n_missed, elapsed_s);
        return;
    }
    printf("%" PRIu64 " %s stored, %" PRIu64 " refused", job->n_stored,
           is_system ? "readings" : "lines", job->n_refused);
    if (job->n_unanswered > 0)
        printf(", %" PRIu64 " without an answer", job->n_unanswered);
    if (job->n_missed > 0)
        printf(", %" PRIu64 " missed without a server", job->n_missed);
    printf(" in %.1f s", elapsed_s);
    if (!is_system && elapsed_s > 0)
        printf(" (%.0f/s)", (double)(job->n_stored + job->n_refused) / elapsed_s);
    printf("\n");
}

static enum ts_err
prepare(const struct feed_args *args, struct ts_config *config, char key[KEY_BYTES],
        struct feed_job *out_job)
{
    const char *store = args->store != NULL ? args->store : DEFAULT_STORE;
    enum ts_err err = cli_load_config(&args->common, config);

    if (err == TS_OK && args->socket != NULL)
        err = ts_config_set_flag(config, "server.socket_path", args->socket);
    if (err == TS_OK && config->socket_path[0] == '\0')
        err = TS_FAIL(TS_E_CONFIG, "no Unix socket is configured: use --socket");
    if (err == TS_OK && !ts_name_is_valid(store))
        err = TS_FAIL_PLAIN(TS_E_NAME);
    if (err == TS_OK)
        err = find_key(args, key);
    if (err != TS_OK)
        return err;
    *out_job = (struct feed_job){
        .common = &args->common,
        .target = {.socket_path = config->socket_path, .store = store, .key = key},
        .interval_ns = args->interval.is_given ? args->interval.value : DEFAULT_INTERVAL_NS,
        .count = args->count.is_given ? (uint64_t)args->count.value : 0,
    };
    return cli_stop_init();
}

static int
run(void *arguments)
{
    const struct feed_args *args = arguments;
    const bool is_system = strcmp(args->common.arguments[0], "system") == 0;
    const int64_t start_ns = cli_monotonic_ns();
    struct feed_job job = {0};
    struct ts_config config;
    char key[KEY_BYTES] = "";
    enum ts_err err;

    if (!is_system && strcmp(args->common.arguments[0], "-") != 0)
        err = TS_FAIL(TS_E_USAGE, "unknown feed \"%.64s\": system or -", args->common.arguments[0]);
    else if (!is_system && (args->interval.is_given || args->count.is_given))
        err = TS_FAIL(TS_E_USAGE, "--interval and --count belong to 'feed system'");
    else
        err = prepare(args, &config, key, &job);
    if (err != TS_OK)
        return cli_fail(&args->common, err, NULL);
    err = is_system ? feed_system(&job) : feed_lines(&job);
    explicit_bzero(key, sizeof key);
    ts_config_wipe(&config);
    if (job.n_stored + job.n_refused + job.n_unanswered + job.n_missed > 0 || err == TS_OK)
        show_result(&job, is_system, (double)(cli_monotonic_ns() - start_ns) / 1e9);
    if (err != TS_OK)
        return cli_fail(&args->common, err, NULL);
    if (job.n_refused > 0)
        return 1;
    return cli_stop_asked() && !is_system ? CLI_EXIT_INTERRUPTED : 0;
}

const struct cli_verb cmd_feed = {
    .name = "feed",
    .arguments = "system|-",
    .summary = "Send readings of this machine, or standard input",
    .notes =
        "  system   one JSON object per interval: processor, memory, load, disks, network\n"
        "  -        each line of standard input is a record; \"@<ns> \" before it sets its time\n"
        "'system' comes back after a lost connection (0.1 s, doubling, up to 10 s), Ctrl-C is\n"
        "its ordinary end. '-' ends with 1 if a line was refused or the connection was lost:\n"
        "lines without an answer are counted and not sent again.\n",
    .options = options,
    .n_options = COUNTOF(options),
    .has_data_options = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .missing_text = "Error: feed required: system or -",
    .args_bytes = sizeof(struct feed_args),
    .run = run,
};
