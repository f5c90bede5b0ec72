# Makefile - builds pydbattach, installs it, and installs and runs what its tests need.
# SPDX-License-Identifier: MIT
#
# `make all` needs gcc, make and readline's headers, nothing else; pydbattach.sh runs it in a fresh
# checkout. Every file in build/ is made beside its place and then moved there: a library that some
# process has mapped, or a program that runs, is never overwritten, which would kill its users.

PREFIX  ?= /usr/local
DESTDIR ?=
CFLAGS  ?= -O2 -g

WARNINGS = -std=gnu11 -Wall -Wextra
# The library lives in foreign processes: it depends on nothing, and finds Python by dlsym.
LIBRARY_FLAGS = -shared -fPIC -O2 -nostdlib -Wl,-z,undefs -fno-stack-protector -fvisibility=hidden
SANITIZE = -DSANITIZED -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

LOOK    = $(wildcard look/*.c look/*.h) steps.h wire.h Makefile
LOAD    = $(wildcard load/*.c load/*.h load/*.S) pipe_end.h steps.h wire.h Makefile
CLIENT  = $(wildcard client/*.c client/*.h) pipe_end.h steps.h wire.h Makefile
LIBRARY = pyinjectcode.c pyenter.c pyenter.h steps.h wire.h Makefile

PROGRAMS = build/pydblook build/pydbdump build/pydbload build/pydbclient build/pyinjectcode.so
PAYLOAD  = pyinjectcode.py pythreadhacks.py pybreaks.py pycatch.py pyenter.py pydbattach.gdb
C_FILES  = $(wildcard *.c look/*.c load/*.c client/*.c tests/*.c tests/*/*.c)
SH_FILES = $(wildcard *.sh tests/*.sh demo/*.sh bench/*.sh) .ci/run
PY_FILES = $(wildcard *.py tests demo bench)

# Interpreters, tools and the second root outlive a checkout: they are kept in the user's cache.
export PYDBATTACH_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pydbattach
export PYDBATTACH_SID   ?= $(PYDBATTACH_CACHE)/sid
TOOLS = $(PYDBATTACH_CACHE)/venv/bin
TESTS ?= tests
PYTEST_FLAGS ?= -n 2

comma := ,
# $(call compile,flags,libraries): all sources and objects among the prerequisites but $(INCLUDED), in one go, moved into place
compile = @mkdir -p $(@D); echo "  $(CC) $@"; \
	$(CC) $(WARNINGS) $(1) -I. $(filter-out $(INCLUDED),$(filter %.c %.S %.o,$^)) $(2) -o $@.$$$$ && mv -f $@.$$$$ $@ || { rm -f $@.$$$$; exit 1; }

all: build/stamp  ## build everything into build/ (the default)

# pydbattach.sh compares with it: newer than every source means that nothing is to be built.
build/stamp: $(PROGRAMS) $(PAYLOAD) $(LOOK) $(LOAD) $(CLIENT) $(LIBRARY)
	@touch $@

# -O3: a tenth of a dump.
build/look.o: $(LOOK)
	$(call compile,$(CFLAGS) -O3 -pthread -r)

build/pydblook: build/look.o
	$(call compile,-pthread,-ldl)

# The same for a dump, linked statically where that can be done: half of its time is the start of the program.
build/pydbdump: build/look.o
	@echo "  $(CC) $@"; for static in -static ''; do \
	    $(CC) $$static -pthread $^ -ldl -o $@.$$$$ 2>/dev/null && mv -f $@.$$$$ $@ && exit; done; exit 1

build/pydbload: $(LOAD)
	$(call compile,$(CFLAGS))

build/pydbclient: $(CLIENT)
	$(call compile,$(CFLAGS),-lreadline)

# A target keeps library and compiled payload of an attach; those of another build are not used.
BUILD = $(shell cat $(LIBRARY) $(filter %.py,$(PAYLOAD)) | cksum | tr ' ' '-')

build/pyinjectcode.so: $(LIBRARY) $(filter %.py,$(PAYLOAD))
	$(call compile,$(LIBRARY_FLAGS) -DPYDB_BUILD='"$(BUILD)"')

# The two programs that read what a hostile target may have written, with the sanitizers in them.
build/asan/pydblook: $(LOOK)
	$(call compile,$(SANITIZE) -pthread,-ldl)

build/asan/pydbclient: $(CLIENT)
	$(call compile,$(SANITIZE),-lreadline)

# A look for the tests only, whose reads are corrupted: tests/unit/look_fuzz.c.
build/asan/pydblook-fuzz: $(LOOK) tests/unit/look_fuzz.c
	$(call compile,$(SANITIZE) -pthread -Wl$(comma)--wrap=process_vm_readv,-ldl)

# Values read through a memory that lies.
build/asan/locals-fuzz: $(filter-out look/pydblook.c,$(LOOK)) tests/unit/locals_fuzz.c
	$(call compile,$(SANITIZE) -pthread,-ldl)

# Both ends of the channel, by libFuzzer: tests/unit/test_wire_fuzz.py. The harness includes the parts that it overhears.
FUZZ = $(SANITIZE) -fsanitize=fuzzer
build/asan/fuzz-library build/asan/fuzz-client: CC = clang
build/asan/fuzz-library: INCLUDED = pyinjectcode.c
build/asan/fuzz-library: $(LIBRARY) tests/unit/fuzz_library.c tests/unit/fuzz_frames.h
	$(call compile,$(FUZZ),-ldl)

build/asan/fuzz-client: INCLUDED = client/pydbclient.c $(addprefix client/,answer.c channel.c output.c savefile.c session.c text.c)
build/asan/fuzz-client: $(CLIENT) tests/unit/fuzz_client.c tests/unit/fuzz_frames.h
	$(call compile,$(FUZZ),-lreadline)

# The library linked into a Python program: tests/unit/test_library.py.
RACES = -O1 -g -fno-omit-frame-pointer -fsanitize=thread
build/asan/library-host: $(LIBRARY) tests/unit/library_host.c
	$(call compile,$(SANITIZE) -pthread,-ldl)

# It frees all at its end, as with the other sanitizers.
build/tsan/pydblook: $(LOOK)
	$(call compile,$(RACES) -DSANITIZED -pthread,-ldl)

build/tsan/library-host: $(LIBRARY) tests/unit/library_host.c
	$(call compile,$(RACES) -pthread,-ldl)

fuzzers: build/asan/fuzz-library build/asan/fuzz-client

asan: build/asan/pydblook build/tsan/pydblook build/asan/pydbclient build/asan/locals-fuzz  ## build look and client with sanitizers

deps:  ## install what the build, the tests and lint need (apt, pip, debootstrap; quick if it is there)
	@tests/deps.sh all

deps-build:  ## install only what the build and an attach need
	@tests/deps.sh build

check: deps  ## install what the tests need, build, run all tests; TESTS=tests/test_x.py for some
	@$(MAKE) --no-print-directory all asan
	$(TOOLS)/python -m pytest $(PYTEST_FLAGS) $(TESTS)

faults: deps all  ## kill and interrupt an attach at every step, in full (about two hours); FAULTS='--moments 5' for less
	$(TOOLS)/python tests/faults/run $(FAULTS)

rules: deps all  ## switch one rule of the attach off after another, and see its test fail
	$(TOOLS)/python tests/faults/rules

traces: deps all  ## set and remove the trace of threads that start and end, 100,000 times on every version
	PYDBATTACH_TRACES=100000 $(TOOLS)/python -m pytest $(PYTEST_FLAGS) tests/test_rules.py -k traces

soak: deps  ## ten thousand attaches to targets made to be unlucky; SOAK_FLAGS="--attaches N --log FILE" (half an hour or more)
	@$(MAKE) --no-print-directory all
	$(TOOLS)/python tests/soak/soak.py $(SOAK_FLAGS)

fuzz: deps all  ## corrupt what look reads, SEEDS='FIRST COUNT', and what library and client do, an hour each: FUZZ_SECONDS=3600
	PYDBATTACH_SEEDS='$(or $(SEEDS),1000 2000)' PYDBATTACH_FUZZ_SECONDS='$(or $(FUZZ_SECONDS),3600)' PYDBATTACH_FUZZ_SEED=0 \
	    $(TOOLS)/python -m pytest $(PYTEST_FLAGS) tests/unit/test_look_fuzz.py tests/unit/test_wire_fuzz.py

lint: deps  ## shellcheck, gcc and clang with all warnings, ruff
	shellcheck $(SH_FILES)
	set -e; for cc in gcc clang; do for file in $(C_FILES); do \
	    $$cc $(WARNINGS) -Werror -fsyntax-only -I. "$$file"; done; done
	$(TOOLS)/ruff check -q --no-cache --config 'builtins = ["hands", "pyinjectcode", "pythreadhacks"]' $(PY_FILES)

demo: deps-build all  ## a service that deadlocks, and you attached to it
	@demo/demo.sh

HOME_OF_PROGRAMS = $(DESTDIR)$(PREFIX)/libexec/pydbattach

install: all  ## install below PREFIX (/usr/local), in DESTDIR if given
	install -d "$(HOME_OF_PROGRAMS)" "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/man/man1"
	set -e; for file in $(PROGRAMS) pydbattach.sh; do name=$${file##*/}; \
	    install -m 755 "$$file" "$(HOME_OF_PROGRAMS)/$$name.new"; \
	    mv -f "$(HOME_OF_PROGRAMS)/$$name.new" "$(HOME_OF_PROGRAMS)/$$name"; done
	install -m 644 $(PAYLOAD) "$(HOME_OF_PROGRAMS)"
	install -m 644 doc/pydbattach.1 "$(DESTDIR)$(PREFIX)/share/man/man1/pydbattach.1"
	ln -sfn ../libexec/pydbattach/pydbattach.sh "$(DESTDIR)$(PREFIX)/bin/pydbattach"

uninstall:  ## remove what install has installed
	rm -rf "$(HOME_OF_PROGRAMS)"
	rm -f "$(DESTDIR)$(PREFIX)/bin/pydbattach" "$(DESTDIR)$(PREFIX)/share/man/man1/pydbattach.1"

clean:  ## remove everything that was built
	rm -rf build

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: all asan deps deps-build check soak faults rules traces fuzz fuzzers lint demo install uninstall clean help
