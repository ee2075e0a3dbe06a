# Needs Python 3.11 to 3.13 and git. Every target sets up what it needs; `make` alone lists them.

SHELL := bash
.DEFAULT_GOAL := help

PYTHON ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
RESOLVER := .mergeline/resolver
UV := $(RESOLVER)/bin/uv
INSTALL = UV=$(UV) .ci/install
PEERS := .mergeline/peers
CHECKOV := .mergeline/checkov
AIRFLOW := .mergeline/airflow
DOCS := .mergeline/docs

# DVC runs the stages through a shell, which has to find the tools of this environment and no others.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONNOUSERSITE := 1
# Without bytecode on the disk every command that a test starts compiles the package again.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

# ---- The work ------------------------------------------------------------------------------------------------------

.PHONY: repro
repro: setup  ## set up, put the data in place, run the pipeline
	@$(BIN)/mergeline pull
	@$(BIN)/mergeline repro

.PHONY: demo
demo: setup  ## set up, play the whole loop in a throw-away clone, print where its page is
	@$(BIN)/python -m sample.demo

.PHONY: test
test: environments  ## set up, run all tests and doctests
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: coverage
coverage: environments  ## the same with coverage of what runs in the tests' own processes; a tenth slower
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal --cov

.PHONY: lint
lint: dev  ## style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

.PHONY: types
types: dev  ## strict types
	@$(BIN)/mypy

.PHONY: cloud
cloud: setup  ## make on AWS what terraform/terraform.tfvars says: the bucket of the state first; Terraform asks twice
	@terraform -chdir=terraform/bootstrap init -input=false
	@terraform -chdir=terraform/bootstrap apply
	@terraform -chdir=terraform init -input=false \
	  -backend-config=bucket="$$(terraform -chdir=terraform/bootstrap output -raw bucket)" \
	  -backend-config=region="$$(terraform -chdir=terraform/bootstrap output -raw region)"
	@terraform -chdir=terraform apply

.PHONY: bench
bench: dev $(PEERS)/.stamp  ## measure everything beside its peers; needs wrk, kubectl and npm
	@$(INSTALL) 'the peers' --no-deps --require-hashes -r benchmarks/requirements.txt
	@$(BIN)/python -m benchmarks.pipeline
	@$(BIN)/python -m benchmarks.verdict
	@$(BIN)/python -m benchmarks.serving
	@$(BIN)/python -m benchmarks.promotion
	@$(BIN)/python -m benchmarks.rehearsal
	@$(BIN)/python -m benchmarks.cloud

.PHONY: clean
clean:  ## remove the environment and the caches; data, models and the stores stay
	@rm -rf $(VENV) $(RESOLVER) build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@rm -rf $(PEERS) $(CHECKOV) $(AIRFLOW) $(DOCS) .mergeline/book src/*.egg-info
	@find src tests benchmarks sample .ci -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null; true

# ---- Set-up: once, and again when a lock changes -------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.stamp-package  ## the environment of a run

.PHONY: dev
dev: $(VENV)/.stamp-dev  ## the same, with the tools of the tests and the torch family

.PHONY: environments
environments: dev checkov airflow $(DOCS)/.stamp  ## all that the tests use

.PHONY: torch
torch: dev  ## the torch family's CPU build (comes with dev)

# The first suitable Python, or PYTHON; to change it later: `make clean`, then again.
$(VENV)/.stamp-python:
	@.ci/make-venv $(VENV) $(PYTHON)
	@touch $@

# setuptools comes first: it builds the pins that have no wheel, at its locked version instead of the newest. uv takes
# seconds for what takes pip minutes.
$(VENV)/.stamp-runtime: $(VENV)/.stamp-python $(RESOLVER)/.stamp requirements/runtime.lock
	@sed -n '/^setuptools==/,/^    # via/p' requirements/runtime.lock > $(VENV)/build.lock
	@$(INSTALL) 'the build tool' --no-deps --require-hashes -r $(VENV)/build.lock
	@$(INSTALL) 'the runtime' --no-deps --require-hashes --no-build-isolation -r requirements/runtime.lock
	@touch $@

$(VENV)/.stamp-package: $(VENV)/.stamp-runtime pyproject.toml
	@$(INSTALL) 'this package' --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-package requirements/dev.lock requirements/torch.txt
	@$(INSTALL) 'the tools of the tests' --no-deps --require-hashes --no-build-isolation -r requirements/dev.lock
	@.ci/install 'torch, CPU build' --no-deps --retries 1 --timeout 15 -r requirements/torch.txt
	@touch $@

# A server that wants other releases of what the environment holds.
$(PEERS)/.stamp: benchmarks/serving/requirements.txt $(RESOLVER)/.stamp
	@.ci/make-venv $(PEERS) $(PYTHON)
	@VENV=$(PEERS) $(INSTALL) 'BentoML' --no-deps --require-hashes -r benchmarks/serving/requirements.txt
	@touch $@

.PHONY: checkov
checkov: $(CHECKOV)/.stamp  ## the static check of terraform/, in an environment of its own

$(CHECKOV)/.stamp: requirements/checkov.lock $(RESOLVER)/.stamp
	@.ci/make-venv $(CHECKOV) $(PYTHON)
	@VENV=$(CHECKOV) $(INSTALL) 'Checkov' --no-deps --require-hashes -r requirements/checkov.lock
	@touch $@

.PHONY: airflow
airflow: $(AIRFLOW)/.stamp  ## the Airflow that docs/airflow.md is tested with, in an environment of its own

$(AIRFLOW)/.stamp: requirements/airflow.lock $(RESOLVER)/.stamp
	@.ci/make-venv $(AIRFLOW) $(PYTHON)
	@VENV=$(AIRFLOW) $(INSTALL) 'Airflow' --no-deps --require-hashes -r requirements/airflow.lock
	@touch $@

# ---- The book ----------------------------------------------------------------------------------------------------------

.PHONY: docs
docs: $(DOCS)/.stamp  ## count the tests into the pages, build the book from docs/ into .mergeline/book
	@$(DOCS)/bin/python .ci/counted.py
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build  # with --quiet MkDocs would count no warning, and pass every link
	@echo .mergeline/book/index.html

$(DOCS)/.stamp: requirements/docs.lock $(RESOLVER)/.stamp
	@.ci/make-venv $(DOCS) $(PYTHON)
	@VENV=$(DOCS) $(INSTALL) 'MkDocs' --no-deps --require-hashes -r requirements/docs.lock
	@touch $@

# ---- The lock ------------------------------------------------------------------------------------------------------

# Pins that still fit stay; `make lock LOCK_ARGS=--upgrade` takes the newest, LOCK_ARGS='--upgrade-package dvc' one of them.
.PHONY: lock
lock: $(RESOLVER)/.stamp  ## resolve the dependencies again, into requirements/*.lock
	@.ci/lock $(CURDIR)/$(UV) $(LOCK_ARGS)

.PHONY: check-lock
check-lock: $(RESOLVER)/.stamp  ## ask for every pin on Python 3.11 to 3.13, Linux and macOS
	@$(RESOLVER)/bin/python .ci/check_lock.py $(UV)

$(RESOLVER)/.stamp: requirements/resolver.lock
	@.ci/make-venv $(RESOLVER) $(PYTHON)
	@VENV=$(RESOLVER) .ci/install 'the resolver' --no-deps --require-hashes -r requirements/resolver.lock
	@touch $@
