# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Packages from the machine's own Debian mirror, by an apt configuration of our
# own that leaves the machine's alone; apt checks the signatures.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
apt=
apt_options=()

# use_apt <folder for it> <suite> [<architecture>]
use_apt()
{
	apt=$1
	suite=$2
	apt_options=(
		-o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache"
		-o "Dir::State::status=$apt/status" -o "Dir::Etc::SourceList=$apt/sources.list"
		-o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null
		-o Dir::Etc::PreferencesParts=/dev/null
		-o APT::Sandbox::User=root -o Acquire::Retries=3
	)
	if [ -n "${3:-}" ]; then
		apt_options+=(-o "APT::Architecture=$3" -o "APT::Architectures=$3")
	fi
}

# The Debian mirror that this machine uses already
mirror()
{
	local urls

	urls=$({
		cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -n 's/^URIs:[[:space:]]*//p'
		cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
			sed -n 's/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]*\)\?//p'
	} | tr -s '[:space:]' '\n' | grep -E '^https?://.*/debian/?$') || true
	urls=${urls%%$'\n'*}
	echo "${urls:-http://deb.debian.org/debian}"
}

my_apt()
{
	local tool=$1

	shift
	"$tool" "${apt_options[@]}" "$@"
}

# update_lists <log> <what it is for>
update_lists()
{
	[ -f "$keyring" ] || die "$keyring is missing; install debian-archive-keyring"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	echo "deb [signed-by=$keyring] $(mirror) $suite main" >"$apt/sources.list"
	say "Looking for $2 on $(mirror)"
	long "$1" "apt-get update" my_apt apt-get update --error-on=any
}
