/* cmd_serve.c - tsstore serve: an ingestd and a queryd as children of this process.
 *
 * For a laptop or a container; under systemd each daemon has a unit of its own. Nothing is
 * restarted here: if one daemon dies the other is stopped, and whoever started us decides.
 * SIGHUP is theirs: each reads its configuration again.
 */
#include "cli/child.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/verbs.h"
#include "cli/when.h"
#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define READY_WITHIN_NS 120000000000 /* recovery of many stores on a slow disk */
#define QUERYD_PATIENCE_NS 15000000000
#define INGESTD_PATIENCE_NS 60000000000 /* it syncs what it has */
#define MAX_ARGV 20

struct serve_args {
    struct cli_common common;
    bool no_socket, no_ingest_http;
    const char *socket, *run_dir, *http, *ingest_http, *admin_key_file;
};

#define TEXT_ROW(option, field, value, text)                                                       \
    {                                                                                              \
        .name = option, .kind = CLI_TEXT, .placeholder = value, .help = text,                      \
        .offset = offsetof(struct serve_args, field)                                               \
    }

static const struct cli_option options[] = {
    TEXT_ROW("http", http, "HOST:PORT", "where queryd listens (127.0.0.1:21080; port 0: any)"),
    TEXT_ROW("ingest-http", ingest_http, "HOST:PORT", "where ingestd listens (127.0.0.1:21081)"),
    {.name = "no-ingest-http",
     .kind = CLI_FLAG,
     .help = "no HTTP at ingestd",
     .offset = offsetof(struct serve_args, no_ingest_http)},
    TEXT_ROW("socket", socket, "PATH", "Unix socket of ingestd (TSSTORE_SOCKET_PATH)"),
    {.name = "no-socket",
     .kind = CLI_FLAG,
     .help = "no Unix socket",
     .offset = offsetof(struct serve_args, no_socket)},
    TEXT_ROW("run-dir", run_dir, "DIR", "where the daemons meet (directory of the socket)"),
    TEXT_ROW("admin-key-file", admin_key_file, "FILE", "file with the admin key"),
};

struct serve {
    const struct cli_common *common;
    struct ts_config config;
    bool has_socket, has_ingest_http;
    int hangup_fd; /* owned; readable after a SIGHUP; -1: none */
    struct child ingestd, queryd;
    char ingestd_line[CHILD_LINE_BYTES], queryd_line[CHILD_LINE_BYTES]; /* "listening …" */
};

static enum ts_err
set_flag(struct ts_config *config, const char *key, const char *option, const char *value)
{
    enum ts_err err = value != NULL ? ts_config_set_flag(config, key, value) : TS_OK;

    if (err != TS_OK)
        TS_CONTEXT("%s", option);
    return err;
}

/* The settings that hold, checked as the daemons will check them: better one message now than two
 * half-started children. */
static enum ts_err
load(struct serve *serve, const struct serve_args *args)
{
    struct ts_config *config = &serve->config;
    enum ts_err err = cli_load_config(&args->common, config);

    if (err == TS_OK && args->no_socket && args->socket != NULL)
        err = TS_FAIL(TS_E_USAGE, "--socket and --no-socket exclude each other");
    if (err == TS_OK && args->no_ingest_http && args->ingest_http != NULL)
        err = TS_FAIL(TS_E_USAGE, "--ingest-http and --no-ingest-http exclude each other");
    if (err == TS_OK)
        err = set_flag(config, "server.socket_path", "--socket", args->socket);
    if (err == TS_OK)
        err = set_flag(config, "server.run_dir", "--run-dir", args->run_dir);
    if (err == TS_OK)
        err = set_flag(config, "server.http", "--http", args->http);
    if (err == TS_OK)
        err = set_flag(config, "server.ingest_http", "--ingest-http", args->ingest_http);
    if (err == TS_OK)
        err = set_flag(config, "server.admin_key_file", "--admin-key-file", args->admin_key_file);
    if (err == TS_OK)
        err = ts_config_check_serve(config);
    /* The daemons read it themselves; by name, so that it never shows in ps. What the flag
     * outweighs must not reach them, they would see two keys and refuse. */
    if (err == TS_OK && args->admin_key_file != NULL &&
        (unsetenv("TSSTORE_ADMIN_KEY") != 0 ||
         setenv("TSSTORE_ADMIN_KEY_FILE", args->admin_key_file, 1) != 0))
        err = TS_FAIL_ERRNO(TS_E_SYSTEM, "setenv");
    serve->has_socket = !args->no_socket && config->socket_path[0] != '\0';
    serve->has_ingest_http = !args->no_ingest_http && config->ingest_host[0] != '\0';
    ts_config_wipe(config);
    return err;
}

