# pydbattach.gdb - what gdb does in the target.
# SPDX-License-Identifier: MIT
#
# Runs in batch mode after the plan, which has set every value used here (`pydblook plan`, `pydbload`).
# It calls no function of the target, sets no breakpoint and steps
# nothing; whoever kills gdb, before or after the one write of the pc, leaves a target that needs
# nobody. Exit status: 0 the stub runs, 3 no thread was at a safe place, 1 anything else.

# Never ask, never page, never stop at a signal of the program: they are all passed on.
set confirm off
set pagination off
set width 0
handle all nostop noprint pass
handle SIGINT nostop noprint pass

# The restart codes of the kernel: a system call that was interrupted by our stop.
# The kernel will take 2 off the pc when it resumes such a thread (see load/stub_x86_64.S).
define find_way_back
  set $back = (unsigned long)$rip
  if (long)$orig_rax >= 0
    if (long)$rax == -512 || (long)$rax == -513 || (long)$rax == -514 || (long)$rax == -516
      set $back = $back - 2
    end
  end
end

# A thread that look saw in a system call must still be in that very call, at the same depth.
# A thread that look saw running (number -1) must be outside of everything that may hold a lock of
# malloc or of the dynamic linker, and in no system call.
define is_safe
  set $safe = 0
  if $nr >= 0
    if (long)$orig_rax == $nr && (unsigned long)$sp == $sp_seen && (unsigned long)$pc == $pc_seen
      set $safe = 1
    end
  else
    if (long)$orig_rax < 0
      set $safe = 1
      set $k = 0
      while $k < $ranges
        eval "set $lo = $lo%d", $k
        eval "set $hi = $hi%d", $k
        if (unsigned long)$pc >= $lo && (unsigned long)$pc < $hi
          set $safe = 0
          set $k = $ranges
        end
        set $k = $k + 1
      end
      # A C signal handler may have interrupted malloc, although its own pc is elsewhere. Every 64-bit
      # signal frame holds this word, the segment registers of what it interrupted.
      if $safe == 1
        find /g1 $sp, +2048, 0x002b000000000033
        if $numfound > 0
          set $safe = 0
        end
      end
    end
  end
end

# Attach to one candidate after another, for half a millisecond each, until one is safe.
set $safe = 0
set $try = 0
while $safe == 0 && $try < $tries
  set $i = $try % $candidates
  eval "set $tid = $tid%d", $i
  eval "set $nr = $nr%d", $i
  eval "set $sp_seen = $sp%d", $i
  eval "set $pc_seen = $pc%d", $i
  eval "attach %d", $tid
  is_safe
  if $safe == 0
    detach
  end
  set $try = $try + 1
end

if $safe == 0
  quit 3
end

# All writes to memory first: the stub, a clean note, the way back. Nothing runs them yet.
eval "restore /proc/self/fd/%d binary %lu", $stub_file, $stub
set *(unsigned long *)$note = $note_magic
set *(unsigned long *)($note + 8) = 0
set *(unsigned long *)($note + 16) = $token
set *(unsigned long *)($note + 24) = 0
set *(unsigned long *)($note + 32) = 0
find_way_back
set *(unsigned long *)($stub + $stub_back) = $back

# Only a stub that stands there whole is run: its two ends are read back.
if *(unsigned int *)$stub != $stub_first || *(unsigned long *)($stub + $stub_last) != $note || *(unsigned long *)($note + 16) != $token
  detach
  quit 1
end

# The one change to the thread, and the last one.
set $rip = $stub + 2
detach
quit 0
