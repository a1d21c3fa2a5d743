/* 20_install.c - what `make install` leaves is enough to build and run a program with. */
#include "tests/system/harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void
prepare(void)
{
    site_prepare(NULL);
}

TestSuite(install, .init = prepare, .fini = site_stop);

static const char program[] =
    "#include <tsstore.h>\n"
    "#include <stdio.h>\n"
    "int main(int argc, char **argv)\n"
    "{\n"
    "    struct ts_options options;\n"
    "    struct ts_store *store;\n"
    "    struct ts_appended done;\n"
    "    ts_options_init(&options);\n"
    "    if (argc < 2 || ts_store_create(argv[1], \"embedded\", &options) != TS_OK ||\n"
    "        ts_store_open(argv[1], \"embedded\", &store) != TS_OK ||\n"
    "        ts_store_append(store, 42, \"{}\", 2, &done) != TS_OK)\n"
    "        return printf(\"%s\\n\", ts_error_text()), 1;\n"
    "    printf(\"record %d at %d\\n\", (int)done.record_no, (int)done.time_ns);\n"
    "    return ts_store_close(store) != TS_OK;\n"
    "}\n";

/* Runs a shell command and gives what it printed; fails the test if it fails. */
static const char *
shell(const char *command)
{
    FILE *pipe = popen(text("{ %s; } 2>&1", command), "r");
    const size_t room = 1 << 16;
    char *out = repeat('\0', room);
    size_t used;
    int status;

    cr_assert_not_null(pipe);
    used = fread(out, 1, room, pipe);
    status = pclose(pipe);
    cr_assert_eq(status, 0, "%s: %.*s", command, (int)used, out);
    return out;
}

static void
write_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    cr_assert_geq(fputs(content, file), 0);
    fclose(file);
}

Test(install, a_program_compiles_and_runs_against_the_installed_library)
{
    const char *build = getenv("TSSTORE_BUILD_DIR");
    const char *dest = text("%s/dest", site.root);
    const char *pkg;

    /* The make that runs this test lends neither its job server nor its sanitizers. */
    shell(text("env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s install CONFIG=release BUILD='%s' "
               "DESTDIR=%s PREFIX=/usr",
               build != NULL ? build : "build", dest));
    write_file(text("%s/program.c", site.root), program);
    pkg = text("PKG_CONFIG_PATH=%s/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=%s pkg-config", dest,
               dest);
    shell(text("cd %s && cc -Wall -Werror -o shared program.c $(%s --cflags --libs tsstore)",
               site.root, pkg));
    shell(text("cd %s && mkdir -p d1 d2", site.root));
    cr_expect_str_eq(
        shell(text("cd %s && LD_LIBRARY_PATH=%s/usr/lib ./shared d1", site.root, dest)),
        "record 1 at 42\n");
    shell(text("cd %s && cc -Wall -Werror -o static program.c $(%s --cflags tsstore) "
               "%s/usr/lib/libtsstore.a -lzstd -pthread",
               site.root, pkg, dest));
    cr_expect_str_eq(shell(text("cd %s && ./static d2", site.root)), "record 1 at 42\n");
    /* A C++ program may include it, too. */
    shell(
        text("cd %s && ! command -v g++ >/dev/null || { printf '#include <tsstore.h>\\nint main() "
             "{ return ts_name_is_valid(\"a\") ? 0 : 1; }\\n' >p.cc && "
             "g++ -Wall -Werror -o cxx p.cc $(%s --cflags --libs tsstore); }",
             site.root, pkg));
    cr_expect_str_eq(shell(text("%s/usr/bin/tsstore version", dest)),
                     shell(text("printf 'tsstore v%%s\\n' $(%s --modversion tsstore)", pkg)));
    shell(text("test -x %s/usr/bin/ingestd && test -x %s/usr/bin/queryd", dest, dest));
    shell(text("readelf -d %s/usr/lib/libtsstore.so | grep -q 'SONAME.*libtsstore.so.0'", dest));
}
