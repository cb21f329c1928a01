#!/bin/sh
# Serve a SavedModel by the stock image, ask it over gRPC and REST, and stop it:
#   export/serving/smoke_test.sh served/summaries "text"
# Needs Docker with compose. The answers must equal those of the SavedModel alone.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 FOLDER_OF_VERSIONS TEXT" >&2
    exit 2
fi
python=${PYTHON:-python}
SAVED_MODEL=$(cd "$1" && pwd)
GRPC_PORT=${GRPC_PORT:-8500}
REST_PORT=${REST_PORT:-8501}
export SAVED_MODEL GRPC_PORT REST_PORT

compose() {
    # A project of its own: a server that runs from the same file is another.
    docker compose --project-name "smoke-test-$$" --file "$(dirname "$0")/compose.yaml" "$@"
}

trap 'compose down' EXIT
compose up --detach --wait

over_grpc=$("$python" -m export ask --server "localhost:$GRPC_PORT" --timeout 300 "$2")
over_rest=$("$python" -m export ask --server "localhost:$REST_PORT" --rest --timeout 300 "$2")
alone=$("$python" -m export ask "$1" "$2")
if [ "$over_grpc" != "$alone" ] || [ "$over_rest" != "$alone" ]; then
    printf '%s\n' "over gRPC: $over_grpc" "over REST: $over_rest" "the SavedModel alone: $alone" >&2
    exit 1
fi
echo "equal over gRPC, over REST and alone: $alone"
