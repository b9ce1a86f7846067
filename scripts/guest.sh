# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs tests in guests, a few at a time, and judges what they say and how they
# end.  Who reads this file sets
#
#   tree      the kernel tree
#   kernel    the folder that build-kernel printed
#   programs  the folder of the test programs
#   run       a folder for logs

# shellcheck source=scripts/results.sh
. "$(dirname "${BASH_SOURCE[0]}")/results.sh"
# shellcheck source=scripts/arch.sh
. "$(dirname "${BASH_SOURCE[0]}")/arch.sh"
# shellcheck source=scripts/machines.sh
. "$(dirname "${BASH_SOURCE[0]}")/machines.sh"

: "${tree=}" "${kernel=}" "${programs=}" "${run=}"
guests=()
declare -A guest_machine=() guest_tests=() guest_kernel=() guest_programs=()
# What not every guest has: memory, seconds for a program, more of the kernel's
# command line, more options of QEMU, a clock that counts instructions
declare -A guest_memory=() guest_limit=() guest_append=() guest_options=() guest_icount=()
# Why its kernel leaks memory, if it is not ours and does
declare -A guest_leaks=()
guest_runner=

# add_guest <name> <machine> <test programs>: with the kernel and programs of now
add_guest()
{
	guests+=("$1")
	guest_machine[$1]=$2
	guest_tests[$1]=$3
	guest_kernel[$1]=$kernel
	guest_programs[$1]=$programs
}

seconds_of()
{
	local seconds

	seconds=$(sed -n "s/^$1 //p" "$run/seconds-$2" 2>/dev/null)
	echo "${seconds:-10}"
}

# share <number> <ahead> <test programs> <platform>: as even shares as can be,
# one per line; the last one has so many seconds less to do.  How long a program
# took last time decides nothing but who runs it.
share()
{
	local number=$1 name seconds shares=() loads=() i least

	for ((i = 0; i < number; i++)); do
		loads[i]=$((i == number - 1 ? $2 : 0))
		shares[i]=
	done
	# shellcheck disable=SC2086 # words
	while read -r seconds name; do
		least=0
		for ((i = 1; i < number; i++)); do
			if [ "${loads[i]}" -lt "${loads[least]}" ]; then least=$i; fi
		done
		shares[least]+="$name "
		loads[least]=$((loads[least] + seconds))
	done < <(for name in $3; do echo "$(seconds_of "$name" "$4") $name"; done | sort -k1,1nr -s)
	printf '%s\n' "${shares[@]}"
}

# One guest, from its files to its end; what it says goes to the file "said".
# A program's arguments are in a file that is named after it.
run_guest()
{
	local logs=$run/$1 name limit tests devices=() options=() append silence=180
	local kernel=${guest_kernel[$1]} programs=${guest_programs[$1]}

	tests=$logs/tests
	rm -rf "$tests"
	mkdir -p "$tests"
	machine "${guest_machine[$1]}"
	limit=${IOASID_LIMIT:-${guest_limit[$1]:-$(sed -n 's/^timeout=//p' "$repo/tools/testing/selftests/ioasid/settings")}}
	limit=$((${limit:-300} * machine_slow))
	for name in ${guest_tests[$1]}; do
		if ! [ -x "$programs/$name" ]; then
			say "there is no test program $name in $programs"
			return 1
		fi
		cp "$programs/$name" "$tests/"
		echo "$name $limit $(cat "$programs/$name.arguments" 2>/dev/null)"
	done >"$tests/list"
	"$repo/scripts/build-initramfs" "$kernel" check "$tests" "$logs/initramfs" || return 1
	append="iommu.debug_pagealloc=1"
	if [ "$machine_iommu" != no ]; then devices=("${machine_devices[@]}"); fi
	if [ -n "$machine_slot" ]; then append+=" hotplug_port=$machine_slot"; fi
	# Any file is good enough to be read.
	if [ -n "$machine_disk" ]; then
		devices+=(-drive "if=none,id=disk,format=raw,snapshot=on,file=$logs/initramfs"
			  -device "nvme,serial=1,drive=disk,bus=$machine_disk")
	fi
	read -ra options <<<"${guest_options[$1]:-}"
	# Without KASAN, what SLUB checks is all there is.
	if kernel_has KASAN; then append+=" ${slab_debug:-}"; fi
	if [ "${guest_icount[$1]:-0}" = 1 ]; then silence=600; fi
	IOASID_MACHINE=${guest_machine[$1]} IOASID_TIMEOUT=${IOASID_TIMEOUT:-$((1500 * machine_slow))} \
		IOASID_ICOUNT=${guest_icount[$1]:-0} IOASID_SILENCE=${IOASID_SILENCE:-$silence} \
		IOASID_APPEND="$append ${guest_append[$1]:-} ${IOASID_APPEND:-}" \
		"$repo/scripts/run-qemu" "$kernel" "$logs/initramfs" "$logs" \
		-m "${guest_memory[$1]:-2G}" "${devices[@]}" "${options[@]}"
}

