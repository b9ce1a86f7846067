# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What the scripts share.  Messages go to stderr, results to stdout.

set -euo pipefail
export LC_ALL=C

# shellcheck disable=SC2034 # these two are for the scripts that read this file
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034
cache=${IOASID_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ioasid}
verbose=${V:-0}

# The makes that are started from here are none of the make that started this.
unset MAKEFLAGS MFLAGS MAKELEVEL

say()
{
	echo "$*" >&2
}

die()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# A short name for some text
digest()
{
	local line

	line=$(sha256sum)
	echo "${line:0:12}"
}

# made_here <what build-initramfs wrote>: whether it was from this checkout
made_here()
{
	[ "${1%% *}" = "$("$repo/scripts/overlay" hash)" ]
}

# long <log> <what> <command>...
# Runs something that takes its time: output to the log, a line now and then,
# and the end of the log if it fails.  V=1 shows everything instead.
long()
{
	local log=$1 what=$2 pid start=$SECONDS next rc=0

	shift 2
	mkdir -p "$(dirname "$log")"
	if [ "$verbose" = 1 ]; then
		say "+ $*"
		"$@" 2>&1 </dev/null | tee "$log" >&2
		return
	fi
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	# shellcheck disable=SC2064 # this process, not the one of a later call
	trap "kill $pid 2>/dev/null || true; say '$what was interrupted'; exit 130" INT TERM
	next=$((start + 20))
	while kill -0 $pid 2>/dev/null; do
		sleep 0.2
		if [ $SECONDS -ge $next ]; then
			say "  $what: $((SECONDS - start)) s, $(steps "$log")"
			next=$((next + 20))
		fi
	done
	wait $pid || rc=$?
	trap - INT TERM
	if [ $rc -ne 0 ]; then
		say "$what failed; the errors and the end of $log:"
		{ grep -nE 'error:|\*\*\*|undefined reference' "$log" || true; } | head -20 >&2
		tail -30 "$log" >&2
		return $rc
	fi
}

# How far a build is: kbuild prints one indented line per object.
steps()
{
	local n

	n=$(grep -cE '^  [A-Z]' "$1") || true
	if [ "$n" -gt 0 ]; then echo "$n objects built"; else tail -n 1 "$1" | cut -c -70; fi
}
