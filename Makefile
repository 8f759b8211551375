# `make` lists what there is.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
STAMP   := -X pymessage/internal/service.Version=$(VERSION) -X pymessage/internal/service.Commit=$(COMMIT)

SERVICES := gateway accounts social
# The programs, as the folders of their mains.
PROGRAMS := $(foreach s,$(SERVICES),./services/$(s)/cmd/$(s)) $(wildcard ./cmd/*)

# How long each fuzz target runs, and what is fuzzed, as PACKAGE:TARGET.
FUZZTIME ?= 60s
FUZZ := \
	./services/gateway/wire:FuzzDecode \
	./services/gateway/wire:FuzzSplitFlat \
	./services/gateway/wire:FuzzAppendText \
	./internal/bell:FuzzDecode \
	./services/social/socialapi:FuzzDecodeBatch \
	./services/social/socialapi:FuzzDecodeBatchResult \
	./services/accounts:FuzzParsePHC \
	./services/accounts:FuzzUsername

DOCKER ?= docker

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## run the whole system here until Ctrl-C: Postgres, Redis, accounts, social, two gateways on port 6969
	@exec bin/local

.PHONY: build
build: ## build all programs into bin/
	@mkdir -p bin
	go build -trimpath -buildvcs=false -ldflags '$(STAMP)' -o bin/ $(PROGRAMS)

.PHONY: test
test: needs ## run all tests with the race detector, on a real Postgres and Redis
	CGO_ENABLED=1 go test -race -shuffle=on -count=1 ./...

# How long `make chaos` breaks things, under how many users and messages a second.
# CHAOS_SEED makes the plan of a run that failed again.
CHAOS := CHAOS_DURATION=2m30s CHAOS_USERS=132 CHAOS_RATE=480

.PHONY: chaos
chaos: needs ## break everything under traffic for 2.5 minutes, and check that every promise is kept
	env $(CHAOS) go test -count=1 -timeout 15m -run "^TestChaos$$" -v ./test/chaos

.PHONY: mutants
mutants: needs ## break the code on purpose, and show that `make chaos` in its short form finds it
	go run ./test/chaos/cmd/mutants $(MUTANTS)

.PHONY: compose-test
compose-test: ## build the images, bring up the whole stack in Docker, and kill its parts while people chat
	@test/compose/run.sh

.PHONY: needs
needs:
	@.ci/needs

.PHONY: stores
stores: ## install Postgres and Redis through the package manager if they are missing
	@go run ./cmd/local install-stores

.PHONY: lint
lint: ## check formatting, suspicious code, and who imports whom
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "not formatted (gofmt -w): $$unformatted" >&2; exit 1; }
	go vet ./...
	go vet -tags compose ./test/compose
	go tool staticcheck ./...
	go tool depguard ./...

.PHONY: fuzz
fuzz: ## feed made-up input to what reads input from outside, FUZZTIME (60s) each
	@set -e; for target in $(FUZZ); do \
		echo "go test -fuzz $${target##*:} $${target%%:*}"; \
		go test -run '^$$' -fuzz "^$${target##*:}\$$" -fuzztime $(FUZZTIME) "$${target%%:*}"; \
	done

# How long each run of `make bench` measures, and of how many it tells the median.
BENCH_DURATION ?= 8s
BENCH_RUNS     ?= 3

.PHONY: bench
bench: build stores ## measure everything for a quarter of an hour, and write the tables of docs/performance.md
	@exec bin/loadtest bench -duration $(BENCH_DURATION) -runs $(BENCH_RUNS)

# What `make load` measures: make load LOAD="paced -rate 500 -version 2".
LOAD ?= chat

.PHONY: load
load: build stores ## put a deployment under load and check that nothing is lost: LOAD="chat -users 1000"
	@exec bin/loadtest $(LOAD)

.PHONY: images
images: ## build the container images pymessage/gateway, pymessage/accounts, pymessage/social
	@set -e; for service in $(SERVICES); do \
		$(DOCKER) build --target $$service --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) $(if $(GO_IMAGE),--build-arg GO_IMAGE=$(GO_IMAGE)) -t pymessage/$$service:$(VERSION) .; \
	done

.PHONY: clean
clean: ## remove what was built; the data of make run stays in .data
	rm -rf bin
