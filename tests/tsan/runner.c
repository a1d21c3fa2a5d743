/* runner.c - runs Criterion tests without Criterion, for the thread sanitizer.
 *
 * Purpose    Criterion maps its arena at an address of its own choice, which the thread sanitizer
 *            does not allow, so that no test would start. This file stands in for the library: it
 *            defines what <criterion/criterion.h> calls and runs each test in a forked child.
 * Invariant  Says what Criterion says: a line per failed assertion, then the "Synthesis" line.
 * Ownership  Texts of assertions are freed by the macros that asked for them.
 * Threads    Assertions from any thread; one that ends a test ends the child.
 * Source     The interface is that of Criterion 2.4's headers. Parameterized tests are not run.
 */
#include <criterion/criterion.h>
#include <criterion/event.h>
#include <criterion/options.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_SECONDS 240

/* Made by the linker around the pointers that the macros Test() and TestSuite() leave. A program
 * without suites has no section of that name. */
extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

struct criterion_options criterion_options;

static const struct criterion_test *current;
static const struct criterion_suite *current_suite;
static _Atomic bool has_failed;

/* ---- what the macros call ---- */

int
cr_asprintf(char **out, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vasprintf(out, format, args);
    va_end(args);
    return n;
}

void
cr_asprintf_free(char *text)
{
    free(text);
}

char *
cr_translate_assert_msg(int index, ...)
{
    (void)index;
    return strdup("the assertion does not hold");
}

void
cri_asserts_passed_incr(void)
{
}

void
criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (stats->passed)
        return;
    atomic_store(&has_failed, true);
    fprintf(stderr, "[----] %s:%u: Assertion Failed\n[----]   %s\n", stats->file, stats->line,
            stats->message != NULL ? stats->message : "");
}

void
criterion_abort_test(void)
{
    criterion_internal_test_teardown();
    exit(1);
}

void
criterion_continue_test(void)
{
}

void
criterion_internal_test_setup(void)
{
    if (current_suite != NULL && current_suite->data->init != NULL)
        current_suite->data->init();
    if (current->data->init != NULL)
        current->data->init();
}

void
criterion_internal_test_main(void (*fn)(void))
{
    fn();
}

void
criterion_internal_test_teardown(void)
{
    if (current->data->fini != NULL)
        current->data->fini();
    if (current_suite != NULL && current_suite->data->fini != NULL)
        current_suite->data->fini();
}

/* ---- running ---- */

static const struct criterion_suite *
find_suite(const char *name)
{
    for (struct criterion_suite **suite = __start_cr_sts; suite < __stop_cr_sts; suite++) {
        if (*suite != NULL && strcmp((*suite)->name, name) == 0)
            return *suite;
    }
    return NULL;
}

static bool
ends_as_expected(const struct criterion_test *test, int status)
{
    if (test->data->signal != 0)
        return WIFSIGNALED(status) && WTERMSIG(status) == test->data->signal;
    return WIFEXITED(status) && WEXITSTATUS(status) == test->data->exit_code;
}

static bool
run(const struct criterion_test *test)
{
    int status = -1;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        alarm(TEST_SECONDS);
        current = test;
        current_suite = find_suite(test->category);
        test->test();
        exit(atomic_load(&has_failed) ? 1 : 0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !ends_as_expected(test, status)) {
        fprintf(stderr, "[FAIL] %s::%s: status %#x\n", test->category, test->name,
                (unsigned)status);
        return false;
    }
    return true;
}

int
main(void)
{
    unsigned n_tested = 0, n_passed = 0;

    for (struct criterion_test **test = __start_cr_tst; test < __stop_cr_tst; test++) {
        if (*test == NULL || (*test)->data->disabled ||
            (*test)->data->kind_ == CR_TEST_PARAMETERIZED)
            continue;
        n_tested++;
        n_passed += run(*test);
    }
    fprintf(stderr, "[====] Synthesis: Tested: %u | Passing: %u | Failing: %u | Crashing: 0 \n",
            n_tested, n_passed, n_tested - n_passed);
    return n_tested == n_passed ? 0 : 1;
}
