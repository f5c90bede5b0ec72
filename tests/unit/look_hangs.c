/* SPDX-License-Identifier: MIT
 * look_hangs.c - preloaded into pydblook: a target whose memory does not answer.
 */
#include <sys/uio.h>
#include <unistd.h>

ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long locals, const struct iovec *remote,
                         unsigned long remotes, unsigned long flags) {
    (void)pid, (void)local, (void)locals, (void)remote, (void)remotes, (void)flags;
    for (;;)
        pause();
}
