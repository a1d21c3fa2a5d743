/* 39_documents.c - each curl line of the documents works as it stands there.
 *
 * Ports are those of the site in place of the usual ones; the keys that the lines take from the
 * environment are there. A line on https goes to a daemon that has a certificate. */
#include "tests/system/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_COMMAND_BYTES 4096

static struct store boiler, valves;

static void
write_config(bool with_tls)
{
    FILE *file = fopen(site.config, "we");

    cr_assert_not_null(file);
    fprintf(file, "{\"limits\":{\"max_connections\":32}");
    if (with_tls)
        fprintf(file,
                ",\"server\":{\"tls\":{\"cert_file\":\"%s/tls.crt\",\"key_file\":\"%s/tls.key\"}}",
                site.root, site.root);
    fprintf(file, "}");
    fclose(file);
}

/* queryd[1] is the one with the certificate. */
static void
start(void)
{
    site_start();
    cr_assert_eq(system(text("cd %s && openssl req -x509 -newkey ec -pkeyopt "
                             "ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
                             "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout tls.key "
                             "-out tls.crt 2>/dev/null",
                             site.root)),
                 0, "is openssl installed?");
    write_config(true);
    queryd_start(1);
    valves = store_create("{\"name\":\"valves\",\"data_type\":\"schema\"}");
}

TestSuite(documents, .init = start, .fini = site_stop, .timeout = 120);

/* ---- commands ---- */

static const char *
replaced(const char *command, const char *what, const char *with)
{
    const char *out = "";

    for (const char *at; (at = strstr(command, what)) != NULL; command = at + strlen(what))
        out = text("%s%.*s%s", out, (int)(at - command), command, with);
    return text("%s%s", out, command);
}

static const char *
at_this_site(const char *command)
{
    const bool is_secure = strstr(command, "https://") != NULL;

    command = replaced(command, "127.0.0.1:21080",
                       text("127.0.0.1:%d", site.queryd[is_secure ? 1 : 0].port));
    command = replaced(command, "127.0.0.1:21081", text("127.0.0.1:%d", site.ingestd.port));
    /* A refusal is a failure. */
    return text("curl -q --fail-with-body --noproxy '*' --max-time 30%s", command + strlen("curl"));
}

/* The first line that makes the store gives the key to all behind it. */
static void
take_key(const char *said)
{
    json_t *answer = json_loads(said, JSON_DISABLE_EOF_CHECK, NULL);
    const char *name = json_string_value(json_object_get(answer, "name"));
    const char *key = json_string_value(json_object_get(answer, "api_key"));

    if (name != NULL && key != NULL && strcmp(name, "boiler") == 0)
        snprintf(boiler.key, sizeof boiler.key, "%s", key);
    json_decref(answer);
}

static void
run(const char *document, const char *command)
{
    char said[65536];
    FILE *shell;
    size_t bytes;
    int status;

    cr_assert_eq(chdir(site.root), 0);
    setenv("ADMIN", ADMIN_KEY, 1);
    setenv("K", boiler.key, 1);
    setenv("TSSTORE_API_KEY", boiler.key, 1);
    setenv("K2", valves.key, 1);
    shell = popen(at_this_site(command), "r");
    cr_assert_not_null(shell);
    bytes = fread(said, 1, sizeof said - 1, shell);
    said[bytes] = '\0';
    status = pclose(shell);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: %s\n%s", document, command, said);
    take_key(said);
}

/* ---- documents ---- */

static size_t
count(const char *subject, char c)
{
    size_t n = 0;

    for (; *subject != '\0'; subject++)
        n += *subject == c;
    return n;
}

static bool
goes_on(const char *command)
{
    const size_t bytes = strlen(command);

    return count(command, '\'') % 2 == 1 ||
           (bytes >= 2 && strcmp(command + bytes - 2, "\\\n") == 0);
}

static bool
is_blank(const char *line)
{
    return strspn(line, " \t\n") == strlen(line);
}

/* Runs what begins with "curl" in its blocks of shell lines; how many that were. */
static size_t
run_document(const char *tree, const char *document)
{
    FILE *file = fopen(text("%s/%s", tree, document), "re");
    char line[MAX_COMMAND_BYTES];
    const char *command = "";
    bool is_shell = false;
    size_t n = 0;

    cr_assert_not_null(file, "%s", document);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "```", 3) == 0)
            is_shell = strcmp(line, "```sh\n") == 0;
        else if (is_shell && (*command != '\0' || strncmp(line, "curl ", 5) == 0))
            command = text("%s%s", command, line);
        if (*command == '\0' || goes_on(command))
            continue;
        cr_assert(is_shell && !is_blank(command), "%s: %s", document, command);
        run(document, command);
        command = "";
        n++;
    }
    fclose(file);
    return n;
}

Test(documents, every_curl_line_works)
{
    char tree[4096];

    cr_assert_not_null(getcwd(tree, sizeof tree));
    cr_expect_geq(run_document(tree, "docs/protocol.md"), 5);
    cr_expect_geq(run_document(tree, "docs/operations.md"), 1);
    cr_expect_geq(run_document(tree, "README.md"), 3);
}
