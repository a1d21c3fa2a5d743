# Makefile - build, test, install. `make help` lists the targets.
#
# CONFIG=debug|release|asan|tsan|fuzz|cov chooses how; each has its own folder below $(BUILD), so
# switching costs no rebuild. A room is a folder of the tree: all its .c files but main.c go into
# one archive, from which a program or a test takes what it needs. A new file needs no line here.

VERSION   := 0.1.0
SOVERSION := 0
CONFIG    ?= release
BUILD     ?= build
PREFIX    ?= /usr/local
MINUTES   ?= 10

O := $(BUILD)/$(CONFIG)

# Unless told otherwise use every processor, once: a make below this one inherits the job server.
ifeq ($(MAKELEVEL)$(filter -j% --jobserver%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

# ---- rooms ----

ROOMS    := common proto daemon ingestd queryd cli
PROGRAMS := ingestd queryd tsstore
# What civetweb needs for TLS; found beside the programs, in ../lib/tsstore. See daemon/tls_shim/.
SHIMS    := libcrypto.so libssl.so
# The engine alone: what reads a configuration, knows keys or logs stays with the daemons.
LIBRARY_FILES := append checksum_avx2 create cursor delete embed error extent filter head index json \
                 locate map meta options recover recover_ring recover_slots reset ring seal store \
                 sync text view

sources  = $(filter-out %/main.c,$(wildcard $(1)/*.c))
objects  = $(patsubst %.c,$(O)/%.o,$(1))
programs_of = $(patsubst %.c,$(O)/%,$(wildcard tests/$(1)/*.c))

# A room, and the rooms it stands on.
WITH_common  := common
WITH_proto   := proto common
WITH_daemon  := daemon proto common
WITH_ingestd := ingestd daemon proto common
WITH_queryd  := queryd daemon proto common
WITH_cli     := cli proto common
# A test links the room that has a module of its name, and what that stands on; tests named
# otherwise are about common, or are listed here as ROOM_<test> := <room>.
room_of = $(or $(ROOM_$(1)),$(firstword $(foreach r,$(ROOMS),$(if $(wildcard $(r)/$(1).c),$(r)))),common)
needs   = $(patsubst %,$(O)/%.a,$(WITH_$(call room_of,$(notdir $(1)))))

ARCHIVES     := $(ROOMS:%=$(O)/%.a)
LIBRARY_OBJS := $(LIBRARY_FILES:%=$(O)/common/%.o)
SYSTEM_SRCS  := $(wildcard tests/system/[0-9]*.c)
HARNESS_OBJS := $(call objects,$(filter-out $(SYSTEM_SRCS),$(wildcard tests/system/*.c)))
RIG_OBJS     := $(call objects,$(wildcard tests/rig/*.c))
UNIT_BINS    := $(call programs_of,unit)
FAULT_BINS   := $(call programs_of,fault)
FUZZ_BINS    := $(call programs_of,fuzz)
BENCH_BINS   := $(call programs_of,bench)
SYSTEM_BINS  := $(SYSTEM_SRCS:%.c=$(O)/%)
# What the thread sanitizer is for: tests that start threads.
THREAD_BINS  := $(patsubst %.c,$(O)/%,$(shell grep -lE 'pthread_create|ts_store_open' tests/unit/*.c 2>/dev/null))
C_FILES      := $(wildcard $(ROOMS:%=%/*.[ch]) daemon/tls_shim/*.c tests/*/*.[ch] examples/*.c)

# ---- flags ----

PACKAGES      := libsodium jansson libzstd libxxhash yaml-0.1
# Optional: readiness and watchdog under systemd.
SYSTEMD       := $(shell pkg-config --exists libsystemd 2>/dev/null && echo libsystemd)
TEST_PACKAGES := criterion libcurl

CC_debug   := gcc
CC_release := gcc
CC_asan    := clang
CC_tsan    := clang
CC_fuzz    := clang
CC_cov     := gcc

FLAGS_debug   := -O0
FLAGS_release := -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong
# Without no-sanitize-recover a test with undefined behaviour prints a line and passes.
FLAGS_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS_tsan := -O1 -fno-omit-frame-pointer -fsanitize=thread
FLAGS_fuzz := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
              -fno-sanitize-recover=all
FLAGS_cov  := -O0 --coverage

ifeq ($(origin CC),default)
CC := $(CC_$(CONFIG))
endif
ifeq ($(CC_$(CONFIG)),)
$(error CONFIG is debug, release, asan, tsan, fuzz or cov, not '$(CONFIG)')
endif

MODE     := $(FLAGS_$(CONFIG))
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wvla
BASICS   := -std=gnu11 -D_GNU_SOURCE $(if $(SYSTEMD),-DTS_HAVE_SYSTEMD) -DTS_VERSION='"$(VERSION)"' -I.
ALL_CFLAGS := $(BASICS) $(WARNINGS) -g -fPIC -pthread -fvisibility=hidden $(MODE) \
              $(shell pkg-config --cflags $(PACKAGES) $(SYSTEMD) $(TEST_PACKAGES) 2>/dev/null) $(CFLAGS)
ALL_LDFLAGS := -pthread $(MODE) -Wl,--as-needed $(LDFLAGS)
LIBS      := -lcivetweb -lnng $(shell pkg-config --libs $(PACKAGES) $(SYSTEMD) 2>/dev/null) -lm
TEST_LIBS := $(shell pkg-config --libs $(TEST_PACKAGES) 2>/dev/null)

# V=1 shows the commands.
say  = $(if $(V),,@echo '  $(1) $@';)
link = $(call say,link) $(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
       -Wl,--end-group $(1) $(LIBS)

# ---- what is built ----

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.SECONDEXPANSION:

.PHONY: all programs library unit-bins fault-bins thread-bins system-bins fuzz-bins bench-bins
all: $(PROGRAMS:%=$(BUILD)/bin/%) $(SHIMS:%=$(BUILD)/lib/tsstore/%) library ## Build the programs and the library (release)
programs: $(PROGRAMS:%=$(O)/bin/%) $(SHIMS:%=$(O)/lib/tsstore/%)
library: $(BUILD)/lib/libtsstore.a $(BUILD)/lib/libtsstore.so
unit-bins: $(UNIT_BINS)
fault-bins: $(FAULT_BINS)
thread-bins: $(THREAD_BINS)
system-bins: $(SYSTEM_BINS)
fuzz-bins: $(FUZZ_BINS)
bench-bins: $(BENCH_BINS)

$(O)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,cc) $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# For processors that have it; common/checksum.h looks.
$(O)/common/checksum_avx2.o: ALL_CFLAGS += $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),-mavx2)

# Taken in by the assembler, which writes no dependencies.
$(O)/cli/swagger_page.o: cli/swagger.html

# The folder is a prerequisite so that a file which left it leaves the archive, too.
$(ARCHIVES): $(O)/%.a: $$(call objects,$$(call sources,$$*)) %
	@mkdir -p $(@D) && rm -f $@ && ar rcs $@ $(filter %.o,$^)

$(O)/bin/ingestd: $(O)/ingestd/main.o $(WITH_ingestd:%=$(O)/%.a)
$(O)/bin/queryd: $(O)/queryd/main.o $(WITH_queryd:%=$(O)/%.a)
$(O)/bin/tsstore: $(O)/cli/main.o $(WITH_cli:%=$(O)/%.a)
$(PROGRAMS:%=$(O)/bin/%):
	@mkdir -p $(@D)
	$(call link)

# Against the libraries themselves: their development files are not needed.
$(O)/lib/tsstore/lib%.so: $(O)/daemon/tls_shim/%.o
	@mkdir -p $(@D)
	$(call say,link) $(CC) -shared $(ALL_LDFLAGS) -Wl,--no-as-needed -Wl,-soname,lib$*.so -o $@ $< \
	    -l:lib$*.so.3

# Criterion cannot run under the thread sanitizer; its stand-in can.
ifeq ($(CONFIG),tsan)
$(UNIT_BINS): $(O)/%: $(O)/%.o $(O)/tests/tsan/runner.o $$(call needs,$$*)
	$(call link)
else
$(UNIT_BINS): $(O)/%: $(O)/%.o $$(call needs,$$*)
	$(call link,$(TEST_LIBS))
endif
$(FAULT_BINS) $(BENCH_BINS): $(O)/%: $(O)/%.o $(RIG_OBJS) $(ARCHIVES)
	$(call link,$(TEST_LIBS))
# Black boxes: nothing of ours but the harness is linked.
$(SYSTEM_BINS): $(O)/%: $(O)/%.o $(HARNESS_OBJS)
	$(call link,$(TEST_LIBS))
$(FUZZ_BINS): $(O)/%: $(O)/%.o $$(call needs,$$*)
	$(call link,-fsanitize=fuzzer)

# What is shipped comes from the release objects. The static library is one object whose internal
# names were made local, so that it exports what the shared one exports.
ifeq ($(CONFIG),release)
$(BUILD)/bin/%: $(O)/bin/%
	@mkdir -p $(@D)
	install -m 755 $< $@
$(BUILD)/lib/tsstore/%.so: $(O)/lib/tsstore/%.so
	@mkdir -p $(@D)
	install -m 755 $< $@
$(BUILD)/lib/libtsstore.a: $(LIBRARY_OBJS)
	@mkdir -p $(@D) && rm -f $@
	ld -r -o $(O)/libtsstore.o $^
	objcopy --localize-hidden $(O)/libtsstore.o
	ar rcs $@ $(O)/libtsstore.o
$(BUILD)/lib/libtsstore.so.$(VERSION): $(LIBRARY_OBJS)
	@mkdir -p $(@D)
	$(CC) -shared $(ALL_LDFLAGS) -Wl,-soname,libtsstore.so.$(SOVERSION) -Wl,--no-undefined \
	    -o $@ $^ $(LIBS)
$(BUILD)/lib/libtsstore.so: $(BUILD)/lib/libtsstore.so.$(VERSION)
	ln -sf libtsstore.so.$(VERSION) $(BUILD)/lib/libtsstore.so.$(SOVERSION)
	ln -sf libtsstore.so.$(SOVERSION) $@
else
$(PROGRAMS:%=$(BUILD)/bin/%) $(BUILD)/lib/libtsstore.a $(BUILD)/lib/libtsstore.so:
	$(error $@ is built with CONFIG=release; try 'make programs CONFIG=$(CONFIG)')
endif

-include $(wildcard $(O)/*/*.d $(O)/tests/*/*.d $(O)/daemon/tls_shim/*.d)

# ---- run and test ----

export BUILD CONFIG
QUIETLY := --no-print-directory

.PHONY: deps run test check unit fault tsan system fuzz bench lint format install clean help
deps: ## Install the Debian packages that are missing
	scripts/install-deps
run: ## Install what is missing, build, and show the demo; Ctrl-C ends it
	scripts/install-deps build
	$(MAKE) $(QUIETLY) CONFIG=release all
	scripts/run-demo
test: deps ## Install what is missing, build with sanitizers, run every test
	$(MAKE) $(QUIETLY) CONFIG=release all
	$(MAKE) $(QUIETLY) CONFIG=asan programs unit-bins fault-bins system-bins
	$(MAKE) $(QUIETLY) CONFIG=tsan thread-bins
	$(MAKE) $(QUIETLY) CONFIG=fuzz fuzz-bins
	CONFIG=asan scripts/run-tests unit fault tsan fuzz system lint
check: test ## The same
unit: unit-bins ## Unit tests of CONFIG; ONLY=json for one
	scripts/run-tests unit
fault: programs fault-bins ## Fault injection tests of CONFIG
	scripts/run-tests fault
tsan: ## Tests that start threads, under the thread sanitizer
	$(MAKE) $(QUIETLY) CONFIG=tsan thread-bins
	scripts/run-tests tsan
system: programs system-bins ## Black box tests of CONFIG's programs; ONLY=20_lists for one
	$(MAKE) $(QUIETLY) CONFIG=release all
	scripts/run-tests system
fuzz: ## Fuzz each parser for MINUTES (default 10); ONLY=json for one
	$(MAKE) $(QUIETLY) CONFIG=fuzz fuzz-bins
	FUZZ_SECONDS=$$(($(MINUTES) * 60)) scripts/run-tests fuzz
bench: ## Measure, in one run, as ratios; ONLY=socket_echo for one
	$(MAKE) $(QUIETLY) CONFIG=release all bench-bins
	tests/bench/run $(BUILD)/release/tests/bench $(ONLY)
lint: ## Formatting, clang-tidy, cppcheck, who may include whom, what is exported
	$(MAKE) $(QUIETLY) CONFIG=release library
	LINT=full scripts/run-tests lint
format: ## Give all C files the house shape
	clang-format -i $(C_FILES)
install: all ## Install below PREFIX (/usr/local), into DESTDIR if set
	SOVERSION=$(SOVERSION) scripts/install '$(DESTDIR)' '$(PREFIX)' '$(VERSION)' '$(BUILD)'
clean: ## Remove everything that was built
	rm -rf $(BUILD)
help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 12
