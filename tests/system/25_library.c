/* 25_library.c - the example programs do what they say, against what `make install` leaves and
 * under the sanitizers; the manual names all there is.
 */
#include "tests/system/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void
prepare(void)
{
    site_prepare(NULL);
}

TestSuite(library, .init = prepare, .fini = site_stop);

static const char *const examples[] = {"readings", "threads", "beside"};

/* The make below a test lends neither the outer one's job server nor its sanitizers; one at a time,
 * as tests run beside each other and something may be left to be built. */
#define MAKE "flock Makefile env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u CFLAGS -u LDFLAGS make -s "

/* ---- building ---- */

/* Runs a shell command and gives what it printed; fails the test if it fails. */
static const char *
shell(const char *command)
{
    FILE *pipe = popen(text("{ %s; } 2>&1", command), "r");
    const size_t room = 1 << 18;
    char *out = repeat('\0', room);
    size_t used;
    int status;

    cr_assert_not_null(pipe);
    used = fread(out, 1, room, pipe);
    status = pclose(pipe);
    cr_assert_eq(status, 0, "%s: %.*s", command, (int)used, out);
    return out;
}

static const char *
build_dir(void)
{
    const char *build = getenv("TSSTORE_BUILD_DIR");

    return build != NULL ? build : "build";
}

/* Installs below site.root; the folder with bin, lib, share. */
static const char *
installed(void)
{
    shell(text(MAKE "install CONFIG=release BUILD='%s' DESTDIR=%s/dest PREFIX=/usr", build_dir(),
               site.root));
    return text("%s/dest/usr", site.root);
}

/* As the comment in each example says, in a folder of their own; what to run them with. */
static const char *
build_installed(void)
{
    const char *to = installed();
    const char *pkg = text("PKG_CONFIG_PATH=%s/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=%s/dest "
                           "pkg-config --cflags --libs tsstore",
                           to, site.root);

    for (size_t i = 0; i < COUNTOF(examples); i++)
        shell(text("cd %s/share/tsstore/examples && cc -Wall -Wextra -Werror -pthread -o %s/%s "
                   "%s.c $(%s)",
                   to, site.root, examples[i], examples[i], pkg));
    return text("LD_LIBRARY_PATH=%s/lib %s/", to, site.root);
}

/* From the objects that were built with this sanitizer, tests' own or not. */
static const char *
build_sanitized(const char *config, const char *flags)
{
    const char *archive = text("%s/%s/common.a", build_dir(), config);

    shell(text(MAKE "CONFIG=%s BUILD='%s' '%s'", config, build_dir(), archive));
    shell(text("mkdir -p %s/%s", site.root, config));
    for (size_t i = 0; i < COUNTOF(examples); i++)
        shell(text("clang -g -Wall -Wextra -Werror -pthread %s -I. -Icommon -o %s/%s/%s "
                   "examples/%s.c '%s' -lzstd",
                   flags, site.root, config, examples[i], examples[i], archive));
    return text("%s/%s/", site.root, config);
}

/* ---- running ---- */

static void
readings_are_appended_and_read(const char *run)
{
    shell(text("rm -rf %s/readings-data && mkdir %s/readings-data", site.root, site.root));
    cr_expect_str_eq(shell(text("%sreadings %s/readings-data", run, site.root)),
                     "the fourth to the sixth:\n"
                     "4 1767225603 {\"celsius\":21.3}\n"
                     "5 1767225604 {\"celsius\":21.4}\n"
                     "6 1767225605 {\"celsius\":21.5}\n"
                     "the newest two:\n"
                     "10 1767225609 {\"celsius\":21.9}\n"
                     "9 1767225608 {\"celsius\":21.8}\n");
    cr_expect_str_eq(shell(text("%sreadings %s/readings-data", run, site.root)),
                     "the fourth to the sixth:\n"
                     "14 1767225613 {\"celsius\":21.3}\n"
                     "15 1767225614 {\"celsius\":21.4}\n"
                     "16 1767225615 {\"celsius\":21.5}\n"
                     "the newest two:\n"
                     "20 1767225619 {\"celsius\":21.9}\n"
                     "19 1767225618 {\"celsius\":21.8}\n");
}

/* The whole of it, and what Ctrl-C leaves. */
static void
threads_end_in_order(const char *run)
{
    unsigned long long appended, read, lost;
    const char *said;

    shell(text("rm -rf %s/threads-data && mkdir %s/threads-data", site.root, site.root));
    cr_expect_str_eq(shell(text("%sthreads %s/threads-data 500", run, site.root)),
                     "4 threads appended 2000 records; read 2000, lost 0\n");
    said = shell(text("timeout --preserve-status -s INT 1 env %sthreads %s/threads-data 1000000000",
                      run, site.root));
    cr_assert_eq(sscanf(said, "4 threads appended %llu records; read %llu, lost %llu", &appended,
                        &read, &lost),
                 3, "%s", said);
    cr_expect_gt(appended, 0u);
    cr_expect_eq(read + lost, appended);
}

static void
start_ingestd(void)
{
    ingestd_start();
    queryd_start(0);
}

/* What an example printed so far; nothing before it was started. */
static const char *
printed(const char *file)
{
    return shell(text("cat %s 2>/dev/null || true", file));
}

