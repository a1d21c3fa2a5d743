/* child.c - fork, exec, and the wait for what came of it. */
#include "cli/child.h"

#include "cli/when.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool
is_program(const char *path)
{
    return access(path, X_OK) == 0;
}

enum ts_err
child_find_program(const char *name, char out_path[PATH_MAX])
{
    char self[PATH_MAX];
    const char *dirs = getenv("PATH");
    const ssize_t bytes = readlink("/proc/self/exe", self, sizeof self - 1);

    if (bytes > 0) {
        self[bytes] = '\0';
        *strrchr(self, '/') = '\0';
        if (snprintf(out_path, PATH_MAX, "%s/%s", self, name) < PATH_MAX && is_program(out_path))
            return TS_OK;
    }
    while (dirs != NULL && *dirs != '\0') {
        const size_t dir_bytes = strcspn(dirs, ":");

        /* An empty entry means the working directory: not for a daemon. */
        if (dir_bytes > 0 &&
            snprintf(out_path, PATH_MAX, "%.*s/%s", (int)dir_bytes, dirs, name) < PATH_MAX &&
            is_program(out_path))
            return TS_OK;
        dirs += dir_bytes;
        dirs += *dirs == ':';
    }
    return TS_FAIL(TS_E_NOT_FOUND, "no program %s beside tsstore or in PATH", name);
}

/* In the child. Never returns. */
static void
become(char *const *argv, pid_t parent, int out_fd)
{
    const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    /* The parent may have died before that took effect. */
    if (getppid() != parent)
        _exit(1);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0)
        _exit(126);
    execv(argv[0], argv);
    fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

enum ts_err
child_start(const char *name, char *const *argv, struct child *out)
{
    struct child child = CHILD_NONE;
    const pid_t self = getpid();
    int pipe_fds[2] = {-1, -1};
    enum ts_err err = TS_OK;

    child.name = name;
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "pipe");
    fflush(NULL); /* what is buffered must not be written twice */
    child.pid = fork();
    if (child.pid == 0)
        become(argv, self, pipe_fds[1]);
    if (child.pid < 0) {
        err = TS_FAIL_ERRNO(TS_E_SYSTEM, "fork");
        goto out;
    }
    child.pid_fd = pidfd_open(child.pid, 0);
    if (child.pid_fd < 0) {
        err = TS_FAIL_ERRNO(TS_E_SYSTEM, "pidfd_open");
        kill(child.pid, SIGKILL);
        waitpid(child.pid, NULL, 0);
        goto out;
    }
    child.out_fd = pipe_fds[0];
    pipe_fds[0] = -1;
    *out = child;
out:
    close(pipe_fds[1]);
    if (pipe_fds[0] >= 0)
        close(pipe_fds[0]);
    return err;
}

/* Gives out the first `bytes` of the line buffer, and forgets `skip` more. */
static bool
give_line(struct child *child, size_t bytes, size_t skip, char out_line[CHILD_LINE_BYTES])
{
    memcpy(out_line, child->line, bytes);
    out_line[bytes] = '\0';
    child->line_bytes -= bytes + skip;
    memmove(child->line, child->line + bytes + skip, child->line_bytes);
    return true;
}

bool
child_read_line(struct child *child, char out_line[CHILD_LINE_BYTES])
{
    const char *newline = memchr(child->line, '\n', child->line_bytes);
    ssize_t got;

    if (newline != NULL)
        return give_line(child, (size_t)(newline - child->line), 1, out_line);
    if (child->line_bytes == sizeof child->line - 1)
        return give_line(child, child->line_bytes, 0, out_line);
    if (child->out_fd < 0)
        return false;
    got = read(child->out_fd, child->line + child->line_bytes,
               sizeof child->line - 1 - child->line_bytes);
    if (got > 0)
        child->line_bytes += (size_t)got;
    if (got == 0 || (got < 0 && errno != EINTR)) {
        close(child->out_fd);
        child->out_fd = -1;
    }
    newline = memchr(child->line, '\n', child->line_bytes);
    return newline != NULL && give_line(child, (size_t)(newline - child->line), 1, out_line);
}

static void
forget(struct child *child)
{
    if (child->pid_fd >= 0)
        close(child->pid_fd);
    if (child->out_fd >= 0)
        close(child->out_fd);
    child->pid_fd = child->out_fd = -1;
    child->pid = 0;
}

bool
child_has_ended(struct child *child, char *out_text, size_t out_bytes)
{
    int status;

    if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid)
        return false;
    if (WIFSIGNALED(status))
        snprintf(out_text, out_bytes, "signal %d", WTERMSIG(status));
    else
        snprintf(out_text, out_bytes, "exit code %d", WEXITSTATUS(status));
    forget(child);
    return true;
}

/* True if it ended before the deadline. Its output is read meanwhile, lest it blocks on a full
 * pipe and never ends. */
static bool
wait_for_end(struct child *child, int64_t deadline_ns)
{
    char line[CHILD_LINE_BYTES];

    for (;;) {
        struct pollfd ready[] = {{.fd = child->pid_fd, .events = POLLIN},
                                 {.fd = child->out_fd, .events = POLLIN}};
        const int64_t left_ns = deadline_ns - cli_monotonic_ns();
        const struct timespec left = {.tv_sec = left_ns / 1000000000,
                                      .tv_nsec = left_ns % 1000000000};

        if (left_ns <= 0)
            return false;
        if (ppoll(ready, 2, &left, NULL) < 0 && errno != EINTR)
            return false;
        if (ready[0].revents != 0)
            return true;
        if (ready[1].revents != 0)
            child_read_line(child, line);
    }
}

void
child_signal(const struct child *child, int signal_no)
{
    if (child->pid_fd >= 0)
        pidfd_send_signal(child->pid_fd, signal_no, NULL, 0);
}

bool
child_stop(struct child *child, int64_t patience_ns)
{
    bool was_patient = true;
    int status = 0;

    if (child->pid == 0)
        return true;
    child_signal(child, SIGTERM);
    if (!wait_for_end(child, cli_monotonic_ns() + patience_ns)) {
        was_patient = false;
        child_signal(child, SIGKILL);
    }
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    forget(child);
    return was_patient && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
