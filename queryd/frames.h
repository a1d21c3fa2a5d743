/* frames.h - messages of a stream, composed as WebSocket frames one behind the other.
 *
 * Purpose    Put many messages into one buffer that goes out in one send().
 * Invariant  What is in the buffer is whole frames, but between frame_begin() and frame_end().
 * Threads    No state.
 * Errors     Only running out of memory, which struct ts_text remembers.
 */
#ifndef QUERYD_FRAMES_H
#define QUERYD_FRAMES_H

#include "common/text.h"
#include "common/tsstore.h"

/* Reserves the longest head a frame can have; the payload is appended behind it. The result is for
 * frame_end(), which writes the head and closes the space that it did not need. */
size_t frame_begin(struct ts_text *out);
void frame_end(struct ts_text *out, size_t start);

/* One text frame with this payload. */
void frame_add(struct ts_text *out, const char *payload);

/* {"type":"error","message":…} */
void frame_add_error(struct ts_text *out, const char *text);

/* As answer_gap_message(). */
void frame_add_gap(struct ts_text *out, const struct ts_gap *gap, const char *error);

#endif
