.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
ENGINES := .engines
# Three at a time, a file at a time and in order: tests/conftest.py says who runs alone.
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
# Once more where an engine failed us, or what is allowed did not run; pyproject.toml has
# how that looks. What ran and should not have is never tried again.
AGAIN := --reruns 1 --max-suite-reruns 5 --rerun-show-tracebacks \
    --rerun-exclude-path tests/unit --rerun-exclude-path tests/crash
# What a fresh Debian 12 lacks; installed only as root on Debian, and said so.
DEBS := python3-venv systemd runc skopeo umoci busybox-static libdevmapper1.02.1 kmod procps openssl strace iproute2 wget faketime e2fsprogs
DEBIAN_ROOT := $(shell [ "$$(id -u)" = 0 ] && [ -f /etc/debian_version ] && echo yes)

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

demo: venv engines ## See it work: unsigned refused, signed runs, on private engines
	@$(BIN)/python -m tests.demo

test: check engines machine ## Every test, those on real engines included
	$(PYTEST) $(AGAIN)

soak: check engines machine ## The same tests with full counts, none a second time
	ENFORCER_SOAK=1 $(PYTEST)

bench: venv engines ## Medians and ratios, interleaved within one run
	$(BIN)/python -m tests.bench

check: venv ## Format, lint, types, rooms, generated code: all that needs no test run
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports
	@$(MAKE) --no-print-directory protos OUT=$(VENV)/protos
	@for f in $$(cd $(VENV)/protos && find . -type f); do cmp $(VENV)/protos/$$f $$f || exit 1; done

fmt: venv ## Format and mend what can be
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

protos: OUT = .
protos: venv ## Generate the protobuf code anew
	@rm -rf $(VENV)/protos && mkdir -p $(OUT)
	@$(BIN)/python -m grpc_tools.protoc -I protos --python_out=$(OUT) --pyi_out=$(OUT) \
	    --grpc_python_out=$(OUT) $$(find protos -name '*.proto')

venv: $(VENV)/ready ## The virtual environment

$(VENV)/ready: pyproject.toml constraints.txt | debs
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

engines: venv ## Docker, containerd, notation into .engines/ (root on Debian)
ifeq ($(DEBIAN_ROOT),yes)
	@tests/engines/fetch
endif

machine: venv ## A Debian 12 with Docker for tests to boot, into .engines/ (root on Debian)
ifeq ($(DEBIAN_ROOT),yes)
	@tests/machine/fetch
endif

debs: # Debian's packages, once
ifeq ($(DEBIAN_ROOT),yes)
	@missing=; for p in $(DEBS); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q ' installed' || missing="$$missing $$p"; \
	done; if [ -n "$$missing" ]; then \
	    echo "installing Debian packages (they stay):$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endif

map: ## One line a module
	@for f in $$(git ls-files 'enforcer/*.py' | grep -v -e /pb/ -e /v1/); do \
	    printf '%-44s %s\n' "$$f" "$$(head -1 $$f | tr -d '"')"; done

clean: ## Remove what was made here: environment, engines, caches
	rm -rf $(VENV) $(ENGINES) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help demo test soak bench check fmt protos venv engines machine debs map clean
