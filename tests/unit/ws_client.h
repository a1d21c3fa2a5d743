/* ws_client.h - the client's end of a WebSocket, frame by frame, for tests that want to send what
 * no library would.
 *
 * Ownership  ws_dial() gives a connected descriptor; close() it.
 * Errors     What goes wrong in the client fails the test on the spot.
 */
#ifndef WS_CLIENT_H
#define WS_CLIENT_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WS_UNUSED __attribute__((unused))
#define WS_PATIENCE_MS 20000

enum { WS_CONTINUED = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

struct ws_frame {
    int opcode; /* -1: the connection ended; -2: nothing came in time */
    char data[8192];
    size_t bytes;
};

WS_UNUSED static void
ws_write_all(int fd, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        const ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);

        cr_assert_gt(n, 0, "send");
        at += n;
        bytes -= (size_t)n;
    }
}

/* Exactly so many bytes; false at the end or after the time. */
WS_UNUSED static bool
ws_read_exactly(int fd, void *out, size_t bytes, int timeout_ms, int *why)
{
    char *at = out;

    while (bytes > 0) {
        struct pollfd in = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&in, 1, timeout_ms) != 1) {
            *why = -2;
            return false;
        }
        n = recv(fd, at, bytes, 0);
        if (n <= 0) {
            *why = -1;
            return false;
        }
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

/* Asks for the upgrade. Gives the status; *out_fd is connected in any case. */
WS_UNUSED static int
ws_dial(int port, const char *target, const char *headers, int *out_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char text[4096];
    size_t n = 0;
    int why, status = 0;

    *out_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(*out_fd, (struct sockaddr *)&address, sizeof address), 0);
    n = (size_t)snprintf(text, sizeof text,
                         "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade"
                         "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                         "dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                         target, headers);
    ws_write_all(*out_fd, text, n);
    for (n = 0; n < sizeof text - 1; n++) {
        if (!ws_read_exactly(*out_fd, text + n, 1, WS_PATIENCE_MS, &why))
            break;
        text[n + 1] = '\0';
        if (n >= 3 && memcmp(text + n - 3, "\r\n\r\n", 4) == 0)
            break;
    }
    cr_expect_eq(sscanf(text, "HTTP/1.1 %d", &status), 1, "%s", text);
    return status;
}

/* A masked frame into `out`; returns its length. */
WS_UNUSED static size_t
ws_frame_put(uint8_t *out, int opcode, bool is_final, const void *data, size_t bytes)
{
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    size_t n = 2;

    out[0] = (uint8_t)((is_final ? 0x80 : 0) | opcode);
    if (bytes < 126) {
        out[1] = (uint8_t)(0x80 | bytes);
    } else if (bytes < 65536) {
        out[1] = 0x80 | 126;
        out[n++] = (uint8_t)(bytes >> 8);
        out[n++] = (uint8_t)bytes;
    } else {
        out[1] = 0x80 | 127;
        for (int i = 7; i >= 0; i--)
            out[n++] = (uint8_t)((uint64_t)bytes >> (8 * i));
    }
    memcpy(out + n, mask, sizeof mask);
    n += sizeof mask;
    for (size_t i = 0; i < bytes; i++)
        out[n + i] = ((const uint8_t *)data)[i] ^ mask[i % 4];
    return n + bytes;
}

WS_UNUSED static void
ws_send(int fd, int opcode, bool is_final, const void *data, size_t bytes)
{
    uint8_t *frame = malloc(bytes + 16);

    cr_assert_not_null(frame);
    ws_write_all(fd, frame, ws_frame_put(frame, opcode, is_final, data, bytes));
    free(frame);
}

WS_UNUSED static void
ws_say(int fd, const char *text)
{
    ws_send(fd, WS_TEXT, true, text, strlen(text));
}

/* The next frame, its data NUL-terminated. */
WS_UNUSED static const struct ws_frame *
ws_hear(int fd, int timeout_ms)
{
    static _Thread_local struct ws_frame frame;
    uint8_t head[8];
    size_t bytes;

    frame = (struct ws_frame){.opcode = -1};
    if (!ws_read_exactly(fd, head, 2, timeout_ms, &frame.opcode))
        return &frame;
    cr_assert_eq(head[0] & 0x70, 0, "reserved bits");
    cr_assert_eq(head[1] & 0x80, 0, "a server does not mask");
    bytes = head[1];
    if (bytes == 126) {
        cr_assert(ws_read_exactly(fd, head + 2, 2, timeout_ms, &frame.opcode));
        bytes = (size_t)head[2] << 8 | head[3];
    }
    cr_assert_lt(bytes, sizeof frame.data);
    if (!ws_read_exactly(fd, frame.data, bytes, timeout_ms, &frame.opcode))
        return &frame;
    frame.data[bytes] = '\0';
    frame.bytes = bytes;
    frame.opcode = head[0] & 0x0f;
    return &frame;
}

/* The next text frame's data; pings are answered on the way. "close <code>", "end", "silence". */
WS_UNUSED static const char *
ws_hear_text(int fd)
{
    static _Thread_local char word[64];

    for (;;) {
        const struct ws_frame *frame = ws_hear(fd, WS_PATIENCE_MS);

        if (frame->opcode == WS_PING) {
            ws_send(fd, WS_PONG, true, frame->data, frame->bytes);
            continue;
        }
        if (frame->opcode == WS_TEXT)
            return frame->data;
        if (frame->opcode == WS_CLOSE) {
            snprintf(word, sizeof word, "close %d",
                     frame->bytes >= 2 ? (uint8_t)frame->data[0] << 8 | (uint8_t)frame->data[1]
                                       : 0);
            return word;
        }
        return frame->opcode == -1 ? "end" : frame->opcode == -2 ? "silence" : "another frame";
    }
}

#endif
