# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own tests of iommufd and VFIO, tools/testing/selftests/iommu and
# vfio of the kernel tree, as they are there.  A suite on a machine is a platform.
# Who reads this file sets what guest.sh wants.

# shellcheck source=scripts/guest.sh
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"

# suite_of <platform>: the suite and its machine; nothing if it is none.  "stock-"
# before it is the kernel's own iommufd.
suite_of()
{
	case ${1#stock-} in
	iommufd) echo "iommufd test" ;;
	vfio-*)	echo "vfio ${1##*vfio-}" ;;
	esac
}

suite_programs()
{
	case $1 in
	iommufd) echo "iommufd iommufd_fail_nth" ;;
	vfio)	echo "vfio_dma_mapping_test vfio_dma_mapping_mmio_test vfio_iommufd_setup_test" \
			"vfio_pci_device_test vfio_pci_device_init_perf_test" ;;
	*)	die "there is no suite $1; there are iommufd and vfio" ;;
	esac
}

suites_made_from()
{
	{
		(cd "$kernel/include" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
		"$repo/scripts/pristine" sums "$tree"
		gcc --version
		declare -f build_suites
	} | digest
}

make_suite()
{
	# A variable of the environment, to which the makefiles add
	LDFLAGS=-static make -C "$tree/tools/testing/selftests/$1" -j"$(nproc)" \
		OUTPUT="$programs" KHDR_INCLUDES="-isystem $kernel/include" "${@:2}"
}

# build_suites: static programs for the kernel, in the folder that $programs is set to
build_suites()
{
	local made_from log=$cache/log/suites options=()

	programs=$run/suites-$(if kernel_has IOASID; then echo ioasid; else echo stock; fi)
	made_from=$(suites_made_from)
	if [ "$(cat "$programs.made-from" 2>/dev/null)" = "$made_from" ]; then return; fi
	say "Building the kernel's own tests"
	rm -rf "$programs" "$programs.made-from"
	mkdir -p "$programs"
	# 7.2 uses it without a declaration.
	if ! grep -rqw calloc_assert "$tree/tools/testing/selftests/vfio/lib/include"; then
		options=(EXTRA_CFLAGS="'-Dcalloc_assert(n,s)=calloc(n,s)'")
	fi
	long "$log" "the kernel's tests of iommufd" make_suite iommu ||
		die "the kernel's tests of iommufd do not build; see $log"
	long "$log" "the kernel's tests of VFIO" make_suite vfio "${options[@]}" ||
		die "the kernel's tests of VFIO do not build; see $log"
	# Several devices at once, each alone in its group
	echo "0000:00:04.0 0000:00:05.0" >"$programs/vfio_pci_device_init_perf_test.arguments"
	echo "$made_from" >"$programs.made-from"
}

# behind_test_iommu <guest>: what the tests of VFIO need where there is no IOMMU.
# Nothing isolates the interrupts of these functions, nor their DMA, of which
# these tests do none.
behind_test_iommu()
{
	guest_options[$1]="-device edu,addr=4.0 -device edu,addr=5.0"
	guest_append[$1]+=" plug_in=0000:00:04.0,0000:00:05.0"
	guest_append[$1]+=" iommufd.allow_unsafe_interrupts=1 vfio_iommu_type1.allow_unsafe_interrupts=1"
}

# add_suite <guest> <suite> <machine> [<programs>]: with the kernel of now
add_suite()
{
	local programs

	build_suites
	add_guest "$1" "$3" "${4:-$(suite_programs "$2")}"
	guest_memory[$1]=4G
	guest_limit[$1]=1500
	guest_append[$1]="hugetlb_pages=300"
	# A test may take 30 s by the clock of the guest, which is therefore none
	# that other programs on this machine make run faster.
	guest_icount[$1]=1
	case $2 in
	iommufd) guest_append[$1]+=" plug_in=no"
		if ! kernel_has IOASID && [[ ${guest_tests[$1]} == *fail_nth* ]]; then
			guest_leaks[$1]="the mock device of stock iommufd leaks if it cannot be added"
		fi ;;
	vfio)	guest_append[$1]+=" also_load=vfio_iommu_type1 hugepagesz=1G hugepages=1"
		guest_append[$1]+=" VFIO_SELFTESTS_BDF=0000:00:04.0"
		machine "$3"
		if [ "$machine_iommu" = no ]; then behind_test_iommu "$1"; fi ;;
	esac
}

# add_suites <platform> <suite> <machine>: as many guests as are of use.  Sets
# suite_guests.
add_suites()
{
	local program

	suite_guests=()
	if [ "$2" = iommufd ]; then
		for program in $(suite_programs iommufd); do
			add_suite "$1-$program" iommufd "$3" "$program"
			suite_guests+=("$1-$program")
		done
	else
		add_suite "$1" "$2" "$3"
		suite_guests+=("$1")
	fi
}

# Whether the sources are what they are said to be
check_pristine()
{
	platform=suites
	begin_group sources
	if ! "$repo/scripts/pristine" has "$tree"; then
		record skip "the kernel's tests are those of Debian's package" "$tree is not from a package"
	elif "$repo/scripts/pristine" check "$tree" 2> >(tee "$run/pristine" >&2); then
		record pass "the kernel's tests are those of Debian's package"
	else
		record fail "the kernel's tests are those of Debian's package" "$(tail -n 1 "$run/pristine")"
	fi
	end_group
}
