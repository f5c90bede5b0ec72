/* SPDX-License-Identifier: MIT
 * look_fuzz.c - linked into a pydblook of the tests: what it reads from the target's memory is corrupted.
 *
 * LOOK_FUZZ="FIRST COUNT DIRECTORY" runs main() once for each seed FIRST ... FIRST+COUNT-1, each in a process of its
 * own, with stdout and stderr in DIRECTORY/SEED.out and .err, and prints one line per seed: seed, exit status (a
 * negative signal, or "hang"), milliseconds, reads. Seed 0 corrupts nothing; the number of its reads tells the others
 * where to begin. The same seed on the same target in the same state does the same.
 *
 * Linked with -Wl,--wrap=process_vm_readv; the product has no hook for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEED_MS 90000
#define PIECES 64
#define POOL 256
#define PAGE 4096ul

ssize_t __real_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long locals, const struct iovec *remote,
                                unsigned long remotes, unsigned long flags);
ssize_t __wrap_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long locals, const struct iovec *remote,
                                unsigned long remotes, unsigned long flags);

/* What the process that forks for its own watch shares with us. */
static struct {
    uint64_t reads, usual;      /* of this seed; of seed 0 */
} *shared;

static struct {
    uint64_t seed, begin;       /* the read at which the corruption begins */
    unsigned words, pages;      /* one of so many is corrupt; 0: none */
    int torn;                   /* each read sees another corruption */
} plan;

static uint64_t pool[POOL];     /* pointers that were seen: the stuff of cycles */
static unsigned pooled;

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static void make_plan(uint64_t seed) {
    static const unsigned words[] = {8, 64, 300, 1500, 8000, 40000, 0, 300}, pages[] = {0, 0, 0, 12, 100, 1000};
    uint64_t r = mix(seed);
    plan.seed = seed;
    plan.words = words[r % 8];
    plan.pages = pages[(r >> 8) % 6];
    if (!plan.words && !plan.pages)
        plan.pages = 5;
    plan.torn = (r >> 16) & 1;
    /* Half of them let the interpreter be found, and begin where the stacks are read. */
    uint64_t usual = shared->usual ? shared->usual : 1000;
    plan.begin = (r >> 17) & 1 ? (r >> 24) % (usual + 1) : usual / 4 + (r >> 24) % (usual / 2 + 1);
}

/* A random number for this address, and in torn mode for this read. */
static uint64_t dice(uint64_t address) {
    return mix(mix(plan.seed ^ address) + (plan.torn ? shared->reads : 0));
}

static uint64_t corrupt(uint64_t word, uint64_t address, uint64_t r) {
    uint64_t seen = pooled ? pool[(r >> 8) % (pooled < POOL ? pooled : POOL)] : address;
    switch (r % 12) {
    case 0: return mix(r);
    case 1: case 2: return seen;
    case 3: return address;
    case 4: return address - (r >> 8) % 256;
    case 5: return (r >> 8) % 512;
    case 6: return -1 - (r >> 8) % 16;
    case 7: return word ^ 1ul << ((r >> 8) % 64);
    case 8: return word + (r >> 8) % 33 - 16;
    case 9: return 0;
    case 10: return (word & 0xffffffff) | mix(r) << 32;
    default: return INT64_MAX - (r >> 8) % 3;
    }
}

/* The place in the local pieces of byte `at`, if eight bytes are together there. */
static unsigned char *find_local(const struct iovec *local, unsigned long locals, uint64_t at) {
    for (unsigned long i = 0; i < locals; i++) {
        if (at < local[i].iov_len)
            return local[i].iov_len - at >= 8 ? (unsigned char *)local[i].iov_base + at : NULL;
        at -= local[i].iov_len;
    }
    return NULL;
}

