/* meta.c - build and check the 64-byte line. */
#include "common/meta.h"

#include "common/checksum.h"

#include <string.h>

uint64_t
ts_word_pack(uint64_t value, unsigned salt)
{
    /* Fibonacci hashing: the top bits of the product depend on every bit of the value. */
    const uint64_t check = ((value + ((uint64_t)salt << 56)) * UINT64_C(0x9e3779b97f4a7c15)) >> 48;

    return (value << 16) | check;
}

bool
ts_word_unpack(uint64_t word, unsigned salt, uint64_t *out_value)
{
    if (ts_word_pack(word >> 16, salt) != word)
        return false;
    *out_value = word >> 16;
    return true;
}

size_t
ts_meta_words(const struct ts_meta *meta, struct ts_words *out)
{
    if (!ts_word_unpack(atomic_load_explicit(&meta->generation, memory_order_acquire),
                        TS_WORD_GENERATION, &out->generation))
        return offsetof(struct ts_meta, generation);
    if (!ts_word_unpack(atomic_load_explicit(&meta->tail_seq, memory_order_acquire), TS_WORD_TAIL,
                        &out->tail_seq))
        return offsetof(struct ts_meta, tail_seq);
    if (!ts_word_unpack(atomic_load_explicit(&meta->sealed_seq, memory_order_acquire),
                        TS_WORD_SEALED, &out->sealed_seq))
        return offsetof(struct ts_meta, sealed_seq);
    return 0;
}

uint64_t
ts_seed(uint32_t store_id, uint64_t generation)
{
    const uint64_t words[2] = {store_id, generation};

    return ts_checksum(words, sizeof words, 0);
}

static uint32_t
meta_checksum(const struct ts_meta *meta)
{
    return (uint32_t)ts_checksum(meta, offsetof(struct ts_meta, checksum), 0);
}

void
ts_meta_init(struct ts_meta *meta, const struct ts_options *options,
             const struct ts_geometry *geometry, uint32_t store_id)
{
    memset(meta, 0, sizeof *meta);
    memcpy(meta->magic, TS_META_MAGIC, sizeof meta->magic);
    meta->version = TS_FORMAT_VERSION;
    meta->type = (uint8_t)options->type;
    meta->block_shift = geometry->block_shift;
    meta->index_shift = geometry->index_shift;
    meta->codec = (uint8_t)options->codec;
    meta->order = (uint8_t)options->order;
    meta->duplicates = (uint8_t)options->duplicates;
    meta->open_shift = geometry->open_shift;
    meta->num_blocks = options->num_blocks;
    meta->sync_ms = options->sync_ms;
    meta->store_id = store_id;
    meta->checksum = meta_checksum(meta);
    ts_meta_publish_generation(meta, 1);
    ts_meta_publish_sealed(meta, 0);
    atomic_store_explicit(&meta->tail_seq, ts_word_pack(1, TS_WORD_TAIL), memory_order_relaxed);
}

static enum ts_err
refuse(size_t offset, const char *what)
{
    return TS_FAIL(TS_E_CORRUPT, TS_META_FILE ": damaged at offset %zu: %s", offset, what);
}

enum ts_err
ts_meta_check(const struct ts_meta *meta, struct ts_options *out_options)
{
    struct ts_options options = {0};
    struct ts_geometry geometry;
    enum ts_err err;

    if (memcmp(meta->magic, TS_META_MAGIC, sizeof meta->magic) != 0)
        return refuse(0, "invalid store file (bad magic number)");
    if (meta->version != TS_FORMAT_VERSION)
        return TS_FAIL(TS_E_VERSION,
                       TS_META_FILE ": store version mismatch at offset 8: version %u, this "
                                    "program reads %u",
                       meta->version, TS_FORMAT_VERSION);
    if (meta->checksum != meta_checksum(meta))
        return refuse(offsetof(struct ts_meta, checksum), "checksum mismatch of bytes 0 to 35");
    if ((meta->incompat & ~TS_INCOMPAT_KNOWN) != 0)
        return TS_FAIL(TS_E_VERSION,
                       TS_META_FILE ": feature bits 0x%x at offset 18 need a newer program",
                       meta->incompat & ~TS_INCOMPAT_KNOWN);
    if (meta->block_shift > 31 || meta->index_shift > 31)
        return refuse(offsetof(struct ts_meta, block_shift), "impossible block size");
    options.num_blocks = meta->num_blocks;
    options.data_block_bytes = UINT32_C(1) << meta->block_shift;
    options.index_block_bytes = UINT32_C(1) << meta->index_shift;
    options.type = (enum ts_type)meta->type;
    options.codec = (enum ts_codec)meta->codec;
    options.order = (enum ts_order)meta->order;
    options.duplicates = (enum ts_duplicates)meta->duplicates;
    options.sync_ms = meta->sync_ms;
    err = ts_geometry_of(&options, &geometry);
    if (err != TS_OK) {
        TS_CONTEXT(TS_META_FILE ": offset 10");
        return TS_E_CORRUPT;
    }
    if (geometry.open_shift != meta->open_shift)
        return refuse(offsetof(struct ts_meta, open_shift), "impossible size of open blocks");
    *out_options = options;
    return TS_OK;
}
