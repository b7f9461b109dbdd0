#!/usr/bin/env bash
# Measures training and scoring on a GPU: experiments/gpu/measure.sh [--dry] [--full] [RESULTS]
#
# From a bare checkout on Linux with one NVIDIA GPU and Python 3.10 to 3.13. Needs what hsi_al needs: torch (a CUDA
# build, which brings triton), lightning, torchmetrics, hydra-core, omegaconf, h5py, numpy, scipy, scikit-learn, matplotlib,
# rich, filelock, pooch, requests, tqdm, PyYAML, wandb; and gcc for triton. PYTHON=... names the interpreter (python3).
#
# Takes about 20 minutes on a current data-centre GPU; a second call continues, since every step that is done has its file
# in RESULTS (default: experiments/gpu/results/<name of the GPU>). --full also runs the whole paper protocol.
# --dry shows on any machine, in a minute or two and in a temporary folder, that every step works; its numbers mean nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
export PYTHONPATH=$PWD
dry="" full="" results=""
for argument in "$@"; do
  case $argument in
    --dry) dry=--dry ;;
    --full) full=yes ;;
    -*) echo "There is no option $argument; there are --dry and --full." >&2; exit 2 ;;
    *) results=$argument ;;
  esac
done

if [ -n "$dry" ]; then
  results=${results:-$(mktemp -d)}
elif ! name=$("$PYTHON" -c 'import torch; print(torch.cuda.get_device_name(0).replace(" ", "-").replace("/", "-"))' 2>/dev/null); then
  echo "torch finds no GPU here; --dry shows that the steps work." >&2
  exit 2
else
  results=${results:-experiments/gpu/results/$name}
fi
mkdir -p "$results"

failed=""
step() { "$PYTHON" -m experiments.gpu "$1" "$results" $dry || failed="$failed $1"; }

step steps
step scoring
for precision in 32-true tf32 bf16-mixed; do step "accuracy-$precision"; done
NVIDIA_TF32_OVERRIDE=0 step accuracy-ieee
if [ ! -e "$results/overlap.json" ]; then
  if [ -n "$dry" ]; then
    "$PYTHON" -m experiments.precision "$results/overlap.json" --backbone resnet18 --epochs 1 --labels 20 --pool 60 --accelerator cpu \
      || failed="$failed overlap"
  else
    "$PYTHON" -m experiments.precision "$results/overlap.json" --stem s1 --epochs 60 --precisions tf32,bf16-mixed --accelerator gpu \
      || failed="$failed overlap"
  fi
fi
step protocol
step concurrent
if [ -n "$full" ] && [ -z "$dry" ]; then
  "$PYTHON" -m hsi_al.run hydra.run.dir="$results/runs/paper" || failed="$failed full"
fi
"$PYTHON" -m experiments.gpu report "$results" $dry
if [ -n "$failed" ]; then
  echo "These steps failed:$failed; the same command tries them again." >&2
  exit 1
fi
echo "Results: $results"
