# Fewbit. `make help` says what every target does.

BUILD ?= build
CFLAGS ?= -O3 -g
VERSION := 0.1.0
COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
PACKAGES := libuv libprotobuf-c openblas jansson libssl libcrypto zlib libpng libjpeg libcurl yaml-0.1 libsystemd sndfile minizip
STRICT := -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wconversion -fno-math-errno -ffp-contract=off
INCLUDES = -Ishared -I. -I$(BUILD)/gen $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
LIBS = -Wl,--as-needed $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -ldnnl -lcsv -lm -lpthread
COMPILE = $(CC) $(STRICT) $(CFLAGS) $(INCLUDES) -MMD -MP

# V=1 shows whole command lines.
ifeq ($(V),)
short = @echo '  $(1)  $@';
endif

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))
SHARED := $(call objects,$(wildcard shared/*/*.c shared/*/*/*.c)) $(BUILD)/gen/fewbit.pb-c.o
NODE := $(call objects,$(filter-out %/main.c,$(wildcard encoder_node/*.c)))
SERVER := $(call objects,$(filter-out %/main.c,$(wildcard decoder_server/*.c decoder_server/*/*.c)))
CLI := $(call objects,$(filter-out %/main.c,$(wildcard cli/*.c cli/*/*.c)))
PROGRAMS := $(addprefix $(BUILD)/bin/,encoder_node decoder_server fewbit)
UNIT_SOURCES := $(wildcard tests/unit/*.c tests/unit/*/*.c)
UNIT_TESTS := $(addprefix $(BUILD)/bin/tests/,$(notdir $(UNIT_SOURCES:.c=)))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/bin/tests/%,$(wildcard tests/fuzz/*.c))
PARITY := $(patsubst tests/parity/%.c,$(BUILD)/bin/tests/parity_%,$(wildcard tests/parity/*.c))
BENCHES := $(patsubst bench/%.c,$(BUILD)/bin/bench/%,$(wildcard bench/*.c))

EXPERIMENT ?= experiments/paper/row-03-simple-quantize.yaml
EPOCHS ?=
SECONDS ?= 300

.PHONY: help all demo check test test-containers bench bench-images bench-own fuzz soak parity build clean format check-deps results results-cifar10 results-best packages-build packages-test
.DEFAULT_GOAL := all

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  \1\t/' | expand -t 18

all: build ## build the programs: encoder_node, decoder_server, fewbit

build: packages-build
	@$(MAKE) --no-print-directory -j2 programs

.PHONY: programs test-programs
programs: $(PROGRAMS)
test-programs: $(PROGRAMS) $(UNIT_TESTS) $(FUZZERS) $(BUILD)/fuzz/corpus $(PARITY) $(BENCHES)

packages-build:
	@tools/check-packages build run

packages-test:
	@tools/check-packages build run test

demo: build ## train over TCP on MNIST with 4 nodes, then serve: EXPERIMENT=file.yaml EPOCHS=N
	@tools/demo $(EXPERIMENT) $(EPOCHS)

check: packages-test ## format, dependencies, length and the unit tests: less than a minute
	@tests/run --check

test: packages-test ## all tests; the last line is "N passed, N failed"
	@tests/run

test-containers: ## docker-compose.yml for real: bits at the interface, isolation, faults; starts an engine where none answers
	@tests/containers/run

bench: packages-test ## speed and memory, side by side with PyTorch; writes bench/results.json
	@$(MAKE) --no-print-directory -j2 test-programs
	@/usr/bin/python3 bench/run.py

bench-images: packages-test ## training steps of the image systems beside PyTorch; writes bench/images.json
	@$(MAKE) --no-print-directory -j2 programs
	@/usr/bin/python3 bench/images.py

bench-own: packages-test ## systems on tables and series that others published, beside PyTorch; writes bench/own.json
	@$(MAKE) --no-print-directory -j2 test-programs
	@/usr/bin/python3 bench/own.py

results: packages-test ## train the paper's rows on MNIST at full length (minutes): docs/results.md
	@$(MAKE) --no-print-directory -j2 programs
	@tools/results mnist

results-cifar10: packages-test ## train the classifier and the paper's rows on CIFAR-10 (hours): docs/results.md
	@$(MAKE) --no-print-directory -j2 programs
	@tools/results cifar10

results-best: packages-test ## our own systems with seeds 1 to 3, in stages too, the ablation, accuracy against bits (many hours): docs/results.md
	@$(MAKE) --no-print-directory -j2 programs
	@for table in best refinement ablation rate-accuracy; do tools/results $$table || exit 1; done

fuzz: packages-test ## look for inputs that break the readers of sockets and files: SECONDS=N for each (300)
	@tests/fuzz/run all $(SECONDS)

soak: packages-test ## a server under load while nodes die, links break and clients misbehave: SECONDS=N (300)
	@$(MAKE) --no-print-directory -j2 programs
	@/usr/bin/python3 tests/soak/soak.py --seconds $(SECONDS)

parity: packages-test ## all 29 systems against PyTorch, ten steps each (a quarter of an hour, 10 GB of memory)
	@$(MAKE) --no-print-directory -j2 test-programs
	@/usr/bin/python3 tests/parity/test_parity.py
	@/usr/bin/python3 tests/parity/test_images.py --all

check-deps: ## dependencies between folders, and between files, point one way
	@tools/check-deps

format: ## clang-format every C file
	clang-format -i $$(git ls-files '*.c' '*.h')

clean: ## remove what was built
	rm -rf $(BUILD) build-*

$(BUILD)/gen/fewbit.pb-c.c: proto/fewbit.proto
	@mkdir -p $(@D)
	$(call short,PB)protoc-c --c_out=$(@D) -Iproto $<

$(BUILD)/gen/fewbit.pb-c.h: $(BUILD)/gen/fewbit.pb-c.c ;

$(BUILD)/gen/fewbit.pb-c.o: $(BUILD)/gen/fewbit.pb-c.c
	$(call short,CC)$(CC) -std=c11 $(CFLAGS) $(INCLUDES) -c $< -o $@

$(BUILD)/%.o: %.c | $(BUILD)/gen/fewbit.pb-c.h
	@mkdir -p $(@D)
	$(call short,CC)$(COMPILE) -c $< -o $@

# Of the programs alone: a new commit links nothing else anew.
$(BUILD)/gen/version.h: FORCE
	@mkdir -p $(@D)
	@echo '#define FEWBIT_VERSION "$(VERSION)$(if $(COMMIT), ($(COMMIT)))"' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

.PHONY: FORCE
FORCE:

$(BUILD)/cli/main.o $(BUILD)/decoder_server/main.o $(BUILD)/encoder_node/main.o: $(BUILD)/gen/version.h

$(BUILD)/decoder_server/http/ui.o: decoder_server/http/ui/index.html

$(BUILD)/libfewbit.a: $(SHARED)
	@rm -f $@
	$(call short,AR)ar rcs $@ $^

$(BUILD)/libnode.a: $(NODE)
	@rm -f $@
	$(call short,AR)ar rcs $@ $^

$(BUILD)/libserver.a: $(SERVER)
	@rm -f $@
	$(call short,AR)ar rcs $@ $^

$(BUILD)/libcli.a: $(CLI)
	@rm -f $@
	$(call short,AR)ar rcs $@ $^

$(BUILD)/bin/encoder_node: $(BUILD)/encoder_node/main.o $(BUILD)/libnode.a $(BUILD)/libfewbit.a
$(BUILD)/bin/decoder_server: $(BUILD)/decoder_server/main.o $(BUILD)/libserver.a $(BUILD)/libnode.a $(BUILD)/libfewbit.a
$(BUILD)/bin/fewbit: $(BUILD)/cli/main.o $(BUILD)/libcli.a $(BUILD)/libfewbit.a
$(PROGRAMS):
	@mkdir -p $(@D)
	$(call short,LD)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

LIBRARIES := $(BUILD)/libcli.a $(BUILD)/libserver.a $(BUILD)/libnode.a $(BUILD)/libfewbit.a

$(foreach source,$(UNIT_SOURCES),$(eval $(BUILD)/bin/tests/$(notdir $(source:.c=)): $(BUILD)/$(source:.c=.o)))
$(UNIT_TESTS): $(LIBRARIES)
	@mkdir -p $(@D)
	$(call short,LD)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(LIBRARIES) $(LIBS) -lcmocka -o $@

$(BUILD)/bin/tests/%: $(BUILD)/tests/fuzz/%.o $(LIBRARIES)
	@mkdir -p $(@D)
	$(call short,LD)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

$(BUILD)/fuzz/corpus: tests/fuzz/make_corpus.py $(wildcard experiments/paper/*.yaml)
	$(call short,PY)/usr/bin/python3 $< $@
	@touch $@

$(BUILD)/bin/tests/parity_%: $(BUILD)/tests/parity/%.o $(LIBRARIES)
	@mkdir -p $(@D)
	$(call short,LD)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

$(BUILD)/bin/bench/%: $(BUILD)/bench/%.o $(LIBRARIES)
	@mkdir -p $(@D)
	$(call short,LD)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
