#!/usr/bin/env bash
# The light tests (those that need neither torch nor a framework) on every other Python that this
# library supports and that is found here; one that is not found is named and left out.
#   make test-pythons                            python3.12 and python3.13 of this machine
#   make test-pythons PYTHONS="/opt/py/bin/python3.13"
set -euo pipefail
cd "$(dirname "$0")/.."
LIGHT="tests/core tests/inspection tests/ledger tests/pruning tests/report tests/runner
       tests/scoring tests/student tests/teacher"

find_python() {  # VERSION: the path of an interpreter that really runs
    "python$1" -c 'import sys; print(sys.executable)' 2>/dev/null ||
        PYENV_VERSION=$(pyenv latest "$1" 2>/dev/null) \
            "python$1" -c 'import sys; print(sys.executable)' 2>/dev/null ||
        .venv/bin/uv python find --no-python-downloads "$1" 2>/dev/null
}

if [ -z "${PYTHONS:-}" ]; then
    for version in 3.12 3.13; do
        found=$(find_python "$version") && PYTHONS="${PYTHONS:-} $found" ||
            echo "test-pythons: no Python $version here, its light tests are left out" >&2
    done
fi
for python in ${PYTHONS:-}; do
    name=.venv-py$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
    echo "test-pythons: $("$python" --version) in $name" >&2
    [ -x "$name/bin/python" ] || .venv/bin/uv venv --quiet --python "$python" "$name"
    .venv/bin/uv pip install --quiet --python "$name/bin/python" -e ".[test,serve]"
    # shellcheck disable=SC2086
    DRP_TEST_DATA=none "$name/bin/python" -m pytest -q -m "not framework and not vllm" $LIGHT
done
