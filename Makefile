# Tachometer. `make` lists the targets.

MODULE := github.com/tachometer-metrics/tachometer
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X $(MODULE)/pkg/version.stamped=$(VERSION)
GOLANGCI := go tool -modfile=$(CURDIR)/test/tools/go.mod golangci-lint
CLUSTER := go -C test run $(MODULE)/test/harness/cluster/cmd/cluster
# Suites that start a cluster, servers or images: they run after the others, one at a time, so that none disturbs another's timing.
SUITES := ./integration/... ./e2e/...
TEST_UNITS = $(filter-out $(MODULE)/test/integration% $(MODULE)/test/e2e% $(MODULE)/test/attack% $(MODULE)/test/truth,$(shell go -C test list ./...))
# Computations on one goroutine: the race detector makes them five times as long and has nothing to find. They run without it.
SEQUENTIAL := TestPrometheusScripts|TestDirectIsTheEngine

.DEFAULT_GOAL := help
.PHONY: help build check fmt lint unit verify update test e2e cluster-test charts kubernetes truth bench bench-cluster demo demo-sale demo-down images release deps clean chaos fuzz hpa attack walks vuln browser update-screenshots attack-short alwaysup soak soak-scaler soak-scaler-node surge surge-traffic fast-start alerts

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the programs into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

check: fmt lint unit ## before a commit: format, lint, unit tests; installs nothing

fmt: ## fail where a file is not gofmt-ed
	@unformatted=$$(gofmt -l cmd pkg test); [ -z "$$unformatted" ] || { echo "not gofmt-ed, run gofmt -w:" $$unformatted >&2; exit 1; }

lint: ## golangci-lint, pinned in test/tools/go.mod
	$(GOLANGCI) run ./...
	cd test && $(GOLANGCI) run --config ../.golangci.yml ./...
	cd test/harness/cluster && $(GOLANGCI) run --config ../../../.golangci.yml ./...
	cd test/helm && $(GOLANGCI) run --config ../../.golangci.yml ./...
	cd test/monitoring && $(GOLANGCI) run --config ../../.golangci.yml ./...
	cd test/hpa && $(GOLANGCI) run --config ../../.golangci.yml ./...
	cd test/release && $(GOLANGCI) run --config ../../.golangci.yml ./...
	cd test/dashboard && $(GOLANGCI) run --config ../../.golangci.yml ./...

unit: ## unit tests, with the race detector where goroutines meet; need nothing but Go
	go test -race -timeout 30m -skip '$(SEQUENTIAL)' $(filter-out $(MODULE)/pkg/adapter/window,$(shell go list ./...))
	go test -timeout 30m -run '$(SEQUENTIAL)' ./pkg/adapter/query
	go test -timeout 30m ./pkg/adapter/window
	go -C test test -race -timeout 30m $(TEST_UNITS)
	go -C test test -race -timeout 30m ./truth -run 'TestGenerated|TestDeterministic' -truth.scenarios 20
	go -C test test -timeout 30m ./truth
	go -C test/hpa test -timeout 10m ./...
	go -C test/hpa test -modfile=kubernetes-1.37.mod -timeout 10m ./...

FUZZTIME ?= 20s
fuzz: ## every Fuzz function, one after the other, each for FUZZTIME; `make unit` plays their seeds only
	FUZZTIME=$(FUZZTIME) test/fuzz.sh

verify: ## fail where something generated is out of date: golden files, module files, addresses
	test/verify.sh

update: ## rewrite what is generated: golden files, help text, metric list, the charts' schema and README
	go test $(shell grep -rl --include='*_test.go' 'pkg/golden"' cmd pkg | xargs -n1 dirname | sort -u | sed 's|^|./|') -update
	go -C test/monitoring test . -update
	go -C test/helm test -short . -update

test: deps unit attack-short browser cluster-test charts e2e ## everything, on a real Kubernetes: unit, integration, end-to-end. First installs what is missing (make deps)

