#!/usr/bin/env bash
# Writes the typed Python stubs from the protos. `make protos-check` fails when the committed ones differ.
set -euo pipefail
cd "$(dirname "$0")"
bin=${CIRCLES_BIN:-../.venv/bin}
rm -rf gen/circles && mkdir -p gen
protos=$(find circles -name '*.proto' | sort)
PATH="$bin:$PATH" "$bin/python" -m grpc_tools.protoc -I . \
  --python_out=gen --grpc_python_out=gen --mypy_out=quiet:gen --mypy_grpc_out=quiet:gen $protos
# A file without a service gets an empty grpc stub: noise.
find gen -name '*_pb2_grpc.py*' | while read -r f; do
  [[ $f == *_service_pb2_grpc.py* ]] || rm "$f"
done
find gen/circles -type d -exec touch {}/__init__.py \;
touch gen/circles/py.typed
