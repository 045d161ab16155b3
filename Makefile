# Everything is installed in .venv, and everything that runs keeps its state in .run; both can be deleted.

PYTHON ?= python3
PIPENV_VERSION := 2026.10.3

BIN := .venv/bin
PIPENV_INSTALLED := .venv/.pipenv-$(PIPENV_VERSION)

# Whatever environment is active outside, packages go to .venv.
PIPENV := PIPENV_VENV_IN_PROJECT=1 PIPENV_IGNORE_VIRTUALENVS=1 PIPENV_PIPFILE='$(CURDIR)/Pipfile' PIPENV_PYTHON= \
	PIPENV_NOSPIN=1 PIPENV_VERBOSITY=-1 $(BIN)/python -m pipenv

CSS := static/status/status.css
CSS_SOURCES := tailwind.config.js $(shell find static/src templates status demo -type f \
	\( -name '*.css' -o -name '*.html' -o -name '*.py' \) 2>/dev/null)
CATALOGS := $(patsubst %.po,%.mo,$(wildcard status/locale/*/LC_MESSAGES/*.po demo/locale/*/LC_MESSAGES/*.po))
TEMPLATES := $(shell find templates status demo -name '*.html' 2>/dev/null)

.PHONY: help run test check bench format messages lock clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo 'make run      run everything on http://127.0.0.1:8000/ until Ctrl-C (PORT=8001 for another port,'
	@echo '              SERVER=uvicorn for the faster server, after make test)'
	@echo 'make test     run all tests, with a browser'
	@echo 'make check    lint, formats, types, templates, migrations'
	@echo 'make bench    measure the speed'
	@echo 'make format   bring code and templates into the format that make check wants'
	@echo 'make messages  bring the translations up to date with what the code says; then translate what is new'
	@echo 'make lock     bring Pipfile.lock up to date with Pipfile'
	@echo 'make clean    delete what was installed and built; the data in .run stays'

run: .venv/.synced $(CSS) $(CATALOGS)
	@exec $(BIN)/python -m config.run

test: .venv/.synced-dev $(CSS) $(CATALOGS)
	@STATUS_BROWSER="$$($(BIN)/python -m tests.chromium)" && export STATUS_BROWSER && exec $(BIN)/python -m pytest -n auto --dist worksteal

check: .venv/.synced-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/djade --check --target-version 5.2 $(TEMPLATES)
	$(BIN)/python manage.py check --fail-level WARNING
	$(BIN)/python manage.py makemigrations --check --dry-run

bench: .venv/.synced-dev $(CATALOGS)
	@exec $(BIN)/python -m benchmarks

format: .venv/.synced-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/djade --target-version 5.2 $(TEMPLATES)

messages: .venv/.synced-dev
	$(BIN)/python -m config.catalogs update

lock: $(PIPENV_INSTALLED)
	$(PIPENV) lock
	$(BIN)/python .ci/neutral_lock.py

clean:
	rm -rf $(CATALOGS) .venv static/status .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(CSS): $(CSS_SOURCES) .venv/.synced
	@echo '==> CSS'
	@$(BIN)/tailwindcss -i static/src/app.css -o $@ --minify && touch $@

%.mo: %.po .venv/.synced
	@$(BIN)/python -m config.catalogs compile $< $@

.venv/.synced: Pipfile.lock $(PIPENV_INSTALLED)
	@echo '==> Packages of Pipfile.lock (80 MB to fetch once; half a minute on a fast network)'
	@$(PIPENV) sync
	@touch $@

.venv/.synced-dev: Pipfile.lock $(PIPENV_INSTALLED)
	@echo '==> Packages of Pipfile.lock, those for development too (150 MB to fetch once)'
	@$(PIPENV) sync --dev
	@touch .venv/.synced $@

$(PIPENV_INSTALLED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo '$(PYTHON) is not Python 3.11 or newer; name one that is: make run PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '$(PYTHON) lacks its venv module; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@echo '==> Environment in .venv'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check pipenv==$(PIPENV_VERSION)
	@touch $@
