# BuildIt. `make demo` shows it, `make test` proves it; the other targets are for working on it.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
export CGO_ENABLED ?= 0
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/buildit

.PHONY: build up demo test bench fuzz race lint torture tools clean help

build: ## bin/buildit (the command line), bin/buildit-server (everything on one machine), bin/buildit-runner (first process of a task)
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/buildit ./cmd/buildit
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/buildit-server ./cmd/buildit-server
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/buildit-runner ./runner-image

up: build ## the platform on 127.0.0.1:8080, data in .buildit/data
	bin/buildit up

demo: build ## connect examples/shop, push a commit, follow its run; the platform stays up
	$(GO) build -o .buildit/demo/demo ./examples/demo
	@.buildit/demo/demo

test: tools lint ## every test, with what they need
	$(GO) test -timeout 15m ./...

race: tools ## every test under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout 40m ./...

ACT := $(CACHE)/act-0.2.89/act
bench: build ## the figures of ARCHITECTURE.md, as a table; installs act, a peer, once
	@if [ ! -x $(ACT) ]; then echo "building act 0.2.89 into $(CACHE)" && \
	  GOBIN=$(dir $(ACT)) $(GO) install github.com/nektos/act@v0.2.89 || echo "act is not here"; fi
	$(GO) run ./internal/bench

FUZZTIME ?= 30s
fuzz: ## every fuzz target, FUZZTIME each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

TORTURE ?= 2m
torture: ## kill -9 of server and supervisors at random moments, for TORTURE, and the simulation with 5,000 seeds
	BUILDIT_TORTURE=$(TORTURE) BUILDIT_SEEDS=5000 $(GO) test -count=1 -v -timeout 60m -run 'KillAfterEveryWrite|Simulation' ./cmd/buildit-server ./internal/pipeline

lint: ## go vet, staticcheck, gofumpt
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@unformatted=$$($(GO) tool gofumpt -l $$(git ls-files '*.go')); \
	  test -z "$$unformatted" || { echo "not formatted (go tool gofumpt -w FILE):"; echo "$$unformatted"; exit 1; }

ASL_VALIDATOR := $(CACHE)/asl-validator-4.0.0/node_modules/.bin/asl-validator
export BUILDIT_ASL_VALIDATOR ?= $(ASL_VALIDATOR)
tools: ## what the tests need besides Go and git, cached by version in the user's cache folder
	@test -x $(ASL_VALIDATOR) || ! command -v npm >/dev/null || { \
	  echo "installing asl-validator 4.0.0 into $(CACHE)"; \
	  mkdir -p $(CACHE)/asl-validator-4.0.0 && cd $(CACHE)/asl-validator-4.0.0 && \
	  npm install --silent --no-audit --no-fund --prefix . asl-validator@4.0.0 || \
	  echo "asl-validator could not be installed: the test that needs it says so and is skipped"; }

clean: ## remove bin
	rm -rf bin

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10
