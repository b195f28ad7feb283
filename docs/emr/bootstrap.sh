#!/usr/bin/env bash
# Bootstrap action of EMR: installs parallel_ridge on every node as it starts.
#
# usage: bootstrap.sh [PACKAGE [PYTHON]]
#   PACKAGE  what pip installs; parallel-ridge if it is not given, or a wheel on S3 (s3://BUCKET/ridge/NAME.whl)
#   PYTHON   python3.11 if it is not given
set -euo pipefail

package=${1:-parallel-ridge}
python=${2:-python3.11}

# Amazon Linux 2023 has Python 3.9 as python3.
command -v "$python" > /dev/null || sudo dnf install --assumeyes --quiet "$python"
"$python" -m pip --version > /dev/null 2>&1 || sudo "$python" -m ensurepip
if [[ $package == s3://* ]]; then
    aws s3 cp --quiet "$package" /tmp/
    package=/tmp/$(basename "$package")
fi
sudo "$python" -m pip install --quiet "$package" "pandas>=2.2,<3" "pyarrow>=15"
