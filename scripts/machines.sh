# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The machines that guests run on.  A platform is what tests are counted for;
# most are one machine, see add_guests() in scripts/check.

# machine <name>
# Sets machine_arch (see scripts/arch.sh), machine_options (for QEMU),
# machine_append (for the kernel's command line), machine_iommu (whether it
# emulates one that PCI devices are behind, and gets such devices), machine_qemu
# (the emulator, if not the usual one) and machine_lacks (why QEMU here cannot be
# this machine, or nothing).
# shellcheck disable=SC2034 # for the scripts that read this file
machine()
{
	local q35=(-M "q35,kernel-irqchip=split")

	machine_arch=x86_64
	machine_iommu=yes
	machine_lacks=
	machine_qemu=
	machine_append="intel_iommu=on,sm_on"
	case $1 in
	# Scalable mode with second-stage tables; can make DMA snoop the caches
	vtd)	machine_options=("${q35[@]}" -device "intel-iommu,intremap=on,snoop-control=on,x-scalable-mode=on,aw-bits=48") ;;
	# Nothing keeps a device from raising the interrupts of others, or makes
	# its DMA snoop.
	vtd-no-intremap)
		machine_options=("${q35[@]}" -device "intel-iommu,intremap=off,x-scalable-mode=on,aw-bits=48") ;;
	# As older hardware
	vtd-legacy)
		machine_options=("${q35[@]}" -device "intel-iommu,intremap=on,aw-bits=48")
		machine_append="intel_iommu=on,sm_off" ;;
	vtd-first-stage)
		machine_options=("${q35[@]}" -device "intel-iommu,intremap=on,x-scalable-mode=on,x-flts=on,aw-bits=48")
		need_qemu "first-stage tables" intel-iommu x-flts ;;
	amd)	machine_options=("${q35[@]}" -device "amd-iommu,intremap=on")
		machine_append="iommu=nopt" ;;
	# No IOMMU but the one of ioasid_test_iommu, which is software
	test)	machine_options=(-M q35)
		machine_iommu=no
		machine_append= ;;
	test-arm64 | test-arm64-64k)
		machine_arch=${1#test-}
		machine_iommu=no
		machine_options=(-M "virt,gic-version=3")
		machine_append= ;;
	# What is broken here has no workaround that QEMU emulates.
	test-ppc64le)
		machine_arch=ppc64le
		machine_iommu=no
		machine_options=(-M "pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off")
		machine_append= ;;
	*)	die "there is no machine $1; see scripts/machines.sh" ;;
	esac
}

# qemu_has <emulator> <device> <property>
qemu_has()
{
	"$1" -device "$2,help" 2>/dev/null | grep -q "^ *$3="
}

# need_qemu <what> <device> <property>: the usual QEMU, or a newer one, has this
need_qemu()
{
	local folder

	if qemu_has qemu-system-x86_64 "$2" "$3"; then return; fi
	if folder=$("${BASH_SOURCE[0]%/*}/fetch-qemu" 2>/dev/null) &&
	   qemu_has "$folder/usr/bin/qemu-system-x86_64" "$2" "$3"; then
		machine_qemu=$folder/usr/bin/qemu-system-x86_64
		machine_options+=(-L "$folder/usr/share/qemu" -L "$folder/usr/share/seabios")
	else
		machine_lacks="this QEMU does not emulate $1 (10.0 does)"
	fi
}
