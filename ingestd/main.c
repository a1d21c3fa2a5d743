/* main.c - ingestd: the one process that writes. Arguments, order of start and stop. */
#include "common/config.h"
#include "common/log.h"
#include "common/map.h"
#include "daemon/lifecycle.h"
#include "ingestd/catalog.h"
#include "ingestd/counters.h"
#include "ingestd/data_lock.h"
#include "ingestd/in_control.h"
#include "ingestd/in_http.h"
#include "ingestd/in_socket.h"

#include <getopt.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SWEEP_MS 1000
#define SWEEPS_PER_CHECK 5 /* of the nng endpoints */
/* Past this the stop does not wait for HTTP clients any more; the stores are synced all the same.
 */
#define STOP_MS 4500

static const char usage[] =
    "usage: ingestd [options]\n"
    "\n"
    "Writes the stores of a data directory: from the Unix socket, from HTTP, and for queryd.\n"
    "\n"
    "  --data DIR         data directory (store.base_path)\n"
    "  --config FILE      configuration file (default: $TSSTORE_CONFIG, config.json)\n"
    "  --run-dir DIR      where queryd is met (server.run_dir)\n"
    "  --socket PATH      Unix socket for feeders (server.socket_path)\n"
    "  --no-socket        none\n"
    "  --http HOST:PORT   HTTP for feeders, port 0: any free one (server.ingest_http)\n"
    "  --no-http          none\n"
    "  --log-level LEVEL  error, warning, info, debug (log.level)\n"
    "  --help, --version\n"
    "\n"
    "SIGTERM stops, SIGHUP reads the configuration again. Exit: 0 stopped, 1 failed, 2 usage.\n";

/* What the command line set: applied again to every configuration that is read. */
struct flags {
    const char *config_file;
    struct {
        const char *key, *value;
    } set[16];
    size_t n_set;
};

struct ingestd {
    struct flags flags;
    struct settings settings;
    struct lifecycle life;
    int lock_fd, durable_fd;
    uint64_t instance;
    struct publish *publish;
    struct catalog *catalog;
    struct executed *resends;
    struct mutation mutation;
    struct in_socket *in_socket;
    struct in_control *in_control;
    struct in_http *in_http;
};

/* ---- arguments and configuration ---- */

enum {
    OPT_DATA = 256,
    OPT_CONFIG,
    OPT_RUN_DIR,
    OPT_SOCKET,
    OPT_NO_SOCKET,
    OPT_HTTP,
    OPT_NO_HTTP,
    OPT_LOG_LEVEL,
    OPT_HELP,
    OPT_VERSION
};

static void
add_flag(struct flags *flags, const char *key, const char *value)
{
    if (flags->n_set == sizeof flags->set / sizeof flags->set[0])
        return;
    flags->set[flags->n_set].key = key;
    flags->set[flags->n_set].value = value;
    flags->n_set++;
}

/* Ends the process for --help, --version and a wrong usage. */
static void
parse_arguments(int argc, char **argv, struct flags *flags)
{
    static const struct option options[] = {
        {"data", required_argument, NULL, OPT_DATA},
        {"config", required_argument, NULL, OPT_CONFIG},
        {"run-dir", required_argument, NULL, OPT_RUN_DIR},
        {"socket", required_argument, NULL, OPT_SOCKET},
        {"no-socket", no_argument, NULL, OPT_NO_SOCKET},
        {"http", required_argument, NULL, OPT_HTTP},
        {"no-http", no_argument, NULL, OPT_NO_HTTP},
        {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
        {"help", no_argument, NULL, OPT_HELP},
        {"version", no_argument, NULL, OPT_VERSION},
        {0},
    };
    static const char *const keys[] = {
        [0] = "store.base_path",
        [OPT_RUN_DIR - OPT_DATA] = "server.run_dir",
        [OPT_SOCKET - OPT_DATA] = "server.socket_path",
        [OPT_HTTP - OPT_DATA] = "server.ingest_http",
        [OPT_LOG_LEVEL - OPT_DATA] = "log.level",
    };
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case OPT_CONFIG:
            flags->config_file = optarg;
            break;
        case OPT_NO_SOCKET:
            add_flag(flags, "server.socket_path", "");
            break;
        case OPT_NO_HTTP:
            add_flag(flags, "server.ingest_host", "");
            break;
        case 'h':
        case OPT_HELP:
            fputs(usage, stdout);
            exit(0);
        case OPT_VERSION:
            printf("ingestd %s\n", ts_version());
            exit(0);
        case '?':
            fputs(usage, stderr);
            exit(2);
        default:
            add_flag(flags, keys[option - OPT_DATA], optarg);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "ingestd: unexpected argument: %s\n%s", argv[optind], usage);
        exit(2);
    }
}

