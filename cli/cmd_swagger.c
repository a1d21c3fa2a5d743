/* cmd_swagger.c - tsstore swagger: the API description and a page to read it, on this machine.
 *
 * The page asks for the description as JSON, which the YAML was turned into before; it talks to
 * the server itself, so nothing of what is tried passes through here.
 */
#include "cli/http_get.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/swagger_page.h"
#include "cli/verbs.h"
#include "cli/yaml.h"
#include "common/smallfile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <nng/nng.h>
#include <nng/supplemental/http/http.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PORT 21090

extern char **environ;

struct swagger_args {
    struct cli_common common;
    struct cli_number port;
    bool no_browser;
    const char *file;
};

static const struct cli_option options[] = {
    {.name = "port",
     .kind = CLI_NUMBER,
     .placeholder = "N",
     .help = "where the page is (21090; 0: any free one)",
     .offset = offsetof(struct swagger_args, port),
     .max = 65535},
    {.name = "no-browser",
     .kind = CLI_FLAG,
     .help = "do not open a browser",
     .offset = offsetof(struct swagger_args, no_browser)},
    {.name = "file",
     .kind = CLI_TEXT,
     .placeholder = "FILE",
     .help = "another description, YAML or JSON",
     .offset = offsetof(struct swagger_args, file)},
};

struct swagger {
    char path[PATH_MAX]; /* of the description */
    char *yaml;          /* owned */
    size_t yaml_bytes;
    char *json;            /* owned; "{}" if the YAML could not be read */
    struct ts_text server; /* {"url":…,"error":…} for the page */
    nng_http_server *http; /* owned */
    uint16_t port;
};

/* ---- the description ---- */

/* Reads `path`; false if there is no such file. Any other failure is *err. */
static bool
read_if_there(struct swagger *swagger, const char *path, enum ts_err *err)
{
    *err = ts_smallfile_read_path(path, YAML_MAX_BYTES, &swagger->yaml, &swagger->yaml_bytes);
    if (*err == TS_OK && realpath(path, swagger->path) == NULL)
        snprintf(swagger->path, sizeof swagger->path, "%s", path);
    return *err != TS_E_NOT_FOUND;
}

/* The working directory, then where the program is: installed, or in the tree that built it. */
static enum ts_err
find_description(struct swagger *swagger)
{
    static const char *const beside[] = {"swagger.yaml", "../share/tsstore/openapi.yaml",
                                         "../../proto/openapi.yaml", "../../../proto/openapi.yaml"};
    char self[PATH_MAX], path[PATH_MAX + 64];
    ssize_t bytes;
    enum ts_err err;

    if (read_if_there(swagger, "swagger.yaml", &err))
        return err;
    bytes = readlink("/proc/self/exe", self, sizeof self - 1);
    if (bytes < 0)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "/proc/self/exe");
    self[bytes] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < COUNTOF(beside); i++) {
        snprintf(path, sizeof path, "%s/%s", self, beside[i]);
        if (read_if_there(swagger, path, &err))
            return err;
    }
    return TS_FAIL(TS_E_NOT_FOUND,
                   "it is not in the working directory, and no "
                   "../share/tsstore/openapi.yaml is beside %s",
                   self);
}

/* What the page is given. A description that can't be read as YAML is shown as it is. */
static enum ts_err
prepare(struct swagger *swagger, const struct ts_config *config)
{
    const struct http_place place = {
        .host = config->host, .port = config->port, .has_tls = config->tls_cert_file[0] != '\0'};
    json_t *tree = NULL;
    struct ts_text url;
    enum ts_err err = yaml_parse(swagger->yaml, swagger->yaml_bytes, &tree);

    ts_text_init(&url);
    http_place_url(&place, &url);
    ts_text_puts(&swagger->server, "{\"url\":");
    ts_text_json_string(&swagger->server, url.at, url.bytes);
    if (err != TS_OK) {
        cli_notice("%s: %s", swagger->path, ts_error_text());
        cli_json_text(&swagger->server, ",", "error", ts_error_text());
        tree = json_object();
    }
    ts_text_puts(&swagger->server, "}");
    ts_text_done(&url);
    swagger->json = json_dumps(tree, JSON_INDENT(2) | JSON_ENCODE_ANY);
    json_decref(tree);
    return swagger->json == NULL || swagger->server.failed ? TS_FAIL_PLAIN(TS_E_NOMEM) : TS_OK;
}

/* ---- the server ---- */

static int
add_page(nng_http_server *http, const char *path, const char *type, const void *data, size_t bytes)
{
    nng_http_handler *handler;
    int rc = nng_http_handler_alloc_static(&handler, path, data, bytes, type);

    if (rc != 0)
        return rc;
    rc = nng_http_server_add_handler(http, handler);
    if (rc != 0)
        nng_http_handler_free(handler);
    return rc;
}