/* A command line in the making. Texts are borrowed. */
struct command {
    const char *argv[MAX_ARGV + 1];
    size_t n;
};

static void
add(struct command *command, const char *option, const char *value)
{
    if (value == NULL || command->n + 2 > MAX_ARGV)
        return;
    command->argv[command->n++] = option;
    command->argv[command->n++] = value;
}

static void
begin(struct command *command, const struct serve *serve, const char *program)
{
    *command = (struct command){.argv = {program}, .n = 1};
    add(command, "--data", serve->config.base_path);
    add(command, "--run-dir", serve->config.run_dir);
    add(command, "--config", serve->common->config);
}

static enum ts_err
start_ingestd(struct serve *serve)
{
    const struct ts_config *config = &serve->config;
    char program[PATH_MAX], http[TS_CONFIG_HOST_BYTES + 16];
    struct command command;
    enum ts_err err = child_find_program("ingestd", program);

    if (err != TS_OK)
        return err;
    begin(&command, serve, program);
    snprintf(http, sizeof http, "%s:%u", config->ingest_host, config->ingest_port);
    if (serve->has_socket)
        add(&command, "--socket", config->socket_path);
    else
        command.argv[command.n++] = "--no-socket";
    if (serve->has_ingest_http)
        add(&command, "--http", http);
    else
        command.argv[command.n++] = "--no-http";
    return child_start("ingestd", (char *const *)command.argv, &serve->ingestd);
}

static enum ts_err
start_queryd(struct serve *serve)
{
    const struct ts_config *config = &serve->config;
    char program[PATH_MAX], http[TS_CONFIG_HOST_BYTES + 16];
    struct command command;
    enum ts_err err = child_find_program("queryd", program);

    if (err != TS_OK)
        return err;
    begin(&command, serve, program);
    snprintf(http, sizeof http, "%s:%u", config->host, config->port);
    add(&command, "--http", http);
    return child_start("queryd", (char *const *)command.argv, &serve->queryd);
}

/* The value of "name=value" in a listening line, up to the next blank. False if it is missing. */
static bool
find_field(const char *line, const char *name, char *out_value, size_t out_bytes)
{
    const size_t name_bytes = strlen(name);
    const char *at = line;

    while ((at = strchr(at, ' ')) != NULL) {
        at++;
        if (strncmp(at, name, name_bytes) == 0 && at[name_bytes] == '=') {
            at += name_bytes + 1;
            snprintf(out_value, out_bytes, "%.*s", (int)strcspn(at, " "), at);
            return true;
        }
    }
    return false;
}

/* Passes on what a daemon printed; its listening line is kept in out_ready. */
static void
pass_output(struct child *child, char out_ready[CHILD_LINE_BYTES])
{
    char line[CHILD_LINE_BYTES];

    if (!child_read_line(child, line))
        return;
    do {
        if (strncmp(line, "listening ", 10) == 0)
            memcpy(out_ready, line, sizeof line);
        else
            ts_log(TS_LOG_INFO, "%s: %s", child->name, line);
    } while (memchr(child->line, '\n', child->line_bytes) != NULL && child_read_line(child, line));
}

