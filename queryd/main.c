/* main.c - queryd: serves every read of a data directory, and writes to none of it. */
#include "common/config.h"
#include "common/log.h"
#include "common/map.h"
#include "daemon/lifecycle.h"
#include "daemon/message_socket.h"
#include "daemon/route_list.h"
#include "queryd/forward.h"
#include "queryd/forward_share.h"
#include "queryd/queryd.h"
#include "queryd/routes.h"
#include "queryd/views.h"
#include "queryd/waiters.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SWEEP_MS 5000
#define GOOD_BYE_MS 500
#define INGESTD_WITHIN_MS 500

static const char usage[] =
    "Usage: queryd [OPTION]...\n"
    "Serve all reads of a data directory over HTTP and WebSocket. Never writes to it.\n"
    "\n"
    "  --data DIR        directory of the stores (TSSTORE_DATA_PATH)\n"
    "  --run-dir DIR     where ingestd's control sockets are (TSSTORE_RUN_DIR)\n"
    "  --http HOST:PORT  listen there; port 0 takes a free one (TSSTORE_HOST, TSSTORE_PORT)\n"
    "  --config FILE     settings (TSSTORE_CONFIG, else config.json if it is there)\n"
    "  --log-level LEVEL error, warning, info or debug (TSSTORE_LOG_LEVEL)\n"
    "  --help, --version\n"
    "\n"
    "Prints \"listening http=HOST:PORT run=DIR data=DIR\" when it is ready.\n"
    "SIGTERM and SIGINT stop it; SIGHUP reads the log level and the certificate again.\n"
    "Exit status: 0 stopped, 1 failed, 2 wrong usage.\n";

/* Flags, as they were given; those of settings are applied over what was loaded. */
struct flags {
    const char *config_file, *data_dir, *run_dir, *http, *log_level;
};

static int
fail(enum ts_err err)
{
    fprintf(stderr, "queryd: %s\n", ts_error_text());
    return ts_error_exit_code(err);
}