static int
add_pages(const struct swagger *swagger)
{
    const struct {
        const char *path, *type, *data;
        size_t bytes;
    } pages[] = {
        {"/", "text/html; charset=utf-8", swagger_page, swagger_page_bytes},
        {"/swagger.yaml", "application/yaml; charset=utf-8", swagger->yaml, swagger->yaml_bytes},
        {"/swagger.json", "application/json; charset=utf-8", swagger->json, strlen(swagger->json)},
        {"/server.json", "application/json; charset=utf-8", swagger->server.at,
         swagger->server.bytes},
    };
    int rc = 0;

    for (size_t i = 0; i < COUNTOF(pages) && rc == 0; i++)
        rc = add_page(swagger->http, pages[i].path, pages[i].type, pages[i].data, pages[i].bytes);
    return rc;
}

/* On the loopback only: what is served is for whoever sits here. */
static enum ts_err
listen_on(struct swagger *swagger, uint16_t port)
{
    char text[64];
    nng_url *url = NULL;
    nng_sockaddr address;
    int rc;

    snprintf(text, sizeof text, "http://127.0.0.1:%u", port);
    rc = nng_url_parse(&url, text);
    if (rc == 0)
        rc = nng_http_server_hold(&swagger->http, url);
    if (rc == 0)
        rc = add_pages(swagger);
    if (rc == 0)
        rc = nng_http_server_start(swagger->http);
    if (rc == 0)
        rc = nng_http_server_get_addr(swagger->http, &address);
    nng_url_free(url);
    if (rc != 0)
        return TS_FAIL(TS_E_SYSTEM, "listen on port %u: %s", port, nng_strerror(rc));
    swagger->port = ntohs(address.s_in.sa_port);
    return TS_OK;
}

/* As people and scripts wait for it. */
static enum ts_err
announce(const struct swagger *swagger, bool as_json)
{
    struct ts_text out;
    enum ts_err err;

    ts_text_init(&out);
    if (as_json) {
        ts_text_printf(&out, "{\"url\":\"http://localhost:%u/\"", swagger->port);
        cli_json_text(&out, ",", "file", swagger->path);
        ts_text_puts(&out, "}\n");
    } else {
        ts_text_printf(&out, "listening http=localhost:%u file=%s\n", swagger->port, swagger->path);
        ts_text_printf(&out, "Page:        http://localhost:%u/\n", swagger->port);
        ts_text_printf(&out, "Description: http://localhost:%u/swagger.yaml\n", swagger->port);
        ts_text_puts(&out, "Ctrl-C ends.\n");
    }
    err = cli_print(&out);
    ts_text_done(&out);
    return err == TS_OK ? cli_flush() : err;
}

/* If there is a desktop. That it does not work out is no failure: the address was printed. */
static void
open_browser(const struct swagger *swagger)
{
    char url[64];
    char *const argv[] = {(char *)"xdg-open", url, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;

    if (getenv("DISPLAY") == NULL && getenv("WAYLAND_DISPLAY") == NULL)
        return;
    snprintf(url, sizeof url, "http://localhost:%u/", swagger->port);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    (void)posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
}

static void
wait_for_stop(void)
{
    struct pollfd stop = {.fd = cli_stop_fd(), .events = POLLIN};

    while (!cli_stop_asked() && (poll(&stop, 1, -1) >= 0 || errno == EINTR))
        ;
}

/* ---- the verb ---- */

static enum ts_err
serve(struct swagger *swagger, const struct swagger_args *args)
{
    const uint16_t port = args->port.is_given ? (uint16_t)args->port.value : DEFAULT_PORT;
    struct ts_config config;
    enum ts_err err = cli_load_config(&args->common, &config);

    if (err != TS_OK)
        return err;
    ts_config_wipe(&config);
    if (args->file != NULL)
        (void)read_if_there(swagger, args->file, &err);
    else
        err = find_description(swagger);
    if (err != TS_OK) {
        TS_CONTEXT("Failed to read %s", args->file != NULL ? args->file : "swagger.yaml");
        return err;
    }
    err = prepare(swagger, &config);
    if (err == TS_OK)
        err = cli_stop_init();
    if (err == TS_OK)
        err = listen_on(swagger, port);
    if (err == TS_OK)
        err = announce(swagger, args->common.wants_json);
    if (err == TS_OK && !args->no_browser)
        open_browser(swagger);
    if (err == TS_OK)
        wait_for_stop();
    return err;
}

static int
run(void *arguments)
{
    const struct swagger_args *args = arguments;
    static struct swagger swagger;
    const enum ts_err err = serve(&swagger, args);
    const int exit_code = err == TS_OK ? 0 : cli_fail(&args->common, err, NULL);

    if (swagger.http != NULL) {
        nng_http_server_stop(swagger.http);
        nng_http_server_release(swagger.http);
    }
    nng_fini(); /* its threads are done with what is freed now */
    ts_text_done(&swagger.server);
    free(swagger.json);
    free(swagger.yaml);
    return exit_code;
}

const struct cli_verb cmd_swagger = {
    .name = "swagger",
    .arguments = "",
    .summary = "Show the API description in a browser",
    .notes =
        "Serves the description and a page that works offline at http://localhost:21090/ until\n"
        "Ctrl-C. swagger.yaml of the working directory is taken, else the installed\n"
        "openapi.yaml. GET requests can be tried against the server of server.host and\n"
        "server.port.\n",
    .options = options,
    .n_options = COUNTOF(options),
    .has_data_options = true,
    .args_bytes = sizeof(struct swagger_args),
    .run = run,
};