# Starts all guests that were added, as many at a time as there are processors.
start_guests()
{
	local name most

	most=$(nproc)
	for name in "${guests[@]}"; do
		mkdir -p "$run/$name"
		rm -f "$run/$name"/{said,trouble,facts}
		touch "$run/$name"/{said,trouble,facts}
	done
	# A process group of its own, so that it can be ended with all it started
	set -m
	(
		for name in "${guests[@]}"; do
			while [ "$(jobs -rp | wc -l)" -ge "$most" ]; do wait -n || true; done
			(
				rc=0
				run_guest "$name" >"$run/$name/said" 2>"$run/$name/trouble" || rc=$?
				echo "@ended $rc" >>"$run/$name/said"
			) &
		done
		wait
	) </dev/null 6<&- &
	guest_runner=$!
	set +m
}

stop_guests()
{
	if [ -n "$guest_runner" ]; then kill -- "-$guest_runner" 2>/dev/null || true; fi
}

# Waits for a guest that was started, and judges all it says.
judge_guest()
{
	local reader programs=${guest_programs[$1]}

	logs=$run/$1
	kernel=${guest_kernel[$1]}
	say "Guest $1: $(wc -w <<<"${guest_tests[$1]}") test programs on ${guest_machine[$1]}; its log is $logs/kernel.log"
	exec 5< <(exec tail -c +1 -s 0.2 -f --pid="$guest_runner" "$logs/said")
	reader=$!
	read_guest <&5
	kill "$reader" 2>/dev/null || true
	exec 5<&-
	if [ -s "$logs/trouble" ]; then sed "s|^|$1: |" "$logs/trouble" >&2; fi
	check_kernel "$1"
}

# What the guest says is read line by line; @ lines tell where it is.
read_guest()
{
	local line word rest running="" results status left seconds

	while IFS= read -r line; do
		line=${line%$'\r'}
		if [[ $line == "# met "* ]]; then
			echo "${line#"# "}" >>"$logs/facts"
			continue
		fi
		if [[ $line != @* ]]; then
			if [ -n "$running" ]; then tap_line "$line"; fi
			continue
		fi
		read -r word rest <<<"${line#@}"
		case $word in
		run)	running=$rest
			results=$((passed + failed + skipped))
			begin_group "$running" ;;
		end)	read -r _ status left seconds <<<"$rest"
			tap_complete
			if [ $results -eq $((passed + failed + skipped)) ]; then
				case $status in
				0) record pass "$running" ;;
				4) record skip "$running" ;;
				*) record fail "$running" "exit status $status and no result" ;;
				esac
			elif [ "$status" -ne 0 ] && [ "$group_failed" -eq 0 ]; then
				record fail "exit status" "$status, though no test of it failed"
			fi
			beside=yes judge "all pinned pages were given back" "$left are still pinned" \
				test "$left" -eq 0
			end_group
			if [ -n "$seconds" ]; then echo "seconds $running $seconds" >>"$logs/facts"; fi
			running="" ;;
		version | build-id | made-from | device | kmemleak | lockdep | kcsan | gcov | done)
			echo "$word $rest" >>"$logs/facts" ;;
		ended)	echo "ended $rest" >>"$logs/facts"
			break ;;
		esac
	done
	if [ -n "$running" ]; then
		record fail "$running" "the guest died while this ran"
		end_group
	fi
}

fact()
{
	sed -n "s/^$1 //p" "$logs/facts"
}

# The kernel that ran is the one that was built from this checkout.
same_builds()
{
	local name id

	while read -r name id; do
		if ! grep -Fqx "build-id $name $id" "$logs/facts" &&
		   grep -q "^build-id $name " "$logs/facts"; then
			return 1
		fi
	done <"$kernel/build-ids"
	for name in vmlinux iommufd vfio vfio_pci; do
		id=$(sed -n "s/^$name //p" "$kernel/build-ids")
		[ -n "$id" ] && grep -Fqx "build-id $name $id" "$logs/facts" || return 1
	done
}

same_checkout()
{
	made_here "$(fact made-from)" &&
		[ "$(cat "$kernel/made-from")" = "$("$repo/scripts/overlay" hash drivers include)" ]
}

