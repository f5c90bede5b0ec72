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

# In a system call: it must be one in which look has seen this thread, at the same place and depth (a thread that
# moves may stand in the plan several times). Outside of any: the thread must be outside of everything that may
# hold a lock of malloc or of the dynamic linker.
define is_safe_call
  set $j = 0
  while $safe == 0 && $j < $candidates
    eval "set $same = $tid%d == $tid && $nr%d == (long)$orig_rax && $sp%d == (unsigned long)$sp && $pc%d == (unsigned long)$pc", $j, $j, $j, $j
    if $same
      set $safe = 1
    end
    set $j = $j + 1
  end
end

define is_safe
  set $safe = 0
  set $handler = 0
  if (long)$orig_rax >= 0
    is_safe_call
  else
    set $safe = 1
    set $k = 0
    while $k < $ranges
      eval "set $outside = (unsigned long)$pc < $lo%d || (unsigned long)$pc >= $hi%d", $k, $k
      if !$outside
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
        set $handler = 1
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
  eval "attach %d", $tid
  is_safe
  if $safe == 0
    # The last round says who was where: pydbload tells it.
    if $try >= $tries - $candidates
      printf "# at %d %ld %#lx %d\n", $tid, (long)$orig_rax, (unsigned long)$pc, $handler
    end
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
set *(unsigned long *)($note + 24) = 0
set *(unsigned long *)($note + 32) = 0
# From here on the note is ours, for those who read it meanwhile: nothing of an earlier attach may stand in it.
set *(unsigned long *)($note + 16) = $token
# The kernel takes 2 off the pc if it restarts a system call that our stop has interrupted, and does not if a
# signal handler comes first: both ways back (see load/stub_x86_64.S).
set *(unsigned long *)($stub + $stub_back) = (unsigned long)$rip
set *(unsigned long *)($stub + $stub_restart) = (unsigned long)$rip - 2

# Only a stub that stands there whole is run: its two ends are read back.
if *(unsigned int *)$stub != $stub_first || *(unsigned long *)($stub + $stub_last) != $note || *(unsigned long *)($note + 16) != $token
  detach
  quit 1
end

printf "# took %d\n", $tid

# The one change to the thread, and the last one.
set $rip = $stub + 2
detach
quit 0
