#!/usr/bin/env bash
# Build ridge.tar.gz: an environment for the executors, with parallel_ridge and what it needs there. Run it on a machine
# like the nodes (the same system and processor family).
#
# usage: build_archive.sh PACKAGE [PYTHON]
#   PACKAGE  what pip installs: "parallel-ridge", a wheel, or a checkout
#   PYTHON   as on the nodes; python3.11 if it is not given
set -euo pipefail

package=${1:?"usage: build_archive.sh PACKAGE [PYTHON]"}
python=${2:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/ridge"
# Executors have Spark's own PySpark.
"$folder/ridge/bin/pip" install --quiet --disable-pip-version-check "$package" "pandas>=2.2,<3" "pyarrow>=15" venv-pack
"$folder/ridge/bin/venv-pack" --quiet --prefix "$folder/ridge" --output ridge.tar.gz --force --compress-level 1
echo "wrote ridge.tar.gz, $(du -h ridge.tar.gz | cut -f1)"
