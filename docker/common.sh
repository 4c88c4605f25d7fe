# shellcheck shell=bash
# What the scripts of docker/ and tests/ share: a voice, Debian packages, and a compiler. Sourced, never run.

me=${0#"$PWD"/}

say() { printf '%s: %s\n' "$me" "$*" >&2; }

# die STATUS WORDS...: one line that says what, why and what to do, then the end
die() {
  local status=$1
  shift
  say "$*"
  exit "$status"
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# engine_answers: does a Docker engine answer? `docker info` exits 0 in some versions although nobody did; the server's
# version is either there or not.
engine_answers() { has docker && [ -n "$(timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null)" ]; }

has() { command -v "$1" >/dev/null 2>&1; }

# wait_for SECONDS WHAT CONDITION...: polls until the command CONDITION succeeds; shows that it is alive; fails at the deadline
wait_for() {
  local deadline=$((SECONDS + $1)) began=$SECONDS what=$2 told=$SECONDS
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    if [ $((SECONDS - told)) -ge 5 ]; then
      told=$SECONDS
      say "still waiting for $what ($((SECONDS - began)) s)"
    fi
    sleep 0.1
  done
}

# with_progress WHAT COMMAND...: runs a long command quietly, says every ten seconds that it is still at it,
# and shows the end of its output when it fails
with_progress() {
  local what=$1 log began=$SECONDS status=0 watcher
  shift
  log=$(mktemp)
  say "$what ..."
  # read, not sleep, from a pipe that says nothing: no child that outlives us and keeps our locks and pipes open
  (while ! read -r -t 10; do say "$what: $((SECONDS - began)) s so far"; done <> <(:)) &
  watcher=$!
  "$@" >"$log" 2>&1 || status=$?
  kill "$watcher" 2>/dev/null || true
  wait "$watcher" 2>/dev/null || true
  if [ "$status" -ne 0 ]; then
    tail -n 25 "$log" | sed 's/^/    /' >&2
    say "$what: failed with status $status; the end of its output is above"
  fi
  rm -f "$log"
  return "$status"
}

# is_installed PACKAGE: dpkg's own word for it
is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# has_candidate PACKAGE: can apt install it? (needs fresh lists: apt_refresh)
has_candidate() { [[ $(apt-cache policy "$1" 2>/dev/null) =~ Candidate:\ [^\(] ]]; }

# apt_refresh: package lists, once for each process; a registry that does not answer is not yet a failure
apt_refresh() {
  [ -z "${apt_is_fresh:-}" ] || return 0
  apt-get -qq update >/dev/null 2>&1 || say "apt-get update failed: going on with the lists that are here"
  apt_is_fresh=1
}

# apt_install PACKAGE...: installs what is missing, starts no service (this project starts what it needs, and stops it)
apt_install() {
  local missing=() name
  for name in "$@"; do is_installed "$name" || missing+=("$name"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  has apt-get || die 3 "needs ${missing[*]}, and there is no apt-get to install them: install them by hand"
  is_root || die 3 "needs ${missing[*]}, and only root may install them: run 'apt-get install ${missing[*]}' as root"
  with_progress "installing ${missing[*]}" apt_install_locked "${missing[@]}"
}

apt_install_locked() (
  exec 8>/run/pyinit-apt.lock
  flock 8
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  apt_refresh
  # 8>&-: whatever a package starts must not keep our lock
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -y -qq \
    install --no-install-recommends "$@" </dev/null 8>&-
)

# choose_compiler VENV CACHE: what to compile the native engine with, in PYINIT_COMPILER. It is zig, from PyPI, installed in
# VENV, which keeps the libraries that it compiles in CACHE; where that is not to be had, Debian's musl-gcc, said aloud.
choose_compiler() {
  local zig
  export ZIG_GLOBAL_CACHE_DIR=${ZIG_GLOBAL_CACHE_DIR:-$2}
  if [ -n "${PYINIT_COMPILER:-}" ]; then
    [ "$PYINIT_COMPILER" = zig ] || say "compiling the native engine with $PYINIT_COMPILER: not the executable of a release"
    return 0
  fi
  export PYINIT_COMPILER=zig
  if "$1/bin/python" -c 'import ziglang' 2>/dev/null; then return 0; fi
  zig=$("$1/bin/python" -c 'from pyinit.native.build import ZIG; print(ZIG)')
  if [ -z "$(find "$1/no-zig" -mmin -60 2>/dev/null)" ]; then # what did not answer is not asked again for an hour
    if with_progress "installing $zig, the compiler" "$1/bin/pip" install --quiet --disable-pip-version-check "$zig"; then
      return 0
    fi
    touch "$1/no-zig"
  fi
  say "$zig is not to be had: compiling the native engine with Debian's musl-gcc, so it is not the executable of a release"
  has musl-gcc || apt_install musl-tools gcc
  export PYINIT_COMPILER=musl-gcc
}