/* From now on a SIGHUP waits in *out_fd. What we start gets a mask of its own. */
static enum ts_err
open_hangup(int *out_fd)
{
    sigset_t hangup;

    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &hangup, NULL) != 0)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "sigprocmask");
    *out_fd = signalfd(-1, &hangup, SFD_CLOEXEC | SFD_NONBLOCK);
    return *out_fd >= 0 ? TS_OK : TS_FAIL_ERRNO(TS_E_SYSTEM, "signalfd");
}

static void
pass_hangup(struct serve *serve)
{
    struct signalfd_siginfo info;

    if (read(serve->hangup_fd, &info, sizeof info) != sizeof info)
        return;
    ts_log(TS_LOG_INFO, "SIGHUP: passed on to ingestd and queryd");
    child_signal(&serve->ingestd, SIGHUP);
    child_signal(&serve->queryd, SIGHUP);
}

/* Sleeps until a daemon spoke or ended, a stop was asked for, or the deadline; 0: none, and both
 * are ready. A SIGHUP waits until then, it would kill who is only starting. TS_E_SYSTEM if one
 * ended: neither should while we run. */
static enum ts_err
wait_and_pass(struct serve *serve, int64_t deadline_ns)
{
    struct child *children[] = {&serve->ingestd, &serve->queryd};
    char *lines[] = {serve->ingestd_line, serve->queryd_line};
    struct pollfd ready[] = {
        {.fd = cli_stop_fd(), .events = POLLIN},
        {.fd = serve->ingestd.pid_fd, .events = POLLIN},
        {.fd = serve->queryd.pid_fd, .events = POLLIN},
        {.fd = serve->ingestd.out_fd, .events = POLLIN},
        {.fd = serve->queryd.out_fd, .events = POLLIN},
        {.fd = deadline_ns == 0 ? serve->hangup_fd : -1, .events = POLLIN},
    };
    const int64_t left_ns = deadline_ns - cli_monotonic_ns();
    const int left_ms = deadline_ns == 0 ? -1 : left_ns > 0 ? (int)(left_ns / 1000000) + 1 : 0;

    if (poll(ready, COUNTOF(ready), left_ms) < 0 && errno != EINTR)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "poll");
    if (ready[5].revents != 0)
        pass_hangup(serve);
    for (size_t i = 0; i < COUNTOF(children); i++) {
        char how[64];

        if (ready[3 + i].revents != 0)
            pass_output(children[i], lines[i]);
        if (child_has_ended(children[i], how, sizeof how))
            return TS_FAIL(TS_E_SYSTEM, "Server error: %s ended, %s", children[i]->name, how);
    }
    return TS_OK;
}

/* Waits until a daemon's listening line is there, or a stop was asked for. */
static enum ts_err
wait_ready(struct serve *serve, const struct child *child, const char *ready_line)
{
    const int64_t deadline_ns = cli_monotonic_ns() + READY_WITHIN_NS;

    while (ready_line[0] == '\0' && !cli_stop_asked()) {
        const enum ts_err err = wait_and_pass(serve, deadline_ns);

        if (err != TS_OK)
            return err;
        if (cli_monotonic_ns() > deadline_ns)
            return TS_FAIL(TS_E_SYSTEM, "Server error: %s is not ready after %lld s", child->name,
                           (long long)(READY_WITHIN_NS / 1000000000));
    }
    return TS_OK;
}

