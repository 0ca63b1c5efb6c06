#!/usr/bin/env bash
# Build this model's TensorRT engine with trtexec on the device that will run it.
#
#   bash build_engine.sh [FOLDER [TIMINGS]]      engines go to FOLDER (engines, unless told)
#
# TIMINGS is the timing-*.cache of an earlier build, to begin with.
#
# The engine's name tells the model, the settings, TensorRT's version and the GPU. An engine that is there under that name, with
# a record that fits, is not built again. build_engine.py does the same with TensorRT's Python module.
set -euo pipefail
export LC_ALL=C

tag=@tag@
model_file=@model_file@
model_sha256=@model_sha256@
settings=@settings_digest@
min_shapes=@min_shapes@
opt_shapes=@opt_shapes@
max_shapes=@max_shapes@
workspace=@workspace@    # bytes; empty: as much as the device has
tf32=@tf32@
dla_core=@dla_core@      # empty: the GPU
gpu_fallback=@gpu_fallback@
half=@half@              # whether the model computes in float16
timing_cache=@timing_cache@
settings_json=@settings_json@
options_json=@options_json@ # of ONNX Runtime's TensorRT provider

fail() {
    printf 'build_engine.sh: %s\n' "$*" >&2
    exit 1
}

sha256_of() {
    sha256sum -- "$1" | cut -d' ' -f1
}

out=${1:-engines}
case $out in
    *[\"\\]*) fail "the folder's name $out holds a quote or a backslash, which the record cannot" ;;
esac
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
model=$here/$model_file

# --- the model ---------------------------------------------------------------
[ -f "$model" ] || fail "$model_file is not there: it belongs at $model"
found=$(sha256_of "$model")
[ "$found" = "$model_sha256" ] || fail "$model_file is another model: its sha256 is $found, and the kit is for $model_sha256"

# --- TensorRT and the GPU, as trtexec tells them when it is asked for a model that is not there --------------------------
trtexec=$(command -v trtexec || true)
[ -n "$trtexec" ] || trtexec=/usr/src/tensorrt/bin/trtexec
[ -x "$trtexec" ] || fail "trtexec is not here, neither on PATH nor at $trtexec: install TensorRT (JetPack: libnvinfer-bin)"

asked=$("$trtexec" --onnx="$here/no-such-model.onnx" 2>&1 || true)
tells() {
    printf '%s\n' "$asked" | sed -n "s/^.*\[I\] $1: *//p" | head -n 1
}
version=$(tells 'TensorRT version' | cut -d. -f1-3)
gpu=$(tells 'Selected Device')
capability=$(tells 'Compute Capability')
multiprocessors=$(tells 'SMs')
for each in "$version" "$gpu" "$capability" "$multiprocessors"; do
    [ -n "$each" ] || fail "trtexec tells no TensorRT version and no GPU; it said: $(printf '%s\n' "$asked" | tail -n 5)"
done
major=${version%%.*}
case $major in
    10 | 11) ;;
    *) fail "TensorRT $version is here; this kit knows 10 and 11" ;;
esac

# --- the name ----------------------------------------------------------------
slug=$(printf '%s' "$gpu" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-' | sed 's/^-*//; s/-*$//')
device=${slug:-gpu}-sm${capability//./}-${multiprocessors}sms
stem=$tag-${model_sha256:0:12}-$settings-trt$version-$device
engine=$out/$stem.engine
record=$out/$stem.json

if [ -s "$engine" ] && [ -s "$record" ] && grep -qF "\"sha256\": \"$(sha256_of "$engine")\"" "$record" &&
    grep -qF "\"sha256\": \"$model_sha256\"" "$record"; then
    printf '%s\n' "$engine"
    exit 0
fi

# --- the command -------------------------------------------------------------
mkdir -p -- "$out"
part=$out/.$stem.part-$$
trap 'rm -f -- "$part.engine" "$part.json"' EXIT

command=("$trtexec" --onnx="$model" --saveEngine="$part.engine" --skipInference)
if [ -n "$min_shapes" ]; then
    command+=(--minShapes="$min_shapes" --optShapes="$opt_shapes" --maxShapes="$max_shapes")
fi
[ -z "$workspace" ] || command+=(--memPoolSize=workspace:"${workspace}B")
[ "$tf32" = yes ] || command+=(--noTF32)
if [ -n "$dla_core" ]; then
    command+=(--useDLACore="$dla_core")
    [ "$gpu_fallback" = no ] || command+=(--allowGPUFallback)
    if [ "$major" = 10 ]; then
        command+=(--fp16) # its DLA wants the flag, and a network whose types are not fixed
    elif [ "$half" = no ]; then
        fail "TensorRT $version takes its types from the model, which is float32, and the DLA computes in float16: nothing" \
            "would run there. Build the kit from a float16 model, or with dla_core left out"
    fi
elif [ "$major" = 10 ]; then
    command+=(--stronglyTyped) # TensorRT 11 always is
fi
if [ "$timing_cache" = yes ]; then
    timings=$out/timing-trt$version-$device.cache
    [ -z "${2:-}" ] || [ -e "$timings" ] || cp -- "$2" "$timings"
    command+=(--timingCacheFile="$timings")
fi

printf 'building %s\n' "$engine" >&2
printf ' %q' "${command[@]}" >&2
printf '\n' >&2
log=$out/$stem.log
"${command[@]}" >"$log" 2>&1 || fail "trtexec failed; the end of $log: $(tail -n 5 "$log")"
[ -s "$part.engine" ] || fail "trtexec ended well and left no engine; see $log"

# --- the record --------------------------------------------------------------
options=${options_json//'{engine}'/"$stem"}
options=${options//'{folder}'/"$out"}
cat >"$part.json" <<END
{
  "built_by": "build_engine.sh",
  "device": {"compute_capability": "$capability", "gpu": "${gpu//[\"\\]/}", "multiprocessors": $multiprocessors},
  "engine": {"file": "$stem.engine", "sha256": "$(sha256_of "$part.engine")", "size": $(stat -c %s -- "$part.engine")},
  "model": {"file": "$model_file", "sha256": "$model_sha256"},
  "onnxruntime": $options,
  "settings": $settings_json,
  "tensorrt": "$version"
}
END
mv -f -- "$part.engine" "$engine"
mv -f -- "$part.json" "$record"
printf '%s\n' "$engine"