static void corrupt_words(const struct iovec *local, unsigned long locals, uint64_t address, uint64_t size, uint64_t at) {
    for (uint64_t skip = -address % 8; skip + 8 <= size; skip += 8) {
        unsigned char *place = find_local(local, locals, at + skip);
        uint64_t word, r = dice(address + skip);
        if (!place)
            continue;
        memcpy(&word, place, 8);
        if (word > 0x10000 && word < 0x800000000000 && word % 8 == 0)
            pool[pooled++ % POOL] = word;
        if (r % plan.words == 0) {
            word = corrupt(word, address + skip, mix(r));
            memcpy(place, &word, 8);
        }
    }
}

/* How many bytes there are before the first page that is "not mapped". */
static uint64_t count_mapped(uint64_t address, uint64_t size) {
    for (uint64_t page = address & -PAGE; plan.pages && page < address + size; page += PAGE)
        if (dice(page + 1) % plan.pages == 0)
            return page < address ? 0 : page - address;
    return size;
}

/* As the kernel does: what comes before the first bad page is read, EFAULT only if there is nothing. */
ssize_t __wrap_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long locals, const struct iovec *remote,
                                unsigned long remotes, unsigned long flags) {
    if (!shared || !plan.seed || ++shared->reads < plan.begin || remotes > PIECES) {
        if (shared && !plan.seed)
            shared->reads++;
        return __real_process_vm_readv(pid, local, locals, remote, remotes, flags);
    }
    struct iovec pieces[PIECES];
    unsigned long count = 0;
    for (; count < remotes; count++) {
        pieces[count] = remote[count];
        pieces[count].iov_len = count_mapped((uintptr_t)remote[count].iov_base, remote[count].iov_len);
        if (pieces[count].iov_len < remote[count].iov_len) {
            count += pieces[count].iov_len > 0;
            break;
        }
    }
    if (!count && remotes) {
        errno = EFAULT;
        return -1;
    }
    ssize_t n = __real_process_vm_readv(pid, local, locals, pieces, count, flags);
    uint64_t at = 0;
    for (unsigned long i = 0; plan.words && i < count && (ssize_t)at < n; i++) {
        uint64_t size = pieces[i].iov_len < n - at ? pieces[i].iov_len : n - at;
        corrupt_words(local, locals, (uintptr_t)pieces[i].iov_base, size, at);
        at += size;
    }
    return n;
}

static void redirect(const char *directory, uint64_t seed, const char *ending, int to) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%lu.%s", directory, seed, ending);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, to) < 0)
        _exit(99);
}

static long now_in_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for the process of one seed and says what became of it. */
static void report(pid_t child, uint64_t seed, long begin) {
    int status;
    struct pollfd end = {.fd = syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
    int hangs = end.fd < 0 || poll(&end, 1, SEED_MS) != 1;
    kill(-child, SIGKILL);              /* whom its watch has left behind, too */
    waitpid(child, &status, 0);
    if (end.fd >= 0)
        close(end.fd);
    printf("%lu ", seed);
    if (hangs)
        printf("hang");
    else
        printf("%d", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    printf(" %ld %lu\n", now_in_ms() - begin, shared->reads);
    fflush(stdout);
}

/* Before main(): the parent stays here, each child returns and becomes pydblook. */
__attribute__((constructor)) static void run_seeds(void) {
    uint64_t first, count;
    char directory[2048];
    const char *wish = getenv("LOOK_FUZZ");
    if (!wish || sscanf(wish, "%lu %lu %2047s", &first, &count, directory) != 3)
        return;
    shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        _exit(99);
    for (uint64_t i = 0; i <= count; i++) {
        uint64_t seed = i ? first + i - 1 : 0;
        long begin = now_in_ms();
        shared->reads = 0;
        pid_t child = fork();
        if (!child) {
            setpgid(0, 0);
            make_plan(seed);
            redirect(directory, seed, "out", 1);
            redirect(directory, seed, "err", 2);
            return;
        }
        setpgid(child, child);
        if (child < 0)
            _exit(99);
        report(child, seed, begin);
        if (!seed)
            shared->usual = shared->reads;
    }
    _exit(0);
}
