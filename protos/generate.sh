#!/usr/bin/env bash
# Writes the typed Python stubs from the protos. `make protos-check` fails when the committed ones differ.
set -euo pipefail
cd "$(dirname "$0")"
bin=${CIRCLES_BIN:-../.venv/bin}
rm -rf gen/circles gen/buf && mkdir -p gen
protos=$(find circles -name '*.proto' | sort)
PATH="$bin:$PATH" "$bin/python" -m grpc_tools.protoc -I . \
  --python_out=gen --grpc_python_out=gen --mypy_out=quiet:gen --mypy_grpc_out=quiet:gen $protos
# The rules' options. Nobody here names their types, so they come without type stubs.
"$bin/python" -m grpc_tools.protoc -I . --python_out=gen buf/validate/validate.proto
# A file without a service gets an empty grpc stub: noise.
find gen -name '*_pb2_grpc.py*' | while read -r f; do
  [[ $f == *_service_pb2_grpc.py* ]] || rm "$f"
done
find gen/circles gen/buf -type d -exec touch {}/__init__.py \;
touch gen/circles/py.typed
# The partner's SDK under the name that partners know. Its code stays among the services; a package cannot
# be in two folders, and this one is deleted and written anew.
cat > gen/circles/client.py <<'PYTHON'
"""The partner's SDK. Written by protos/generate.sh; the code is `services.client`."""

from services.client import *
from services.client import __all__ as __all__
PYTHON
