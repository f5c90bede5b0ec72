/* SPDX-License-Identifier: MIT
 * snapshot.c - pages of the target's memory as they were at one moment, more or less.
 *
 * Objects are small and lie beside each other: a page that was read for one mostly has the next one, too,
 * and one process_vm_readv of many pages costs little more than one of a single page. A snapshot is
 * begun anew for each thread, so that nothing in it is older than the pointer that led there by more
 * than it takes to read a thread; and in the end its pages are read again: what is the same then has
 * been the same in between. `consult` notes what the caller relies on, `peek` does not (a reference
 * count, a type).
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "values.h"

#define BATCH 256               /* pages in one call */
#define BATCH_AGAIN 32          /* in the caches of the processor */
#define USED_AT_MOST (1 << 20)

enum {GONE = -1, SAME};         /* page->now */

static unsigned hash_page(uint64_t address) {
    return (address / PAGE * 0x9e3779b97f4a7c15ull) >> 40;
}

/* Its place in the table: of the page, or where it would be. */
static unsigned find_slot(const struct snapshot *snapshot, uint64_t address) {
    unsigned slot = hash_page(address) & (snapshot->table_size - 1);
    while (snapshot->table[slot] && snapshot->pages[snapshot->table[slot] - 1].address != address)
        slot = (slot + 1) & (snapshot->table_size - 1);
    return slot;
}

void begin_snapshot(struct snapshot *snapshot) {
    for (int i = snapshot->count; i; i--)
        snapshot->table[find_slot(snapshot, snapshot->pages[i - 1].address)] = 0;
    snapshot->count = snapshot->used_count = 0;
    snapshot->generation++;
    memset(snapshot->recent, 0, sizeof snapshot->recent);
}

void free_snapshot(struct snapshot *snapshot) {
    free(snapshot->pages);
    free(snapshot->bytes);
    free(snapshot->table);
    free(snapshot->used);
    free(snapshot->changed);
    free(snapshot->again);
    *snapshot = (struct snapshot){0};
}

/* Room for one page more. The table is never more than half full. */
static int make_room(struct snapshot *snapshot) {
    if (snapshot->count < snapshot->room)
        return 0;
    if (snapshot->count >= snapshot->page_limit)
        return -1;
    int room = snapshot->room ? 2 * snapshot->room : 64;
    struct page *pages = realloc(snapshot->pages, room * sizeof *pages);
    if (pages)
        snapshot->pages = pages;
    unsigned char *bytes = realloc(snapshot->bytes, room * PAGE);
    if (bytes)
        snapshot->bytes = bytes;
    int *table = calloc(4 * room, sizeof *table);
    if (!pages || !bytes || !table) {
        free(table);
        return -1;
    }
    free(snapshot->table);
    snapshot->table = table;
    snapshot->table_size = 4 * room;
    snapshot->room = room;
    memset(snapshot->recent, 0, sizeof snapshot->recent);
    for (int i = 0; i < snapshot->count; i++)
        table[find_slot(snapshot, snapshot->pages[i].address)] = i + 1;
    return 0;
}

/* The page's index, -1 if there is no room; new: it has still to be read. */
static int add_page(struct snapshot *snapshot, uint64_t address, int *new) {
    *new = 0;
    if (snapshot->table_size) {
        int found = snapshot->table[find_slot(snapshot, address)];
        if (found)
            return found - 1;
    }
    if (make_room(snapshot))
        return -1;
    snapshot->pages[snapshot->count] = (struct page){address, 0, SAME};
    snapshot->table[find_slot(snapshot, address)] = snapshot->count + 1;
    *new = 1;
    return snapshot->count++;
}

static void read_page(struct snapshot *snapshot, int index) {
    struct page *page = &snapshot->pages[index];
    page->unreadable = read_memory(snapshot->memory, page->address, snapshot->bytes + index * PAGE, PAGE) != 0;
}

/* Pages first ... end of the snapshot, in few calls. */
static void read_pages(struct snapshot *snapshot, int first, int end) {
    struct piece pieces[BATCH];
    while (first < end) {
        int n = end - first < BATCH ? end - first : BATCH;
        for (int i = 0; i < n; i++)
            pieces[i] = (struct piece){snapshot->pages[first + i].address, snapshot->bytes + (first + i) * PAGE, PAGE, 0};
        read_pieces(snapshot->memory, pieces, n);
        for (int i = 0; i < n; i++)
            snapshot->pages[first + i].unreadable = !pieces[i].done;
        first += n;
    }
}

/* Read the pages of these addresses together, those that are not there yet. */
void fetch_pages(struct snapshot *snapshot, const uint64_t *addresses, int count) {
    int first = snapshot->count, new;
    for (int i = 0; i < count; i++)
        if (addresses[i] >= PAGE && addresses[i] < 1ull << 56)
            add_page(snapshot, addresses[i] & -PAGE, &new);
    read_pages(snapshot, first, snapshot->count);
}

