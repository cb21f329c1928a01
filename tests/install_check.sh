#!/usr/bin/env bash
# `make install-check`: a wheel, what is in it, and it in an empty environment: what the README shows, outside of the
# checkout.
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
step "a wheel" "$bin/pip" wheel --quiet --no-deps --wheel-dir "$work/wheels" "$work/source"
wheel=$(echo "$work"/wheels/*.whl)
cat >contents.py <<'PYTHON'
import sys
import zipfile

names = set(zipfile.ZipFile(sys.argv[1]).namelist())
top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
assert top == {"tfmodels", "training", "export"}, top
wanted = {f"{package}/py.typed" for package in top}
wanted |= {"export/serving/kubernetes.yaml", "export/serving/verify.Dockerfile", "export/client/allowed_ops.py"}
assert wanted <= names, wanted - names
assert any(name.endswith("LICENSE") for name in names), names
PYTHON
step "what is in it" "$bin/python" contents.py "$wheel"
step "pip install the wheel" "$bin/pip" install --quiet "$wheel"

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

step "pip install with 'sign'" "$bin/pip" install --quiet "$wheel[sign]"
cat >keys.sh <<'SHELL'
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl ec -in key.pem -pubout -out key.pub
SHELL
step "a pair of keys" sh -e keys.sh
step "sign" "$bin/tfmodels-export" sign served --private-key key.pem
step "verify" "$bin/tfmodels-export" verify served --public-key key.pub
step "ask what is signed" "$bin/tfmodels-export" ask served --public-key key.pub "a sliding window"

step "pip install with 'train'" "$bin/pip" install --quiet "$wheel[train]"
for number in $(seq 90); do
    echo "{\"document\": \"document number $number, a sliding window and global tokens\", \"summary\": \"number $number\"}"
done >data.jsonl
step "train" "$bin/tfmodels-train" --data.train data.jsonl --data.cache cache --model tiny --output trained \
    --steps.max_steps 4 --lengths.source 32 --lengths.target 16 --lengths.batch_tokens 256
step "export what was trained" "$bin/tfmodels-export" --model trained/model --output served --lengths 32 \
    --max-new-tokens 4 --no-warm-up
step "ask it" "$bin/tfmodels-export" ask served "a sliding window"