static void
a_reader_runs_beside_ingestd(const char *run)
{
    const struct store store = store_fixture();
    const char *out = text("%s/beside.out", site.root);
    char want[160];
    FILE *pipe;

    put_run(&store, 1, 2, "{\"a\":1}");
    pipe = popen(text("%sbeside %s %s 3 >%s 2>&1", run, site.data, store.name, out), "r");
    cr_assert_not_null(pipe);
    snprintf(want, sizeof want,
             "locked: store %s: opened for writing by process %d\n1 {\"a\":1}\n2 {\"a\":1}\n",
             store.name, (int)site.ingestd.pid);
    AWAIT(PATIENCE_MS, strcmp(printed(out), want) == 0);
    put_run(&store, 3, 5, "{\"b\":2}");
    cr_expect_eq(pclose(pipe), 0);
    strcat(want, "3 {\"b\":2}\n4 {\"b\":2}\n5 {\"b\":2}\n");
    cr_expect_str_eq(printed(out), want);
}

Test(library, examples_run_against_the_installed_library)
{
    const char *run = build_installed();

    readings_are_appended_and_read(run);
    threads_end_in_order(run);
    start_ingestd();
    a_reader_runs_beside_ingestd(run);
    cr_expect_str_eq(shell(text("%sbeside %s nowhere 2>&1 || test $? = 1", run, site.data)),
                     "store_not_found: store not found\nbeside: store not found\n");
}

Test(library, examples_run_under_the_address_sanitizer)
{
    const char *run = build_sanitized("asan", "-fsanitize=address,undefined "
                                              "-fno-sanitize-recover=all");

    readings_are_appended_and_read(run);
    threads_end_in_order(run);
    start_ingestd();
    a_reader_runs_beside_ingestd(run);
}

Test(library, examples_run_under_the_thread_sanitizer)
{
    const char *run = build_sanitized("tsan", "-fsanitize=thread");

    readings_are_appended_and_read(run);
    threads_end_in_order(run);
    start_ingestd();
    a_reader_runs_beside_ingestd(run);
}

Test(library, a_reader_is_told_when_its_store_is_dropped)
{
    const char *run = build_installed();
    const char *out = text("%s/beside.out", site.root);
    struct store store;
    FILE *pipe;

    start_ingestd();
    store = store_fixture();
    put_ok(&store, 1, "{}");
    pipe = popen(text("%sbeside %s %s 3 >%s 2>&1", run, site.data, store.name, out), "r");
    cr_assert_not_null(pipe);
    AWAIT(PATIENCE_MS, strstr(printed(out), "1 {}\n") != NULL);
    expect_answer(
        CALL(.method = "DELETE", .path = text("/api/stores/%s", store.name), .key = store.key), 200,
        NULL);
    cr_expect_eq(pclose(pipe), 0);
    cr_expect(strstr(printed(out), "1 {}\nthe store was dropped\n") != NULL, "%s", printed(out));
}

/* ---- the manual ---- */

/* Each line of `words` is in the text of the page. */
static void
expect_words(const char *page_text, const char *words, const char *page)
{
    char *copy = text("%s", words), *rest = copy, *word;

    cr_assert_neq(*words, '\0', "%s: nothing to look for", page);
    while ((word = strsep(&rest, "\n")) != NULL)
        cr_expect(strstr(page_text, word) != NULL, "%s does not tell of %s", page, word);
}

Test(library, the_manual_names_every_function_command_and_option)
{
    const char *to = installed();
    const char *page = "cat %s/share/man/man%c/%s | sed 's/Fl Fl /--/g; s/\\\\-/-/g'";
    const char *options = "grep -oE -- '--[a-z-]+' | sort -u";
    const char *functions = shell(text(
        "grep -oE '\\bts_[a-z0-9_]+\\(' %s/include/tsstore/tsstore.h | tr -d '(' | sort -u", to));
    const char *help = text("for v in $(%s/bin/tsstore --help | awk '/^  [a-z]/ {print $1}' | "
                            "sort -u); do for s in '' list create regenerate revoke explain; do "
                            "%s/bin/tsstore $v $s --help 2>&1 || true; done; done",
                            to, to);

    expect_words(shell(text(page, to, '3', "libtsstore.3")), functions, "libtsstore.3");
    expect_words(shell("cat docs/library.md"), functions, "docs/library.md");
    expect_words(shell(text(page, to, '8', "ingestd.8")),
                 shell(text("%s/bin/ingestd --help | %s", to, options)), "ingestd.8");
    expect_words(shell(text(page, to, '8', "queryd.8")),
                 shell(text("%s/bin/queryd --help | %s", to, options)), "queryd.8");
    expect_words(shell(text(page, to, '1', "tsstore.1")),
                 shell(text("{ %s; } | %s", help, options)), "tsstore.1");
    expect_words(shell(text("sed -n 's/^\\.It Cm //p' %s/share/man/man1/tsstore.1", to)),
                 shell(text("%s/bin/tsstore --help | awk '/^  [a-z]/ {print $1}' | sort -u", to)),
                 "tsstore.1");
}

/* Where there is a `man`, or a `mandoc`, to ask. */
Test(library, the_manual_is_well_formed)
{
    cr_expect_str_eq(
        shell("for page in man/*.[1-8]; do command -v man >/dev/null && LC_ALL=C.UTF-8 MANROFFSEQ= "
              "man --warnings -E UTF-8 -l -Tutf8 -Z ./$page >/dev/null || true; done"),
        "");
    cr_expect_str_eq(shell("for page in man/*.[1-8]; do command -v mandoc >/dev/null && "
                           "mandoc -Tlint -W warning $page || true; done"),
                     "");
}