static enum ts_err
load_config(const struct flags *flags, struct ts_config *config)
{
    enum ts_err err = ts_config_load(config, flags->config_file);

    for (size_t i = 0; i < flags->n_set && err == TS_OK; i++)
        err = ts_config_set_flag(config, flags->set[i].key, flags->set[i].value);
    if (err == TS_OK)
        err = ts_config_read_admin_key(config);
    if (err != TS_OK)
        return err;
    /* Without an admin key everything works but POST /api/stores: `tsstore create` needs none. */
    return config->admin_key[0] == '\0' ? ts_config_check_files(config)
                                        : ts_config_check_serve(config);
}

/* The certificate may be another one; whether there is one stays as it was. */
static void
reload_tls(struct ingestd *daemon, const struct ts_config *config)
{
    if (daemon->in_http == NULL || config->tls_cert_file[0] == '\0')
        return;
    if (in_http_load_tls(daemon->in_http, config) == TS_OK)
        ts_log(TS_LOG_INFO, "new connections get the certificate in %s", config->tls_cert_file);
    else
        ts_log(TS_LOG_ERROR, "the certificate stays as it was: %s", ts_error_text());
}

static void
reload(struct ingestd *daemon)
{
    struct ts_config config;

    lifecycle_reloading();
    if (load_config(&daemon->flags, &config) == TS_OK) {
        settings_replace(&daemon->settings, &config);
        ts_log_set_level(config.log_level);
        ts_log_set_format(config.log_format);
        ts_log(TS_LOG_INFO, "configuration read again: limits, admin key, log level, sizes of new "
                            "stores; the rest holds from the next start");
        reload_tls(daemon, &config);
        ts_config_wipe(&config);
    } else {
        ts_log(TS_LOG_ERROR, "configuration not changed: %s", ts_error_text());
    }
    lifecycle_reloaded();
}

/* ---- start ---- */

static enum ts_err
open_data(struct ingestd *daemon, const struct ts_config *config)
{
    enum ts_err err = data_lock_open(config->base_path, &daemon->lock_fd);
    size_t n_known, n_open;

    if (err == TS_OK)
        err = data_lock_make_dir(config->run_dir);
    if (err == TS_OK)
        err = publish_open(config->run_dir, daemon->instance, &daemon->publish);
    if (err == TS_OK)
        err =
            catalog_open(config->base_path, daemon->publish, daemon->durable_fd, &daemon->catalog);
    if (err != TS_OK)
        return err;
    catalog_count(daemon->catalog, &n_known, &n_open);
    ts_log(TS_LOG_INFO, "%zu of %zu stores in %s are open", n_open, n_known, config->base_path);
    return TS_OK;
}

static enum ts_err
open_doors(struct ingestd *daemon, const struct ts_config *config)
{
    const struct in_socket_options socket = {
        .path = config->socket_path,
        .durable_fd = daemon->durable_fd,
        .catalog = daemon->catalog,
        .publish = daemon->publish,
        .settings = &daemon->settings,
    };
    enum ts_err err;

    err = executed_new(MUTATION_RESENDS, MUTATION_RESENDS_PER_STORE, MUTATION_RESEND_BYTES,
                       &daemon->resends);
    daemon->mutation = (struct mutation){.catalog = daemon->catalog,
                                         .publish = daemon->publish,
                                         .settings = &daemon->settings,
                                         .resends = daemon->resends};
    if (err == TS_OK)
        err = in_socket_start(&socket, &daemon->in_socket);
    if (err == TS_OK)
        err = in_control_start(&daemon->mutation, config->run_dir, daemon->instance,
                               &daemon->in_control);
    if (err == TS_OK && config->ingest_host[0] != '\0')
        err = in_http_start(&daemon->mutation, &daemon->in_http);
    return err;
}

static void
say_ready(const struct ingestd *daemon, const struct ts_config *config)
{
    char http[TS_CONFIG_HOST_BYTES + 8] = "none";

    if (daemon->in_http != NULL)
        snprintf(http, sizeof http, "%s:%u", config->ingest_host, in_http_port(daemon->in_http));
    lifecycle_ready("http=%s socket=%s run=%s data=%s", http,
                    config->socket_path[0] != '\0' ? config->socket_path : "none", config->run_dir,
                    config->base_path);
}

