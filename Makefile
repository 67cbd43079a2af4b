# Each target is a script in scripts/; this file only names them. `make help` lists them.
# Variables of the command line (KEEP=1, PG_CONFIG=…, DESTDIR=…) reach the scripts by the environment.

export PG_MAJOR ?= 15

.PHONY: help demo test soak lint accuracy fuzz install package bench clean

help: ## Show this list
	@echo "Usage: make TARGET"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## See it work in a private PostgreSQL (KEEP=1 leaves the server running)
	@scripts/demo

test: ## Run every test
	@scripts/test

soak: ## Two minutes of processes with caches at random, checked (SOAK_SECONDS=…, SEED=…)
	@scripts/soak

lint: ## Run every check of the source
	@scripts/lint

accuracy: ## Show how many User-Agents are parsed right, beside woothee, and each miss
	@scripts/accuracy

fuzz: ## Parse hundreds of thousands of hostile User-Agents (CASES=1000000 for more)
	@scripts/fuzz

install: ## Install the extension for PG_CONFIG (default: pg_config), under DESTDIR if set
	@scripts/install

package: ## Make target/qsessions-VERSION-pgMAJOR-OS-ARCH.tar.gz
	@scripts/package

bench: ## Measure functions, announcements and the client against bare ones
	@scripts/bench

clean: ## Remove everything that was built
	@scripts/clean