e2e: kubernetes ## images, integration and end-to-end tests on a real Kubernetes
	go -C test test -race -p 1 -timeout 40m -v $(SUITES)

browser: ## the dashboard in a real Chromium: clicks, keys, accessibility, themes, hostile texts
	go -C test/dashboard test -timeout 40m ./...

update-screenshots: ## take the pictures of docs/dashboard.md again
	go -C test/dashboard test -count 1 -timeout 40m -run TestScreenshots . -screenshots $(CURDIR)/docs

cluster-test: kubernetes ## tests of the local Kubernetes itself
	go -C test/harness/cluster test -race -timeout 30m ./...

charts: kubernetes ## Helm charts, rendered by Helm 3 and 4 and installed on a real API server; dashboards, alerts, release files
	go -C test/helm test -timeout 10m ./...
	go -C test/monitoring test -timeout 10m ./...
	go -C test/release test -timeout 15m ./...

kubernetes: ## compile Kubernetes for the local clusters: minutes once, then from the cache
	@$(CLUSTER) build

SCENARIOS ?= 10000
SEED ?= 1
truth: ## generated scenarios in virtual time: judges every answer, and writes the table of promises (SCENARIOS=, SEED=)
	@mkdir -p out && rm -f out/truth.md
	@go -C test test ./truth -count 1 -timeout 60m -truth.scenarios $(SCENARIOS) -truth.seed $(SEED) -truth.table "$(CURDIR)/out/truth.md"; \
		status=$$?; cat out/truth.md; exit $$status

CHAOS ?= 30m
chaos: kubernetes ## random faults on a real Kubernetes for half an hour, every value judged, and the table (CHAOS=, SEED=)
	@mkdir -p out
	go -C test test ./e2e -count 1 -timeout 3h -v -run TestChaos -chaos.duration $(CHAOS) -chaos.seed $(SEED) -chaos.table "$(CURDIR)/out/chaos.md"

alwaysup: kubernetes ## an HPA's reads during a rolling update, a drain, signals, an OOM kill and a lost network, as a table
	@mkdir -p out
	go -C test test ./e2e -count 1 -timeout 40m -v -run TestAlwaysUp -alwaysup -alwaysup.table "$(CURDIR)/out/alwaysup.md"

alerts: kubernetes ## makes every shipped alert fire on a real node, and end again
	go -C test test ./e2e -count 1 -timeout 40m -v -run TestAlerts -alerts

DURATION ?= 30m
soak: ## the adapter for half an hour at ten times the reads of 1,000 autoscalers, with churn and an overload; fails if something grows (DURATION=)
	@mkdir -p out
	go -C test test ./soak -count 1 -timeout 24h -v -run TestSoak -soak.duration $(DURATION) -soak.table "$(CURDIR)/out/soak.md"

CASES ?= 1000000
hpa: ## pkg/hpa beside the HPA controllers of Kubernetes 1.36 and 1.37: every random decision must be equal (CASES=, SEED=)
	go -C test/hpa test -count 1 -timeout 120m -v -hpa.cases $(CASES) -hpa.seed $(SEED)
	go -C test/hpa test -modfile=kubernetes-1.37.mod -count 1 -timeout 120m -v -hpa.cases $(CASES) -hpa.seed $(SEED)

attack: ## the adapter attacked as a tenant, a reader, a stranger, each attack with its bound; as root in a memory cgroup of the shipped limit
	go -C test test ./attack -count 1 -timeout 20m -v

attack-short: ## a part of `make attack`, judged by memory and rejections, not by time
	go -C test test ./attack -short -parallel 16 -count 1 -timeout 20m

STEPS ?= 10
INTERVAL ?= 1s
surge: kubernetes ## steps of the load on a real Kubernetes, without and with the surge lane (STEPS=, INTERVAL= of scrapes)
	go -C test test ./e2e -count 1 -timeout 3h -v -run TestSurge -surge.steps $(STEPS) -surge.interval $(INTERVAL)

