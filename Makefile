# Each target runs the script of its name in scripts/. `make help` lists the targets.
# Variables of the command line (KEEP=1, PG_CONFIG=…, DESTDIR=…) are passed in the environment.

export PG_MAJOR ?= 15

.PHONY: help demo test soak lint accuracy fuzz install package bench clean

help: ## Show this list
	@echo "Usage: make TARGET"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## Run a demonstration in a private PostgreSQL (KEEP=1 leaves the server running)
	@scripts/demo

test: ## Run every test
	@scripts/test

soak: ## Run processes with caches at random, and check their history (SOAK_SECONDS=…, SEED=…)
	@scripts/soak

lint: ## Run every check of the source
	@scripts/lint

accuracy: ## Show how many User-Agents are parsed right, and each miss
	@scripts/accuracy

fuzz: ## Parse 200,000 generated User-Agents of each kind (CASES=1000000 for more)
	@scripts/fuzz

install: ## Install the extension for PG_CONFIG (default: pg_config), under DESTDIR if set
	@scripts/install

package: ## Make target/qsessions-VERSION-pgMAJOR-OS-ARCH.tar.gz
	@scripts/package

bench: ## Measure functions, notifications and the client
	@scripts/bench

clean: ## Remove everything that was built
	@scripts/clean