static const unsigned char *find_page(struct snapshot *snapshot, uint64_t address) {
    int new;
    struct recent *recent = &snapshot->recent[address / PAGE % RECENT];
    if (recent->address == address)
        return recent->bytes;
    int index = add_page(snapshot, address, &new);
    if (index < 0)
        return NULL;
    if (new)
        read_page(snapshot, index);
    if (snapshot->pages[index].unreadable)
        return NULL;
    *recent = (struct recent){address, snapshot->bytes + index * PAGE};
    return recent->bytes;
}

int peek(struct snapshot *snapshot, uint64_t address, void *to, size_t size) {
    if (address < PAGE || address + size < address)
        return -1;
    for (size_t done = 0; done < size;) {
        uint64_t at = address + done;
        size_t piece = PAGE - at % PAGE;
        const unsigned char *page = find_page(snapshot, at & -PAGE);
        if (!page)
            return -1;
        if (piece > size - done)
            piece = size - done;
        memmove((char *)to + done, page + at % PAGE, piece);    /* memcpy: gcc makes a slow `rep movsq` of it */
        done += piece;
    }
    return 0;
}

int consult(struct snapshot *snapshot, uint64_t address, void *to, size_t size) {
    if (snapshot->used_count == snapshot->used_room) {
        int room = snapshot->used_room ? 2 * snapshot->used_room : 1024;
        struct used *more = room <= USED_AT_MOST ? realloc(snapshot->used, room * sizeof *more) : NULL;
        if (!more)
            return -1;
        snapshot->used = more;
        snapshot->used_room = room;
    }
    if (peek(snapshot, address, to, size))
        return -1;
    snapshot->used[snapshot->used_count++] = (struct used){address, size};
    return 0;
}

/* What a page is now, if it is something else. */
static void keep_changed(struct snapshot *snapshot, struct page *page, const unsigned char *now) {
    if (snapshot->changed_count == snapshot->changed_room) {
        int room = snapshot->changed_room ? 2 * snapshot->changed_room : 16;
        unsigned char *more = realloc(snapshot->changed, room * PAGE);
        if (!more) {
            page->now = GONE;
            return;
        }
        snapshot->changed = more;
        snapshot->changed_room = room;
    }
    memcpy(snapshot->changed + snapshot->changed_count * PAGE, now, PAGE);
    page->now = ++snapshot->changed_count;
}

/* All pages once more, for has_changed. */
void read_again(struct snapshot *snapshot) {
    struct piece pieces[BATCH_AGAIN];
    struct page *page_of[BATCH_AGAIN];
    unsigned char *bytes = snapshot->again ? snapshot->again : (snapshot->again = malloc(BATCH_AGAIN * PAGE));
    snapshot->changed_count = 0;
    snapshot->all_same = bytes != NULL;
    for (int i = 0; i < snapshot->count && !bytes; i++)
        snapshot->pages[i].now = GONE;
    if (!bytes)
        return;
    for (int i = 0; i < snapshot->count;) {
        int n = 0;
        for (; i < snapshot->count && n < BATCH_AGAIN; i++) {
            if (snapshot->pages[i].unreadable)
                continue;
            page_of[n] = &snapshot->pages[i];
            pieces[n] = (struct piece){snapshot->pages[i].address, bytes + n * PAGE, PAGE, 0};
            n++;
        }
        read_pieces(snapshot->memory, pieces, n);
        for (int k = 0; k < n; k++) {
            struct page *page = page_of[k];
            page->now = SAME;
            if (!pieces[k].done)
                page->now = GONE;
            else if (memcmp(bytes + k * PAGE, snapshot->bytes + (page - snapshot->pages) * PAGE, PAGE))
                keep_changed(snapshot, page, bytes + k * PAGE);
            snapshot->all_same &= page->now == SAME;
        }
    }
}

/* Are these bytes, which lie in one page, something else by now? */
static int is_changed(const struct snapshot *snapshot, uint64_t address, size_t size) {
    int index = snapshot->table[find_slot(snapshot, address & -PAGE)] - 1;
    const struct page *page = &snapshot->pages[index];
    if (index < 0 || page->unreadable || page->now == GONE)
        return 1;
    if (page->now == SAME)
        return 0;
    return memcmp(snapshot->bytes + index * PAGE + address % PAGE, snapshot->changed + (page->now - 1) * PAGE + address % PAGE, size) != 0;
}

/* Is anything that was consulted, from number first up to end, different by now? */
int has_changed(const struct snapshot *snapshot, int first, int end) {
    for (int i = first; i < end && !snapshot->all_same; i++) {
        uint64_t at = snapshot->used[i].address, last = at + snapshot->used[i].size;
        while (at < last) {
            size_t piece = PAGE - at % PAGE;
            if (piece > last - at)
                piece = last - at;
            if (is_changed(snapshot, at, piece))
                return 1;
            at += piece;
        }
    }
    return 0;
}
