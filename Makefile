# Everything is built without cgo, so that one file runs anywhere; only the race
# detector needs a C compiler.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
export CGO_ENABLED := 0

# Prints how long a step took; write it in front of a command.
timed = @TIMEFORMAT='== $(1): %0R s'; time

# Packages with goroutines of their own. archive/bucket/minio runs none, and the
# library it wraps races with itself: when a server answers before it has read
# the whole request, minio-go v7.4.1 closes its StreamingReader from two
# goroutines without a lock.
RACE := ./cmd/kineweir ./fragments/... ./ingest/... ./archive ./archive/bucket/dir ./datastream/... ./playback/... ./web/...
# What runs in browsers has no goroutines of its own, and takes minutes.
NORACE := github.com/kineweir/kineweir/web/console
E2E := ./cmd/kineweir/e2e

.PHONY: build test check bench deps

build:
	go build -trimpath -o bin/kineweir ./cmd/kineweir

# Format, vet, staticcheck and the rules of the house. Needs nothing but Go.
check:
	$(call timed,format) { files=$$(find . -name '*.go' -not -path '*/node_modules/*'); \
		list=$$(go tool gofumpt -l $$files); \
		if [ -n "$$list" ]; then echo "not formatted; run: go tool gofumpt -w" $$list >&2; exit 1; fi; }
	$(call timed,vet) go vet ./...
	$(call timed,staticcheck) go tool staticcheck ./...
	$(call timed,rules) go test -run '^TestRules' ./cmd/kineweir

# Installs what the tests need, once.
deps:
	$(call timed,deps) .ci/deps.sh

# The end-to-end tests watch clocks: they run alone, and never from the cache,
# which does not know that they build the binary.
test: check deps
	$(call timed,tests) go test -timeout 15m $$(go list ./... | grep -vx 'github.com/kineweir/kineweir/cmd/kineweir/e2e')
	$(call timed,race) env CGO_ENABLED=1 go test -race -timeout 15m $$(go list $(RACE) | grep -vx $(NORACE))
	$(call timed,end to end) bash -c '. .ci/env.sh; go test -count=1 -timeout 20m $(E2E)'

# The second line measures what viewers cost, the third the record core beside the
# disk, JetStream, Pebble and kinesalite in one run, in ratios; that is a module of
# its own.
bench:
	go test -run '^$$' -bench . -benchmem ./...
	go run ./cmd/kineweir bench viewers
	bash -c '. .ci/env.sh; cd cmd/kineweir/peers && go vet . && go run . -dir .'
