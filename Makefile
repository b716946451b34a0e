# Everything a newcomer types. PYTHON chooses the interpreter that .venv is made with (3.11 or newer).
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
REVIEWS ?=
KAFKA_HOME ?=
FUZZ_SECONDS ?= 300

.PHONY: help setup demo test check gpu chaos soak fuzz format lock readme clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: $(VENV)/.installed  ## make .venv with the locked dependencies; quick when nothing changed

$(VENV)/.installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old: reviewpulse needs Python 3.11 or newer; run: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing the locked dependencies into $(VENV) (some minutes the first time) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[all,dev]'
	@touch $@

demo: setup  ## broker, worker, dashboard and a replay on this machine; REVIEWS=path replays your file
	@exec $(RUN)/reviewpulse demo $(if $(REVIEWS),"$(REVIEWS)")

test: setup  ## the whole suite; KAFKA_HOME=folder of an Apache Kafka distribution runs it on that broker as well
	@command -v chromium >/dev/null || scripts/debian-packages.sh || echo 'no chromium: the browser tests will be skipped'
	@KAFKA_HOME="$(KAFKA_HOME)" $(RUN)/pytest --numprocesses=2 --dist=worksteal

check: setup  ## format, lint, types, floors
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports

gpu: setup  ## what only a GPU can show: same predictions, resuming, memory that runs out, a worker on it
	@$(RUN)/pytest tests/gpu/on_a_gpu.py

chaos: setup  ## half an hour of kills, outages and jumps; needs KAFKA_HOME; writes docs/results/chaos.json
	@KAFKA_HOME="$(KAFKA_HOME)" PYTHONPATH=. $(RUN)/python -m scripts.chaos

soak: setup  ## a million messages through one worker; needs KAFKA_HOME; writes docs/results/soak.json
	@KAFKA_HOME="$(KAFKA_HOME)" PYTHONPATH=. $(RUN)/python -m scripts.soak

fuzz: setup  ## FUZZ_SECONDS=300 of coverage-guided fuzzing of the decoder
	@$(RUN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[fuzz]'
	@mkdir -p .fuzz && PYTHONPATH=. $(RUN)/python -m tests.fuzz.decoder -max_total_time=$(FUZZ_SECONDS) .fuzz tests/fuzz/seeds

format: setup  ## format and mend what the linter can mend
	@$(RUN)/ruff format .
	@$(RUN)/ruff check --fix .

readme: setup  ## write the README's generated tables anew
	@$(RUN)/python scripts/readme_tables.py

lock: setup  ## resolve the dependencies anew into requirements.lock
	@$(RUN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--no-emit-index-url --custom-compile-command 'make lock' --quiet --output-file requirements.lock

clean:  ## remove .venv, caches and demo-logs; stores and rejects files stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz demo-logs
