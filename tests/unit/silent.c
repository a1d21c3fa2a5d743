/* silent.c - who is taken for silent, and who is not. */
#include "daemon/silent.h"

#include "common/log.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#define LATEST_MS (SILENT_MS + 2 * SILENT_LOOK_MS + 3000)

TestSuite(silent, .timeout = 60);

static int listener;
static uint16_t port;

static void
listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(listener, 16), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    port = ntohs(address.sin_port);
}

struct pair {
    int client, server;
    uint16_t client_port;
};

static struct pair
connect_one(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    struct pair pair;

    pair.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(pair.client, (struct sockaddr *)&address, sizeof address), 0);
    pair.server = accept(listener, (struct sockaddr *)&address, &bytes);
    cr_assert(pair.server >= 0);
    pair.client_port = ntohs(address.sin_port);
    return pair;
}

static bool
is_ended(const struct pair *pair, int timeout_ms)
{
    struct pollfd fd = {.fd = pair->client, .events = POLLIN};
    char byte;

    return poll(&fd, 1, timeout_ms) == 1 && recv(pair->client, &byte, 1, MSG_DONTWAIT) <= 0;
}

Test(silent, only_who_said_nothing_that_was_read_is_ended)
{
    struct silent *silent = NULL;
    struct pair mute, speaker, waiting;
    int other[2];

    ts_log_set_level(TS_LOG_ERROR);
    listen_somewhere();
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
    mute = connect_one();
    speaker = connect_one();
    waiting = connect_one();
    cr_assert_eq(write(waiting.client, "G", 1), 1);
    cr_assert_eq(silent_new(16, &silent), TS_OK);
    silent_spoke(silent, "127.0.0.1", speaker.client_port);
    cr_assert_eq(silent_watch(silent, port), TS_OK, "%s", ts_error_text());
    cr_expect(!is_ended(&mute, SILENT_CROWD_MS), "there is room");
    cr_expect(is_ended(&mute, LATEST_MS));
    cr_expect(!is_ended(&speaker, 0));
    cr_expect(!is_ended(&waiting, 0), "it waits for a worker");
    cr_assert_eq(write(other[0], "x", 1), 1, "sockets of others are left alone");
    /* The port of one that spoke may be another's later. */
    silent_gone(silent, "127.0.0.1", speaker.client_port);
    cr_expect(is_ended(&speaker, LATEST_MS));
    silent_free(silent);
}

Test(silent, while_all_workers_are_taken_there_is_less_patience)
{
    struct silent *silent = NULL;
    struct pair mute, speaker;

    ts_log_set_level(TS_LOG_ERROR);
    listen_somewhere();
    mute = connect_one();
    speaker = connect_one();
    cr_assert_eq(silent_new(2, &silent), TS_OK);
    silent_spoke(silent, "127.0.0.1", speaker.client_port);
    cr_assert_eq(silent_watch(silent, port), TS_OK, "%s", ts_error_text());
    cr_expect(is_ended(&mute, SILENT_MS - 500));
    cr_expect(!is_ended(&speaker, 0));
    silent_free(silent);
}
