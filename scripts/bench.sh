# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What the benchmarks share: the two kernels, the programs, the guest.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/machines.sh
. "$(dirname "${BASH_SOURCE[0]}")/machines.sh"

selftests=$repo/tools/testing/selftests/ioasid
run=$cache/run/bench-$(echo "$repo" | digest)
programs=$run/programs
declare -A kernels

# Which kernel a candidate is measured on: the peers where we are not.
flavour_of()
{
	case $1 in
	type1 | iommufd) echo bench-stock ;;
	*) echo bench ;;
	esac
}

# The two kernels are of one source, with the same options but ours.
same_options()
{
	local differing option

	differing=$(diff <(grep -E '^CONFIG_' "${kernels[bench]}/config") \
		<(grep -E '^CONFIG_' "${kernels[bench-stock]}/config") |
		sed -n 's/^[<>] //p' | grep -v '^CONFIG_IOASID') || true
	[ -z "$differing" ] || die "the kernels differ in more than CONFIG_IOASID: ${differing//$'\n'/, }"
	for option in FAULT_INJECTION IOMMUFD_TEST KASAN LOCKDEP DEBUG_VM; do
		if grep -q "^CONFIG_$option=" "${kernels[bench]}/config"; then
			die "CONFIG_$option is on: this is no kernel to measure"
		fi
	done
}

# prepare <flavour>...: whatever is needed to boot these
prepare()
{
	local flavour

	"$repo/scripts/deps"
	tree=$("$repo/scripts/fetch-source")
	for flavour in "$@"; do
		kernels[$flavour]=$("$repo/scripts/build-kernel" "$flavour" "$tree")
	done
	kernels[bench]=${kernels[bench]:-$("$repo/scripts/build-kernel" bench "$tree")}

	mkdir -p "$programs"
	exec 6<"$run"
	flock 6
	# Our headers: those of the other kernel lack our ioctls.
	long "$cache/log/bench" "the programs" make -C "$selftests" -B \
		KSRC="$tree" OUTPUT="$programs" \
		KHDR_INCLUDES="-isystem ${kernels[bench]}/include" \
		"$programs/bench" "$programs/bench_scaling" ||
		die "the programs do not build; see $cache/log/bench"
	for flavour in "$@"; do
		"$repo/scripts/build-initramfs" "${kernels[$flavour]}" bench \
			"$programs" "$run/initramfs-$flavour"
	done
}

# boot <platform> <candidate> <folder for logs> <arguments> [<QEMU option>...]
# Runs $program, with a clock that counts instructions if $icount is 1; what it and
# the guest say goes to output.log there.
program=bench
icount=1
boot()
{
	local platform=$1 candidate=$2 logs=$3 arguments=$4 flavour devices=() huge=96

	shift 4
	flavour=$(flavour_of "$candidate")
	rm -rf "$logs"
	mkdir -p "$logs"
	machine "$platform"
	if [ "$machine_iommu" = yes ]; then
		devices=(-device "edu,addr=5.0")
	else
		# Where devices get page tables of their own, it is with 1 GiB of them.
		huge=600
	fi
	IOASID_MACHINE=$platform IOASID_ICOUNT=$icount IOASID_TIMEOUT=${IOASID_TIMEOUT:-3600} \
		IOASID_SILENCE=${IOASID_SILENCE:-900} \
		IOASID_APPEND="nokaslr hugepages=$huge program=$program bench=$candidate$arguments" \
		"$repo/scripts/run-qemu" "${kernels[$flavour]}" "$run/initramfs-$flavour" \
		"$logs" -m 4G "${devices[@]}" "$@" >/dev/null
}

# The lines of a guest, without what a serial port adds
guest_says()
{
	tr -d '\r' <"$1/output.log"
}

# said <logs> <line>: whether the guest did
said()
{
	grep -Fqx -- "$2" < <(guest_says "$1")
}

# end_of <candidate> <logs>: the program came to its end, on the kernel that was meant
end_of()
{
	if ! said "$2" "@end bench 0"; then
		guest_says "$2" | sed -n '/^@output/,$p' | grep -v '^csv' | tail -n 5 >&2
		die "$1 did not get to its end; see $2"
	fi
	check_kernel "$1" "$2"
}

# check_kernel <candidate> <logs>: the guest ran what was built
check_kernel()
{
	local candidate=$1 logs=$2 kernel name

	kernel=${kernels[$(flavour_of "$candidate")]}
	for name in vmlinux iommufd vfio vfio_iommu_type1; do
		said "$logs" "@build-id $(grep "^$name " "$kernel/build-ids")" ||
			die "the guest ran another $name than the one that was built; run make clean"
	done
	made_here "$(guest_says "$logs" | sed -n 's/^@made-from //p')" ||
		die "the files changed while this ran; run it again"
	if grep -qE 'BUG: |WARNING: |Oops|rcu: .*stall' "$logs/kernel.log"; then
		die "the kernel complains; see $logs/kernel.log"
	fi
}