/* ---- stop ---- */

static void *
stop_http(void *arg)
{
    in_http_stop(arg);
    return NULL;
}

static void
stop_feeders(struct ingestd *daemon)
{
    in_socket_stop(daemon->in_socket);
    daemon->in_socket = NULL;
    in_control_stop(daemon->in_control);
    daemon->in_control = NULL;
}

/* All doors at once, so that the slowest decides. False if an HTTP client held on too long: its
 * thread may then still use a store. */
static bool
close_doors(struct ingestd *daemon)
{
    struct timespec deadline;
    pthread_t thread;

    if (daemon->in_http == NULL || pthread_create(&thread, NULL, stop_http, daemon->in_http) != 0) {
        stop_feeders(daemon);
        in_http_stop(daemon->in_http);
        return true;
    }
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += STOP_MS / 1000;
    deadline.tv_nsec += (STOP_MS % 1000) * 1000000L;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    stop_feeders(daemon);
    return pthread_timedjoin_np(thread, NULL, &deadline) == 0;
}

/* Exit code: 0 unless a store could not be synced. */
static int
shut_down(struct ingestd *daemon)
{
    enum ts_err err;

    if (!close_doors(daemon)) {
        ts_log(TS_LOG_WARNING, "an HTTP client did not let go: leaving without it");
        err = catalog_sync(daemon->catalog);
        _exit(ts_error_exit_code(err));
    }
    err = catalog_close(daemon->catalog);
    executed_free(daemon->resends);
    publish_close(daemon->publish);
    data_lock_close(daemon->lock_fd);
    if (daemon->durable_fd >= 0)
        close(daemon->durable_fd);
    settings_done(&daemon->settings);
    lifecycle_done(&daemon->life);
    return ts_error_exit_code(err);
}

/* ---- main ---- */

static void
check_loop(struct ingestd *daemon)
{
    const bool is_alive = daemon->in_socket == NULL || in_socket_is_alive(daemon->in_socket);

    counters_set_alive(is_alive);
    if (!is_alive)
        ts_log(TS_LOG_WARNING, "socket: the loop did not go round for %d ms", SWEEP_MS);
}

static void
serve(struct ingestd *daemon)
{
    unsigned n_sweeps = 0;

    for (;;) {
        switch (lifecycle_wait(&daemon->life, SWEEP_MS)) {
        case LIFECYCLE_STOP:
            return;
        case LIFECYCLE_RELOAD:
            reload(daemon);
            break;
        case LIFECYCLE_NOTHING:
            catalog_sweep(daemon->catalog);
            if (++n_sweeps % SWEEPS_PER_CHECK == 0) {
                in_control_check(daemon->in_control);
                publish_check(daemon->publish);
            }
            check_loop(daemon);
            break;
        }
    }
}

int
main(int argc, char **argv)
{
    struct ingestd daemon = {.lock_fd = -1, .durable_fd = -1};
    struct ts_config config;
    enum ts_err err;
    int code;

    ts_log_init("ingestd", TS_LOG_INFO);
    ts_map_guard_install(); /* a file that somebody truncates takes no other store down */
    parse_arguments(argc, argv, &daemon.flags);
    err = load_config(&daemon.flags, &config);
    if (err != TS_OK || sodium_init() < 0) {
        ts_log(TS_LOG_ERROR, "%s", err != TS_OK ? ts_error_text() : "libsodium does not start");
        return err != TS_OK ? ts_error_exit_code(err) : 1;
    }
    ts_log_set_level(config.log_level);
    ts_log_set_format(config.log_format);
    settings_init(&daemon.settings, &config);
    ts_config_wipe(&config);
    lifecycle_raise_descriptor_limit();
    randombytes_buf(&daemon.instance, sizeof daemon.instance);
    daemon.instance |= 1; /* 0 means nobody */
    daemon.durable_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    err = lifecycle_init(&daemon.life);
    if (err == TS_OK)
        err = open_data(&daemon, &config);
    if (err == TS_OK)
        err = open_doors(&daemon, &config);
    if (err == TS_OK) {
        say_ready(&daemon, &config);
        serve(&daemon);
        lifecycle_stopping();
        ts_log(TS_LOG_INFO, "stopping");
    } else {
        ts_log(TS_LOG_ERROR, "%s", ts_error_text());
    }
    code = shut_down(&daemon);
    return err != TS_OK ? ts_error_exit_code(err) : code;
}