/* What a client needs to know, for people on standard error and for programs on standard output. */
static enum ts_err
announce(const struct serve *serve)
{
    const struct ts_config *config = &serve->config;
    const char *socket = serve->has_socket ? config->socket_path : "";
    char http[128] = "", ingest[128] = "";
    const bool has_tls = config->tls_cert_file[0] != '\0';
    struct ts_text out;
    enum ts_err err;

    find_field(serve->queryd_line, "http", http, sizeof http);
    if (serve->has_ingest_http)
        find_field(serve->ingestd_line, "http", ingest, sizeof ingest);
    ts_log(TS_LOG_INFO, "Starting tsstore server on %s (%s)", http, has_tls ? "HTTPS" : "HTTP");
    if (serve->has_socket)
        ts_log(TS_LOG_INFO, "Unix socket listening on %s", socket);
    ts_text_init(&out);
    if (serve->common->wants_json) {
        cli_json_text(&out, "{", "http", http);
        cli_json_text(&out, ",", "ingest_http", ingest);
        cli_json_text(&out, ",", "socket", socket);
        cli_json_text(&out, ",", "run_dir", config->run_dir);
        cli_json_text(&out, ",", "data", config->base_path);
        ts_text_puts(&out, "}\n");
    } else {
        ts_text_printf(&out, "listening http=%s", http);
        if (serve->has_ingest_http)
            ts_text_printf(&out, " ingest=%s", ingest);
        if (serve->has_socket)
            ts_text_printf(&out, " socket=%s", socket);
        ts_text_printf(&out, " run=%s data=%s\n", config->run_dir, config->base_path);
    }
    err = cli_print(&out);
    ts_text_done(&out);
    return err == TS_OK ? cli_flush() : err;
}

/* ingestd first: queryd finds it there at its first attempt. */
static enum ts_err
start_and_watch(struct serve *serve)
{
    enum ts_err err = start_ingestd(serve);

    if (err == TS_OK)
        err = wait_ready(serve, &serve->ingestd, serve->ingestd_line);
    if (err == TS_OK && !cli_stop_asked())
        err = start_queryd(serve);
    if (err == TS_OK && !cli_stop_asked())
        err = wait_ready(serve, &serve->queryd, serve->queryd_line);
    if (err == TS_OK && !cli_stop_asked())
        err = announce(serve);
    while (err == TS_OK && !cli_stop_asked())
        err = wait_and_pass(serve, 0);
    return err;
}

static int
run(void *arguments)
{
    static struct serve serve = {.hangup_fd = -1, .ingestd = CHILD_NONE, .queryd = CHILD_NONE};
    const struct serve_args *args = arguments;
    bool ended_well = true;
    enum ts_err err;

    serve.common = &args->common;
    err = load(&serve, args);
    if (err == TS_OK)
        err = cli_stop_init();
    if (err == TS_OK)
        err = open_hangup(&serve.hangup_fd);
    if (err != TS_OK)
        return cli_fail(&args->common, err, NULL);
    err = start_and_watch(&serve);
    if (err != TS_OK)
        cli_fail(&args->common, err, NULL);
    ts_log(TS_LOG_INFO, "Shutting down server...");
    /* queryd first: what its clients are just writing still finds ingestd. */
    ended_well = child_stop(&serve.queryd, QUERYD_PATIENCE_NS) && ended_well;
    ended_well = child_stop(&serve.ingestd, INGESTD_PATIENCE_NS) && ended_well;
    close(serve.hangup_fd);
    ts_log(ended_well ? TS_LOG_INFO : TS_LOG_ERROR,
           ended_well ? "Server stopped" : "Server stopped; a daemon did not end in order");
    return err == TS_OK && ended_well ? 0 : 1;
}

const struct cli_verb cmd_serve = {
    .name = "serve",
    .arguments = "",
    .summary = "Run ingestd and queryd until Ctrl-C",
    .notes =
        "Both daemons are children of this process and end with it, queryd first. If one dies\n"
        "the other is stopped and the exit code is 1. SIGHUP lets both read their\n"
        "configuration again. The admin key comes from TSSTORE_ADMIN_KEY,\n"
        "TSSTORE_ADMIN_KEY_FILE, --admin-key-file or server.admin_key.\n"
        "When ready, one line \"listening http=HOST:PORT ...\" is on standard output.\n",
    .options = options,
    .n_options = COUNTOF(options),
    .has_data_options = true,
    .args_bytes = sizeof(struct serve_args),
    .run = run,
};
