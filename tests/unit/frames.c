/* frames.c - messages as frames, one behind the other in one buffer. */
#include "queryd/frames.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    size_t payload_bytes, head_bytes;
} sizes[] = {{0, 2}, {125, 2}, {126, 4}, {65535, 4}, {65536, 10}, {200000, 10}};

Test(frames, each_has_the_shortest_head_and_no_room_between)
{
    struct ts_text out;
    size_t at = 0;

    ts_text_init(&out);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t start = frame_begin(&out);

        for (size_t j = 0; j < sizes[i].payload_bytes; j++)
            ts_text_add(&out, "x", 1);
        frame_end(&out, start);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        cr_expect_eq((uint8_t)out.at[at], 0x81);
        for (size_t j = 0; j < sizes[i].payload_bytes; j += 997)
            cr_expect_eq(out.at[at + sizes[i].head_bytes + j], 'x');
        at += sizes[i].head_bytes + sizes[i].payload_bytes;
    }
    cr_expect_eq(at, out.bytes);
    ts_text_done(&out);
}

Test(frames, an_error_quotes_anything)
{
    static const char want[] = "\x81\x2a{\"type\":\"error\",\"message\":\"say \\\"x\\\" \\ufffd\"}";
    struct ts_text out;

    ts_text_init(&out);
    frame_add_error(&out, "say \"x\" \xff");
    cr_expect(out.bytes > 2 && (size_t)(uint8_t)out.at[1] == out.bytes - 2);
    cr_expect_eq(memcmp(out.at + 2, want + 2, out.bytes - 2), 0, "%.*s", (int)out.bytes - 2,
                 out.at + 2);
    ts_text_done(&out);
}
