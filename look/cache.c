/* SPDX-License-Identifier: MIT
 * cache.c - many reads of the target's memory for the price of few.
 *
 * process_vm_readv costs about a microsecond for the call and a third of one for each page, so what is
 * wanted from many places is read in one call (read_pieces), and what lies side by side (objects, names,
 * dictionaries) in blocks that are kept (read_cached). A kept block is as old as its first use: right for
 * things that do not change, or where the reader compares with the memory itself afterwards. What must be
 * of this moment is read by read_memory or read_pieces, or after forget_cached.
 *
 * Bounded: so many blocks, so many reads (memory->reads_at_most). A block that cannot be read is not kept.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "dump.h"

#define BLOCK 4096u
#define BLOCKS_AT_MOST 3072     /* 12 MB: then all is forgotten */
#define SLOTS 8192u             /* of the hash table: a power of 2, more than twice as many */
#define PIECES_AT_ONCE 256      /* the kernel takes 1,024; the count of pieces that are bad should stay small */

struct cache {                  /* large, and its pages come as they are used */
    unsigned count;
    uint16_t slots[SLOTS];      /* number of the block + 1; 0: free */
    uint64_t starts[BLOCKS_AT_MOST];
    unsigned char blocks[BLOCKS_AT_MOST][BLOCK];
};

/* As many pieces as can be read; `done` says which. The number of those that cannot. */
int read_pieces(struct memory *memory, struct piece *pieces, int count) {
    int failed = 0;
    for (int i = 0; i < count;) {
        if (memory->backend || !memory->pid || memory->no_vectors) {
            pieces[i].done = !read_memory(memory, pieces[i].address, pieces[i].to, pieces[i].size);
            failed += !pieces[i++].done;
            continue;
        }
        struct iovec local[PIECES_AT_ONCE], remote[PIECES_AT_ONCE];
        int n = 0;
        for (; n < PIECES_AT_ONCE && i + n < count; n++) {
            local[n] = (struct iovec){pieces[i + n].to, pieces[i + n].size};
            remote[n] = (struct iovec){(void *)pieces[i + n].address, pieces[i + n].size};
        }
        if (count_read(memory))
            return failed + count - i;
        ssize_t got = process_vm_readv(memory->pid, local, n, remote, n, 0);
        if (got < 0)
            got = 0;
        int good = 0;
        while (good < n && (size_t)got >= pieces[i + good].size) {
            got -= pieces[i + good].size;
            pieces[i + good++].done = 1;
        }
        i += good;
        if (good < n) {         /* the kernel stops at the first bad one, and a filter allows no vectors at all */
            pieces[i].done = !read_memory(memory, pieces[i].address, pieces[i].to, pieces[i].size);
            memory->no_vectors = pieces[i].done && !good;
            failed += !pieces[i++].done;
        }
    }
    return failed;
}

static uint32_t find_slot(const struct cache *cache, uint64_t start) {
    uint32_t slot = (start / BLOCK * 0x9e3779b97f4a7c15ull) >> 40 & (SLOTS - 1);
    while (cache->slots[slot] && cache->starts[cache->slots[slot] - 1] != start)
        slot = (slot + 1) & (SLOTS - 1);
    return slot;
}

/* All blocks from number `left` on, the last one first: none is found past the slot of another. */
static void drop_blocks(struct cache *cache, unsigned left) {
    for (; cache->count > left; cache->count--)
        cache->slots[find_slot(cache, cache->starts[cache->count - 1])] = 0;
}

void forget_cached(struct memory *memory) {
    if (memory->cache)
        drop_blocks(memory->cache, 0);
}

void free_cache(struct memory *memory) {
    free(memory->cache);
    memory->cache = NULL;
}

static unsigned char *add_block(struct memory *memory, uint64_t start) {
    if (!memory->cache && !(memory->cache = calloc(1, sizeof *memory->cache)))
        return NULL;
    struct cache *cache = memory->cache;
    if (cache->count == BLOCKS_AT_MOST)
        forget_cached(memory);
    cache->starts[cache->count] = start;
    return cache->blocks[cache->count];
}

/* After add_block and a good read. */
static void keep_block(struct cache *cache) {
    cache->slots[find_slot(cache, cache->starts[cache->count])] = cache->count + 1;
    cache->count++;
}

/* The blocks of many addresses in few calls; addresses that cannot be read do not matter. */
void prefetch(struct memory *memory, const uint64_t *addresses, int count) {
    struct piece pieces[PIECES_AT_ONCE];
    for (int i = 0; i < count;) {
        int n = 0;
        unsigned first = memory->cache ? memory->cache->count : 0;
        if (first + PIECES_AT_ONCE > BLOCKS_AT_MOST)
            return;
        for (; i < count && n < PIECES_AT_ONCE; i++) {
            uint64_t start = addresses[i] & ~(uint64_t)(BLOCK - 1);
            unsigned char *block;
            if (!start || (memory->cache && memory->cache->slots[find_slot(memory->cache, start)])
                || !(block = add_block(memory, start)))
                continue;
            pieces[n++] = (struct piece){start, block, BLOCK, 0};
            keep_block(memory->cache);
        }
        if (n && read_pieces(memory, pieces, n)) {
            struct cache *cache = memory->cache;
            drop_blocks(cache, first);
            for (int k = 0; k < n; k++) {       /* keep the good ones only */
                if (!pieces[k].done)
                    continue;
                cache->starts[cache->count] = pieces[k].address;
                memmove(cache->blocks[cache->count], pieces[k].to, BLOCK);
                keep_block(cache);
            }
        }
    }
}

/* Like read_memory, through the kept blocks. */
int read_cached(struct memory *memory, uint64_t address, void *to, size_t size) {
    if (address + size < address)
        return -1;
    for (size_t done = 0; done < size;) {
        uint64_t start = (address + done) & ~(uint64_t)(BLOCK - 1);
        size_t at = address + done - start, piece = BLOCK - at < size - done ? BLOCK - at : size - done;
        uint32_t slot = memory->cache ? memory->cache->slots[find_slot(memory->cache, start)] : 0;
        const unsigned char *block = slot ? memory->cache->blocks[slot - 1] : NULL;
        if (!block) {
            unsigned char *fresh = add_block(memory, start);
            if (!fresh || read_memory(memory, start, fresh, BLOCK))
                return read_memory(memory, address, to, size);     /* core files have pages in part */
            keep_block(memory->cache);
            block = fresh;
        }
        memcpy((char *)to + done, block + at, piece);
        done += piece;
    }
    return 0;
}
