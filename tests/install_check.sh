#!/usr/bin/env bash
# `make install-check`: `pip install .` into an empty environment, then what the README shows, outside of the checkout.
# It downloads TensorFlow; everything that it writes is in one temporary folder.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
export TF_CPP_MIN_LOG_LEVEL=3

step() { # NAME COMMAND...: run a command, and say how long it took
    local name=$1 started=$SECONDS
    shift
    "$@" >"$work/output" 2>&1 || { cat "$work/output"; echo "install-check failed: $name"; exit 1; }
    printf '%4d s  %s\n' $((SECONDS - started)) "$name"
}

# What git knows, not what lies about: a former build folder would be installed as well.
mkdir "$work/source" "$work/elsewhere"
(cd "$checkout" && git ls-files -z | xargs -0 tar -c) | tar -x -C "$work/source"
cd "$work/elsewhere"
bin=$work/venv/bin

step "an empty environment" "${PYTHON:-python3}" -m venv "$work/venv"
step "pip install ." "$bin/pip" install --quiet "$work/source"

cat >tiny.py <<'PYTHON'
import importlib.util

import tfmodels

assert "elsewhere" not in tfmodels.__file__ and "venv" in tfmodels.__file__, tfmodels.__file__
assert importlib.util.find_spec("benchmarks") is None and importlib.util.find_spec("tests") is None
texts = ["long documents in Keras", "a sliding window and global tokens"] * 5
tokenizer = tfmodels.LEDTokenizer.train_from_iterator(texts, 300)
config = tfmodels.LEDConfig(
    vocab_size=tokenizer.vocab_size, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, attention_window=8,
    max_encoder_position_embeddings=64, max_decoder_position_embeddings=32,
)
model = tfmodels.LEDForConditionalGeneration(config)
print(tokenizer.batch_decode(model.generate(**tokenizer(texts[:1], max_length=32), max_new_tokens=4)))
model.save_pretrained("tiny")
tokenizer.save_pretrained("tiny")
PYTHON
step "build, generate, save" "$bin/python" tiny.py
step "export" "$bin/tfmodels-export" --model tiny --output served --lengths 32 --max-new-tokens 4 --no-warm-up
step "check" "$bin/tfmodels-export" check served
step "ask" "$bin/tfmodels-export" ask served "a sliding window"

step "pip install '.[train]'" "$bin/pip" install --quiet "$work/source[train]"
for number in $(seq 90); do
    echo "{\"document\": \"document number $number, a sliding window and global tokens\", \"summary\": \"number $number\"}"
done >data.jsonl
step "train" "$bin/tfmodels-train" --data.train data.jsonl --data.cache cache --model tiny --output trained \
    --steps.max_steps 4 --lengths.source 32 --lengths.target 16 --lengths.batch_tokens 256
step "export what was trained" "$bin/tfmodels-export" --model trained/model --output served --lengths 32 \
    --max-new-tokens 4 --no-warm-up
step "ask it" "$bin/tfmodels-export" ask served "a sliding window"