/* -1 to go on; else the exit status. */
static int
parse_flags(int argc, char **argv, struct flags *flags)
{
    static const struct option options[] = {
        {"data", required_argument, NULL, 'd'},      {"run-dir", required_argument, NULL, 'r'},
        {"http", required_argument, NULL, 'w'},      {"config", required_argument, NULL, 'c'},
        {"log-level", required_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},         {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            flags->data_dir = optarg;
            break;
        case 'r':
            flags->run_dir = optarg;
            break;
        case 'w':
            flags->http = optarg;
            break;
        case 'c':
            flags->config_file = optarg;
            break;
        case 'l':
            flags->log_level = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        case 'v':
            printf("queryd %s\n", ts_version());
            return 0;
        default:
            fputs("Try 'queryd --help'.\n", stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "queryd: unexpected argument '%s'\n", argv[optind]);
        return 2;
    }
    return -1;
}

static enum ts_err
load(const struct flags *flags, struct ts_config *config)
{
    enum ts_err err;

    err = ts_config_load(config, flags->config_file);
    if (err == TS_OK && flags->data_dir != NULL)
        err = ts_config_set_flag(config, "store.base_path", flags->data_dir);
    if (err == TS_OK && flags->run_dir != NULL)
        err = ts_config_set_flag(config, "server.run_dir", flags->run_dir);
    if (err == TS_OK && flags->http != NULL)
        err = ts_config_set_flag(config, "server.http", flags->http);
    if (err == TS_OK && flags->log_level != NULL)
        err = ts_config_set_flag(config, "log.level", flags->log_level);
    if (err == TS_OK)
        err = ts_config_check_files(config);
    /* Admin keys are ingestd's to check: one that is not here cannot be taken from here. */
    ts_config_wipe(config);
    return err;
}

static void
log_server(const char *text)
{
    ts_log(TS_LOG_DEBUG, "http: %s", text);
}

/* It is ingestd's to make. Without it every request would be answered as if there were no store,
 * and nobody would know why. */
static enum ts_err
check_data_dir(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return TS_FAIL_ERRNO(TS_E_IO, "data directory %s (made by ingestd, named by --data)", path);
    close(fd);
    return TS_OK;
}

static enum ts_err
start_parts(const struct ts_config *config, struct queryd *queryd, struct http_server **out_server)
{
    const struct http_options options = {
        .host = config->host,
        .port = config->port,
        .max_connections = config->max_connections,
        .max_body_bytes = config->max_body_bytes,
        .routes = routes,
        .n_routes = n_routes,
        .ctx = queryd,
        .log = log_server,
        .tls_cert_file = config->tls_cert_file,
        .tls_key_file = config->tls_key_file,
    };
    enum ts_err err;

    queryd->data_dir = config->base_path;
    queryd->max_message_bytes = (size_t)config->max_line_bytes;
    err = check_data_dir(config->base_path);
    if (err == TS_OK)
        err = views_new(config->base_path, &queryd->views);
    if (err == TS_OK)
        err = waiters_open(config->run_dir, &queryd->waiters);
    if (err == TS_OK)
        err = forward_open(config->run_dir, &queryd->forward);
    if (err == TS_OK)
        err = forward_share_new(queryd->forward, &queryd->share);
    if (err == TS_OK)
        err = http_server_start(&options, out_server);
    return err;
}

/* Streams and forwarded requests are ended first: the server waits for their handlers. */
static void
stop_parts(struct queryd *queryd, struct http_server *server)
{
    if (queryd->waiters != NULL)
        waiters_stop_all(queryd->waiters, GOOD_BYE_MS);
    message_sockets_stop(queryd->writers, GOOD_BYE_MS);
    if (queryd->forward != NULL)
        forward_stop(queryd->forward);
    http_server_stop(server);
    message_sockets_done(queryd->writers);
    forward_share_free(queryd->share);
    forward_close(queryd->forward);
    waiters_close(queryd->waiters);
    views_free(queryd->views);
}

/* The certificate may be another one; whether there is one stays as it was. */
static void
reload_tls(const struct ts_config *config, struct http_server *server)
{
    if (config->tls_cert_file[0] == '\0')
        return;
    if (http_server_load_tls(server, config->tls_cert_file, config->tls_key_file) == TS_OK)
        ts_log(TS_LOG_INFO, "new connections get the certificate in %s", config->tls_cert_file);
    else
        ts_log(TS_LOG_ERROR, "the certificate stays as it was: %s", ts_error_text());
}

static void
reload(const struct flags *flags, struct http_server *server)
{
    struct ts_config config;

    lifecycle_reloading();
    if (load(flags, &config) == TS_OK) {
        ts_log_set_level(config.log_level);
        ts_log_set_format(config.log_format);
        ts_log(TS_LOG_INFO, "log level is %s; other settings need a restart",
               ts_log_level_name(config.log_level));
        reload_tls(&config, server);
    } else {
        ts_log(TS_LOG_ERROR, "reload: %s", ts_error_text());
    }
    lifecycle_reloaded();
}

static void
run(struct lifecycle *life, const struct flags *flags, struct queryd *queryd,
    struct http_server *server)
{
    for (;;) {
        switch (lifecycle_wait(life, SWEEP_MS)) {
        case LIFECYCLE_STOP:
            return;
        case LIFECYCLE_RELOAD:
            reload(flags, server);
            break;
        case LIFECYCLE_NOTHING:
            views_sweep(queryd->views);
            break;
        }
    }
}

int
main(int argc, char **argv)
{
    struct http_server *server = NULL;
    struct message_sockets writers;
    struct queryd queryd = {.writers = &writers};
    struct flags flags = {0};
    struct ts_config config;
    struct lifecycle life;
    int status;
    enum ts_err err;

    status = parse_flags(argc, argv, &flags);
    if (status >= 0)
        return status;
    err = load(&flags, &config);
    if (err != TS_OK)
        return fail(err);
    ts_log_init("queryd", config.log_level);
    ts_log_set_format(config.log_format);
    lifecycle_raise_descriptor_limit();
    ts_map_guard_install();
    err = lifecycle_init(&life);
    if (err != TS_OK)
        return fail(err);
    message_sockets_init(&writers);
    err = start_parts(&config, &queryd, &server);
    if (err == TS_OK) {
        if (config.mode == TS_MODE_DEBUG)
            route_list_log(routes, n_routes);
        forward_await(queryd.forward, INGESTD_WITHIN_MS);
        lifecycle_ready("http=%s:%u run=%s data=%s", config.host, http_server_port(server),
                        config.run_dir, config.base_path);
        run(&life, &flags, &queryd, server);
        lifecycle_stopping();
    } else {
        status = fail(err);
    }
    stop_parts(&queryd, server);
    lifecycle_done(&life);
    return err == TS_OK ? 0 : status;
}
