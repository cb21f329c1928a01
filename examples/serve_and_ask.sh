#!/usr/bin/env bash
# Export a model, serve it by TensorFlow Serving, and ask it over REST and gRPC.
#
#   examples/serve_and_ask.sh MODEL_FOLDER OUTPUT_FOLDER "text"
#
# Needs Docker and `pip install '.[serve]'`. A server that already runs over OUTPUT_FOLDER is asked instead when
# GRPC and REST hold its two addresses, as HOST:PORT. LENGTHS are the source lengths of the export, with commas.
set -euo pipefail

if [ $# -ne 3 ]; then
    sed -n '2,/^set/{/^set/!p;}' "$0" >&2
    exit 2
fi
model=$1 output=$2 text=$3
python=${PYTHON:-python}
serving=$(cd "$(dirname "$0")/../export/serving" && pwd)

if [ ! -d "$output" ]; then
    "$python" -m export --model "$model" --output "$output" --lengths "${LENGTHS:-1024,4096}"
fi
"$python" -m export check "$output"

if [ -z "${GRPC:-}" ]; then
    SAVED_MODEL=$(cd "$output" && pwd) GRPC=localhost:8500 REST=localhost:8501
    export SAVED_MODEL
    trap 'docker compose --file "$serving/compose.yaml" down' EXIT
    docker compose --file "$serving/compose.yaml" up --detach --wait
fi

echo "over gRPC:"
"$python" -m export ask --server "$GRPC" "$text"
echo "over REST:"
"$python" -m export ask --server "$REST" --rest "$text"
echo "with curl:"
quoted=$("$python" -c 'import json, sys; print(json.dumps(sys.argv[1]))' "$text")
curl --silent --show-error "$REST/v1/models/model:predict" --data "{\"inputs\": {\"text\": [$quoted]}}"
echo