# What KCSAN reports is judged by judge_races().
splats()
{
	grep -av 'BUG: KCSAN: ' "$logs/kernel.log" | grep -aE 'BUG: |WARNING: |UBSAN: |Oops|Internal error: |Unable to handle kernel|SError Interrupt|kernel BUG|Kernel panic|general protection|possible recursive|possible circular|inconsistent lock state|invalid wait context|suspicious RCU|bad unlock balance|held lock freed|lock held when returning|still held|still has locks|INFO: |refcount_t|ODEBUG|Bad page|Bad rss|sleeping function|scheduling while atomic|list_(add|del) corruption|usercopy:|unregister_netdevice|nobody cared|soft lockup|hard LOCKUP|rcu: .*stall|suspected memory leaks|leak detector disabled|Cannot allocate a kmemleak' |
		grep -v "${1:-^$}"
}

kernel_has()
{
	grep -Fqx "CONFIG_$1=y" "$kernel/config"
}

judge_races()
{
	local ours

	"$repo/scripts/races" "$logs/kernel.log" "$kernel" >"$logs/races"
	sed -n 's/^other /    # a race elsewhere: /p' "$logs/races"
	ours=$(sed -n 's/^ours //p' "$logs/races")
	judge "KCSAN was watching to the end" "it says '$(fact kcsan)'" \
		grep -q '^kcsan 1 [1-9]' "$logs/facts"
	judge "KCSAN found no race of this code" "$(paste -sd';' <<<"$ours")" \
		test -z "$ours"
}

check_kernel()
{
	local lines known_leaks=

	begin_group "kernel of $1"
	echo "    # Linux $(fact version), build id $(fact "build-id vmlinux"), overlay $(fact made-from)"
	judge "the guest ran to its end" "see $logs/kernel.log" \
		grep -q '^done' "$logs/facts"
	judge "it ended by itself" "QEMU was ended, or failed; see $logs/trouble" \
		test "$(fact ended)" = 0
	judge "it was made from this checkout" "the guest says $(fact made-from), its kernel $(cat "$kernel/made-from")" \
		same_checkout
	judge "it ran the kernel that was built" "build ids differ, or modules did not load" \
		same_builds
	if [ -n "${guest_leaks[$1]:-}" ]; then
		record skip "kmemleak found no leak" "${guest_leaks[$1]}"
		known_leaks="kmemleak: .*suspected memory leaks"
	elif kernel_has DEBUG_KMEMLEAK; then
		judge "kmemleak found no leak" "$(fact kmemleak) leaks; see $logs/output.log" \
			test "$(fact kmemleak)" = 0
	fi
	if kernel_has PROVE_LOCKING; then
		judge "lockdep was watching to the end" "it turned itself off" \
			test "$(fact lockdep)" = 1
	fi
	if kernel_has KCSAN; then judge_races; fi
	lines=$(splats "$known_leaks") || true
	judge "the kernel log is clean" "$(head -n 1 <<<"$lines")" test -z "$lines"
	end_group

	if [ -n "$lines" ]; then
		grep -am 1 -A 40 -F "$(head -n 1 <<<"$lines")" "$logs/kernel.log" >&2
	elif ! grep -q '^done' "$logs/facts"; then
		say "The end of $logs/kernel.log:"
		tail -n 40 "$logs/kernel.log" >&2
	fi
}

# KUnit reports in the kernel's log.
judge_kunit()
{
	tap_group kunit < <(sed -n -e 's/\r$//' -e 's/^\[ *[0-9.]*\] \( *\(not \)\?ok [0-9]\)/\1/p' "$run/$1/kernel.log")
}

test_names()
{
	# shellcheck disable=SC2016 # make expands it
	make -s -C "$repo/tools/testing/selftests/ioasid" KSRC="$tree" OUTPUT="$programs" \
		--eval='names: ; @echo $(notdir $(TEST_GEN_PROGS))' names
}

tests_made_from()
{
	echo "$("$repo/scripts/overlay" hash tools/testing/selftests include drivers/iommu/ioasid/test)-$(basename "$kernel")"
}

# Static programs, built afresh whenever one of their sources changed.
build_tests()
{
	local made_from

	made_from=$(tests_made_from)
	if [ "$(cat "$programs.made-from" 2>/dev/null)" != "$made_from" ]; then
		say "Building the tests"
		rm -rf "$programs" "$programs.made-from"
		mkdir -p "$programs"
		architecture "$(architecture_of "$kernel")"
		long "$cache/log/tests" "the tests" \
			make -C "$repo/tools/testing/selftests/ioasid" -j"$(nproc)" \
			CROSS_COMPILE="$cross" KSRC="$tree" OUTPUT="$programs" KHDR_INCLUDES="-isystem $kernel/include" ||
			die "the tests do not build; see $cache/log/tests"
		[ "$made_from" = "$(tests_made_from)" ] ||
			die "the files changed while the tests were built; run it again"
		echo "$made_from" >"$programs.made-from"
	fi
}
