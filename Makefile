# Tachometer. `make` lists the targets.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X tachometer/pkg/version.version=$(VERSION)
GOLANGCI := go tool -modfile=test/tools/go.mod golangci-lint
CLUSTER := go run tachometer/test/cluster/cmd/cluster
# Packages that start a cluster or build images: they run after the others, one at a time, so that none disturbs another's timing.
CLUSTER_TESTS := ./test/image/... ./test/integration/... ./test/e2e/...
UNIT_TESTS = $(filter-out tachometer/test/image% tachometer/test/integration% tachometer/test/e2e%,$(shell go list ./...))

.DEFAULT_GOAL := help
.PHONY: help kubernetes build test unit cluster-test e2e lint verify update bench bench-cluster demo demo-sale demo-down images deps clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the programs into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

test: unit cluster-test e2e ## everything: unit, fuzz seeds, golden, integration and end-to-end, with the race detector

unit: deps ## tests that need no cluster, with the race detector
	go test -race -timeout 10m $(UNIT_TESTS)

kubernetes: deps ## compile Kubernetes for the local clusters: minutes once, then from the cache
	@$(CLUSTER) build

cluster-test: kubernetes ## tests of the local Kubernetes itself
	go -C test/cluster test -race -timeout 30m ./...

e2e: kubernetes ## images, integration and end-to-end tests on a real Kubernetes
	go test -race -p 1 -timeout 30m -v $(CLUSTER_TESTS)

lint: ## golangci-lint, pinned in test/tools/go.mod
	$(GOLANGCI) run ./...
	cd test/cluster && go tool -modfile=../tools/go.mod golangci-lint run --config ../../.golangci.yml ./...

verify: ## generated files, module files and formatting are up to date
	test/verify.sh

update: ## rewrite what is generated: golden files, help text, metric list
	go test $(shell grep -rl --include='*_test.go' '"update"' cmd pkg | xargs -n1 dirname | sort -u | sed 's|^|./|') -update

bench: ## benchmarks of the hot paths, each beside its peer (PROMETHEUS=path to a newer one)
	go test -run "^$$$$" -bench . -benchmem ./pkg/...
	go test ./pkg/window -run TestReport -report
	go test ./test/bench -run TestChurn -churn-pods 100000 -churn-report "$(CURDIR)/docs/benchmarks.md"
	go run ./test/bench $(if $(PROMETHEUS),-prometheus $(PROMETHEUS)) -report docs/benchmarks.md

# Figures of another adapter are shown, not written into the report of ours.
PEER_PARTS ?= step,chain
bench-cluster: kubernetes ## benchmarks on a real Kubernetes (ADAPTER=folder of another adapter, METRIC=, IMAGES=)
	go run ./test/bench/cluster $(if $(ADAPTER),-parts $(PEER_PARTS) -adapter $(ADAPTER),-report docs/benchmarks.md -svg docs/chain.svg) \
		$(if $(METRIC),-metric $(METRIC)) $(if $(IMAGES),-images $(IMAGES))

demo: deps ## the main job in one command: a real cluster, load up, pods up, load down, pods down
	go run ./test/demo

demo-sale: deps ## a flash sale: an event, twenty pods, verified, the gate opened, all undone; then a bad release, rolled back
	go run ./test/demo/sale

demo-down: ## end what `KEEP=1 make demo` left
	go run ./test/demo -down

images: deps ## build the container images into out/
	$(CLUSTER) build-image --context . --target adapter --tag tachometer/adapter:dev --output out/adapter.tar
	$(CLUSTER) build-image --context . --target sample --tag tachometer/sample:dev --output out/sample.tar
	$(CLUSTER) build-image --context . --target scaler --tag tachometer/scaler:dev --output out/scaler.tar

deps: ## install what the tests run for real (Debian, root), or say what is missing
	@test/deps.sh

clean: ## remove what was built here
	rm -rf bin out
