#!/usr/bin/env bash
# Installs the programs that arkit is compared with, pinned, each into a Python environment of its own, and prints the interpreter.
# Nothing here is needed to build or use arkit: only interop tests and side-by-side measurements call it.
#   tools/peers.sh [auto-round]      AutoRound, transformers and what they need (2 GB)
#   tools/peers.sh mlx               mlx and mlx-lm on the CPU (1 GB)
#   tools/peers.sh lm-eval           lm-eval and transformers (1 GB)
#   tools/peers.sh llama             llama.cpp through llama-cpp-python, compiled for this machine (some minutes)
#   ARKIT_PEERS_DIR                  where the environments are (default .deps/peers); an existing one is used as it is
#   ARKIT_PYTHON                     Python >= 3.10 to make them with
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
peer=${1:-auto-round}
folder=${ARKIT_PEERS_DIR:-$PWD/.deps/peers}/$peer

case $peer in
  auto-round)
    # torch first and alone: the CPU build then satisfies everybody else's wish for any torch.
    first=(torch==2.13.0)
    packages=(auto-round==0.16.1 auto-round-lib==0.16.0 transformers==5.23.0 accelerate==1.15.0 datasets==5.2.0 safetensors
      gguf==0.19.0 compressed-tensors==0.20.0)
    names='auto-round transformers gguf safetensors torch'
    ;;
  mlx)
    first=(torch==2.13.0)
    packages=('mlx[cpu]==0.32.4' mlx-lm==0.32.2)
    names='mlx mlx-lm'
    ;;
  lm-eval)
    first=(torch==2.13.0)
    packages=('lm_eval[api,hf]==0.4.13' transformers==5.23.0 accelerate==1.15.0 datasets==5.2.0)
    names='lm_eval transformers accelerate torch aiohttp'
    ;;
  llama)
    first=(numpy)
    packages=(llama-cpp-python==0.3.36 safetensors)
    names='llama-cpp-python safetensors'
    export CMAKE_ARGS="-DGGML_NATIVE=ON" CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)"
    ;;
  *)
    echo "peers: unknown program '$peer'; known: auto-round mlx lm-eval llama" >&2
    exit 2
    ;;
esac

# Installed? Asked of the packages' records, because importing them takes ten seconds.
complete() {
  "$folder/bin/python" -c 'import sys; from importlib.metadata import version; [version(n) for n in sys.argv[1:]]' $names 2>/dev/null
}

install() { # install PACKAGE...: from PyTorch's CPU wheels where they can be had, else wherever pip looks
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" >&2
}

if ! complete; then
  echo "peers: installing $peer into $folder (up to 2 GB; set ARKIT_PEERS_DIR to use an existing one)" >&2
  "${ARKIT_PYTHON:-python3}" -m venv "$folder" >&2
  install --no-index --no-deps "${first[@]}" 2>/dev/null ||
    install --no-deps --index-url "${ARKIT_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" --retries 1 --timeout 20 "${first[@]}" ||
    install "${first[@]}"
  install "${first[@]}" "${packages[@]}"
  complete
fi
echo "$folder/bin/python"
