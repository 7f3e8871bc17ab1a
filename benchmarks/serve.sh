#!/bin/sh
# Measure the default model on this machine: unique prompts, then prompts after a long system prompt that all share.
# usage: benchmarks/serve.sh [FOLDER]     the reports go to FOLDER (default: benchmarks/results), one JSON file each
set -eu
cd "$(dirname "$0")/.."
folder=${1:-benchmarks/results}
port=${PORT:-8765}
export LLMOS_URL="http://127.0.0.1:$port/v1"
mkdir -p "$folder"

.venv/bin/llmos serve --port "$port" --log-level warning &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT INT TERM

tries=0
until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/ready"; do
    kill -0 "$server" 2>/dev/null || { echo "The server ended; its words are above." >&2; exit 1; }
    tries=$((tries + 1))
    [ "$tries" -le 300 ] || { echo "The model isn't ready after 5 minutes." >&2; exit 1; }
    sleep 1
done

.venv/bin/llmos version
echo "$(uname -sm), $(.venv/bin/python -c 'import os; print(os.cpu_count())') cores, $(date -u +%Y-%m-%d)"
.venv/bin/llmos bench --concurrency 1,8,32 --json "$folder/unique.json"
.venv/bin/llmos bench --concurrency 8 --system-words 180 --prompt-words 20 --json "$folder/shared.json"
