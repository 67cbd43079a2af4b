# Each target runs the script of its name in scripts/. `make help` lists the targets.
# Variables of the command line (KEEP=1, PG_CONFIG=…, DESTDIR=…) are passed in the environment.

.PHONY: all install uninstall package test-package help demo demo-web pictures test soak lint accuracy fuzz bench bench-scale clean

all: ## Build the extension for PG_CONFIG (default: pg_config)
	@scripts/build

install: ## Build and install the extension for PG_CONFIG, under DESTDIR if set
	@scripts/install

uninstall: ## Remove the files that `make install` has installed
	@scripts/install --remove

package: ## Make a .deb, an archive, a zip for PGXN, a wheel and an archive for npm in target/ (PG_CONFIG=… or PG_MAJOR=…)
	@scripts/package $(PG_MAJOR)

test-package: ## Install, upgrade and remove the .deb in a clean system
	@scripts/test-package

help: ## Show this list
	@echo "Usage: make TARGET"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## Run a demonstration in a private PostgreSQL (KEEP=1 leaves the server running)
	@scripts/demo

demo-web: ## Run a small shop with sign-in, page of devices and console, until Ctrl-C (PORT=…)
	@scripts/demo-web

test: ## Run every test (PG_MAJOR=18 for another PostgreSQL than 15)
	@scripts/test

pictures: ## Take the pictures in docs/pictures with a browser
	@scripts/pictures

soak: ## Run processes with caches at random, and check their history (SOAK_SECONDS=…, SEED=…)
	@scripts/soak

lint: ## Run every check of the source
	@scripts/lint

accuracy: ## Show how many User-Agents are parsed right, and each miss
	@scripts/accuracy

fuzz: ## Parse 200,000 generated User-Agents of each kind (CASES=1000000 for more)
	@scripts/fuzz

bench: ## Measure functions, notifications and the client
	@scripts/bench

bench-scale: ## Measure ten million sessions, in half an hour (BENCH_SESSIONS=…, KEEP=folder keeps the loaded data)
	@scripts/bench-scale

clean: ## Remove everything that was built
	@scripts/clean