HOURS ?= 50
surge-traffic: ## the surge lane over fifty hours of each kind of steady traffic and a thousand steps, in virtual time (HOURS=)
	go -C test test ./surge -count 1 -timeout 6h -v -args -hours $(HOURS) -steps 1000

fast-start: kubernetes ## seconds until twenty pods are ready on a real Kubernetes, with one change of their manifest at a time
	go -C test test ./e2e -count 1 -timeout 1h -v -run TestFastStart -faststart.runs 3

WALKS ?= 100000
walks: ## random walks over the scaler's holds (WALKS=, SEED=)
	go test ./pkg/scaler/rollout -count 1 -timeout 6h -run TestWalks -walks $(WALKS) -walk-seed $(SEED)

SOAK_DAYS ?= 366
soak-scaler: ## a year of the scaler in virtual time (SOAK_DAYS=, SEED=)
	go test ./pkg/scaler/rollout -count 1 -timeout 2h -run TestYear -soak-days $(SOAK_DAYS) -soak-seed $(SEED)

SOAK ?= 30m
soak-scaler-node: kubernetes ## the scaler on a real Kubernetes for half an hour, with schedules, events, edits, kills and restarts (SOAK=, SEED=)
	go -C test test ./e2e -count 1 -timeout 3h -v -run TestScalerSoak -scalersoak.duration $(SOAK) -scalersoak.seed $(SEED)

bench: ## benchmarks of the hot paths, each beside its peer (PROMETHEUS=path to a newer one)
	go test -run "^$$$$" -bench . -benchmem ./pkg/...
	go test ./pkg/adapter/window -run TestReport -report
	go -C test test ./bench -run TestChurn -churn-pods 100000
	go -C test run ./bench $(if $(PROMETHEUS),-prometheus $(abspath $(PROMETHEUS))) -report "$(CURDIR)/test/bench/REPORT.md"

# Figures of another adapter are shown, not written into the report of ours.
PEER_PARTS ?= step,chain
bench-cluster: kubernetes ## benchmarks on a real Kubernetes (ADAPTER=folder of another adapter, METRIC=, IMAGES=)
	go -C test run ./bench/cluster $(if $(ADAPTER),-parts $(PEER_PARTS) -adapter $(abspath $(ADAPTER)),-report "$(CURDIR)/docs/benchmarks.md" -svg "$(CURDIR)/docs/chain.svg") \
		$(if $(METRIC),-metric $(METRIC)) $(if $(IMAGES),-images $(IMAGES))

demo: deps ## the main job in one command: a real cluster, load up, pods up, load down, pods down (SURGE=1: with the surge lane, KEEP=1). First installs what is missing
	go -C test run ./demo -svg "$(CURDIR)/out/demo.svg"

demo-sale: deps ## a flash sale: an event, twenty new pods, verified, the gate opened, all undone; then a bad release, rolled back
	go -C test run ./demo/sale

demo-down: ## end what `KEEP=1 make demo` left
	go -C test run ./demo -down

release: ## the files of a release into dist/: binaries, images, manifests, charts, SBOMs, checksums (VERSION=v0.1.0)
	go -C test/release run . -version $(VERSION) -root $(CURDIR) -out $(CURDIR)/dist

vuln: ## known vulnerabilities that the programs reach, by govulncheck; SKIPPED where its database cannot be reached (VULNDB=URL)
	@VULNDB="$(VULNDB)" test/vuln.sh

images: ## build the container images into out/
	for image in tachometer-adapter tachometer-scaler sample; do \
		$(CLUSTER) build-image --context $(CURDIR) --target $$image --tag $$image:dev --build-arg VERSION=$(VERSION) --output $(CURDIR)/out/$$image.tar || exit 1; done

deps: ## install what the tests run for real (Debian, root), or say what is missing
	@test/deps.sh

clean: ## remove what was built here
	rm -rf bin out dist
