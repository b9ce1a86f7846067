# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Reads TAP and KTAP, counts what was tested, and prints it as KTAP.
#
# Groups belong to a platform: "host" for what needs no guest.  tests/expected
# says what a good run is:
#
#   minimum <platform> <number>
#       so many tests must pass, at least
#   skip <platform>/<group>: <test> = <reason>
#       this test may be skipped; * matches anything

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

passed=0
failed=0
skipped=0
failures=()
platform=host
declare -A passed_on=() results_of=()
group=
groups=0
group_lines=0
group_failed=0

may_skip()
{
	local line pattern

	while IFS= read -r line; do
		pattern=${line#skip }
		pattern=${pattern%% = *}
		# shellcheck disable=SC2053 # a pattern it is
		if [[ $1 == $pattern ]]; then return 0; fi
	done < <(grep '^skip ' "$repo/tests/expected")
	return 1
}

begin_group()
{
	group=$platform/$1
	group_lines=0
	group_failed=0
	tap_depth=0
	tap_child_failed=0
	tap_plan=
	tap_results=0
	tap_notes=()
	echo "    KTAP version 1"
	echo "    # Subtest: $group"
}

end_group()
{
	local verdict=ok

	groups=$((groups + 1))
	echo "    1..$group_lines"
	if [ $group_failed -gt 0 ]; then verdict="not ok"; fi
	echo "$verdict $groups $group"
}

# record <pass|fail|skip> <name> [<why>]
record()
{
	local verdict=$1 name=$2 why=${3:-}

	if [ "$verdict" = skip ] && ! may_skip "$group: $name"; then
		verdict=fail
		why="skipped, which tests/expected does not allow: ${why:-no reason given}"
	fi
	group_lines=$((group_lines + 1))
	if [ "$verdict" = fail ] || [ "${beside:-no}" = no ]; then
		results_of[$group $verdict]=$((${results_of[$group $verdict]:-0} + 1))
	fi
	case $verdict in
	pass)	passed=$((passed + 1))
		passed_on[$platform]=$((${passed_on[$platform]:-0} + 1))
		echo "    ok $group_lines $name" ;;
	skip)	skipped=$((skipped + 1))
		echo "    ok $group_lines $name # SKIP $why" ;;
	fail)	failed=$((failed + 1))
		group_failed=$((group_failed + 1))
		failures+=("$group: $name${why:+ ($why)}")
		echo "    not ok $group_lines $name${why:+ # $why}"
		if [ ${#tap_notes[@]} -gt 0 ]; then
			printf '    %s\n' "${tap_notes[@]}" | tail -n 20
		fi ;;
	esac
	tap_notes=()
}

# judge <name> <why not> <command>...: a test that is a command
judge()
{
	local name=$1 why=$2

	shift 2
	if "$@"; then record pass "$name"; else record fail "$name" "$why"; fi
}

# One line of TAP, which may be nested.  Only the innermost results count; one
# that sums up others counts if it failed and none of those did.
tap_line()
{
	local line=$1 depth verdict name why

	if [[ $line =~ ^1\.\.([0-9]+) ]]; then
		tap_plan=${BASH_REMATCH[1]}
	elif [[ $line =~ ^(\ *)(not\ ok|ok)\ [0-9]+\ *-?\ *(.*)$ ]]; then
		depth=${#BASH_REMATCH[1]}
		verdict=${BASH_REMATCH[2]}
		name=${BASH_REMATCH[3]}
		why=
		if [[ $name == *"# "* ]]; then
			why=${name#*"# "}
			name=${name%%"# "*}
		fi
		name=${name%"${name##*[! ]}"}
		if [ "$depth" -eq 0 ]; then tap_results=$((tap_results + 1)); fi

		if [ "$tap_depth" -gt "$depth" ]; then
			if [ "$verdict" = "not ok" ] && [ "$tap_child_failed" -eq 0 ]; then
				record fail "$name" "no part of it failed"
			fi
		elif [ "$verdict" = "not ok" ]; then
			tap_child_failed=1
			record fail "$name" "$why"
		elif [[ $why == SKIP* ]]; then
			record skip "$name" "${why#SKIP }"
		else
			record pass "$name"
		fi
		tap_depth=$depth
		if [ "$depth" -eq 0 ]; then tap_child_failed=0; fi
	elif [[ $line =~ ^\ *#\ (.*) ]]; then
		# What a test says about itself matters if it fails.
		tap_notes+=("$line")
		if [[ $line == *"#  RUN  "* ]]; then tap_notes=(); fi
	fi
}

# A whole group from stdin
tap_group()
{
	local line

	begin_group "$1"
	while IFS= read -r line; do
		tap_line "${line%$'\r'}"
	done
	tap_complete all
	end_group
}

# All that was promised must be there.
tap_complete()
{
	if [ -n "$tap_plan" ] && [ "$tap_plan" -ne "$tap_results" ]; then
		record fail "plan" "$tap_plan tests planned, $tap_results reported"
	fi
	if [ -n "${1:-}" ] && [ $group_lines -eq 0 ]; then record fail "results" "there are none"; fi
}

# beside=yes says that a test is not one of the group's own.
# group_results <platform> <group>...: prints a line for each that there is, with how
# many tests passed, failed, and were skipped
group_results()
{
	local on=$1 name counts verdict

	shift
	for name; do
		counts=
		for verdict in pass fail skip; do
			counts+=" ${results_of[$on/$name $verdict]:-0}"
		done
		if [ "$counts" != " 0 0 0" ]; then echo "$on $name$counts"; fi
	done
}

# Whether so much of a platform passed as was expected: check_minimum <platform>
check_minimum()
{
	local minimum

	platform=$1
	minimum=$(sed -n "s/^minimum $1 //p" "$repo/tests/expected")
	begin_group count
	if [ -n "$minimum" ]; then
		judge "at least $minimum tests passed" "${passed_on[$1]:-0} passed" \
			test "${passed_on[$1]:-0}" -ge "$minimum"
	else
		record fail "enough tests passed" "tests/expected has no minimum for $1"
	fi
	end_group
}

# The last word
summary()
{
	local failure

	for failure in "${failures[@]}"; do
		say "FAILED $failure"
	done
	echo "$passed passed, $failed failed, $skipped skipped"
}
