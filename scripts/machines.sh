# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The machines that guests run on.  A platform is what tests are counted for;
# most are one machine, see add_guests() in scripts/check.

# Edu devices, alone and in groups: what the tests expect behind an IOMMU; and a
# slot for one that comes and goes, see scripts/run-qemu
test_devices=(
	-device "edu,addr=5.0"
	-device "edu,addr=6.0,multifunction=on" -device "edu,addr=6.1"
	-device "edu,addr=7.0,multifunction=on" -device "pci-serial,addr=7.1"
	-device "pcie-root-port,id=rp,addr=8.0,chassis=1"
	-device "edu,bus=rp,addr=0.0,multifunction=on" -device "edu,bus=rp,addr=0.1"
	-device "pcie-root-port,id=rp-free,addr=9.0,chassis=2,slot=2"
)

# machine <name>
# Sets machine_arch (see scripts/arch.sh), machine_options (for QEMU), machine_devices
# (behind its IOMMU, besides one at 4.0 of the first bus if machine_iommu is "yes"),
# machine_append (for the kernel's command line), machine_iommu (whether it
# emulates one that PCI devices are behind, and gets such devices), machine_qemu
# (the emulator, if not the usual one), machine_defaults (what keeps QEMU from adding
# devices), machine_slot (of those, the port that is free), machine_disk (the bus that
# gets a disk), machine_output (in place of the
# architecture's qemu_output), machine_iort (whether its firmware tables are to be
# mended, see scripts/nesting-iort), machine_slow (how many times as long as elsewhere
# tests may take) and machine_lacks (why QEMU here cannot be this machine, or nothing).
# shellcheck disable=SC2034 # for the scripts that read this file
machine()
{
	local q35=(-M "q35,kernel-irqchip=split") all_addresses=0xffffffffffffffff
	# What is broken here has no workaround that QEMU emulates.
	local pseries="pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off"

	machine_arch=x86_64
	machine_iommu=yes
	machine_devices=("${test_devices[@]}")
	machine_slot=0000:00:09.0
	machine_defaults=(-nodefaults)
	machine_disk=
	machine_output=()
	machine_iort=no
	machine_slow=1
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
		if ! qemu_has qemu-system-x86_64 intel-iommu x-flts; then
			new_qemu qemu-system-x86_64 "first-stage tables"
		fi ;;
	amd)	machine_options=("${q35[@]}" -device "amd-iommu,intremap=on")
		machine_append="iommu=nopt" ;;
	# The second stage below tables of user space's own
	smmuv3)	use_smmuv3 nested
		machine_iort=yes ;;
	smmuv3-s1) use_smmuv3 1 ;;
	smmuv3-s2) use_smmuv3 2 ;;
	# No IOMMU but the one of ioasid_test_iommu, which is software
	test)	machine_options=(-M q35)
		machine_iommu=no
		machine_slot=
		machine_append= ;;
	test-arm64 | test-arm64-64k)
		machine_arch=${1#test-}
		machine_slow=2
		machine_iommu=no
		machine_slot=
		machine_options=(-M "virt,gic-version=3")
		machine_append= ;;
	test-ppc64le)
		machine_arch=ppc64le
		machine_iommu=no
		machine_slot=
		machine_options=(-M "$pseries")
		machine_append= ;;
	# Below a hypervisor; each host bridge is a partitionable endpoint.
	tce)	machine_arch=ppc64le
		machine_slot=
		machine_options=(-M "$pseries" -global "edu.dma_mask=$all_addresses"
			-global spapr-pci-host-bridge.dma_win_size=0x80000000)
		machine_append=
		machine_devices=(-device "spapr-pci-host-bridge,index=1,id=one" -device "edu,bus=one.0,addr=1.0"
			-device "spapr-pci-host-bridge,index=2,id=two"
			-device "edu,bus=two.0,addr=1.0" -device "edu,bus=two.0,addr=2.0"
			-device "spapr-pci-host-bridge,index=3,id=three"
			-device "edu,bus=three.0,addr=1.0" -device "pci-serial,bus=three.0,addr=2.0"
			-device "spapr-pci-host-bridge,index=4,id=four")
		machine_disk=four.0 ;;
	# On bare metal
	tce-powernv)
		machine_arch=ppc64le
		machine_slot=
		# Without its defaults, it has no host bridges.
		machine_defaults=(-vga none -net none)
		machine_options=(-M powernv9 -global "edu.dma_mask=$all_addresses")
		machine_append=
		machine_iommu=own
		# There is one port for the kernel only.
		machine_output=(-device "virtio-serial-pci,bus=pcie.5" -device "virtconsole,chardev=output")
		machine_devices=(
			-device "pcie-pci-bridge,bus=pcie.0,id=zero" -device "edu,bus=zero,addr=1.0"
			-device "pcie-pci-bridge,bus=pcie.1,id=one" -device "edu,bus=one,addr=1.0"
			-device "pcie-pci-bridge,bus=pcie.3,id=three"
			-device "edu,bus=three,addr=1.0" -device "edu,bus=three,addr=2.0"
			-device "pcie-pci-bridge,bus=pcie.4,id=four"
			-device "edu,bus=four,addr=1.0" -device "virtio-rng-pci,disable-legacy=on,bus=four,addr=2.0")
		machine_disk=pcie.2
		machine_slow=3
		# Before, its CPUs have no radix tables, and other huge pages.
		new_qemu qemu-system-ppc64 "powernv with radix tables" ;;
	*)	die "there is no machine $1; see scripts/machines.sh" ;;
	esac
}

# qemu_has <emulator> <device> <property>
qemu_has()
{
	"$1" -device "$2,help" 2>/dev/null | grep -q "^ *$3="
}

# new_qemu <emulator> <for what>: the machine needs 10.0
# shellcheck disable=SC2034 # for machine()
new_qemu()
{
	local folder

	if folder=$("${BASH_SOURCE[0]%/*}/fetch-qemu" "$1" 2>/dev/null); then
		machine_qemu=$folder/usr/bin/$1
		machine_options+=(-L "$folder/usr/share/qemu" -L "$folder/usr/share/seabios")
	else
		machine_lacks="this QEMU does not emulate $2 (10.0 does)"
	fi
}

# use_smmuv3 <stages>: 1, 2 or nested, which is both.  Nothing but ACPI tells Linux
# that no device gets around the caches, and the firmware makes it out of tables
# of QEMU's.  Since 9.2 QEMU's "virt" has both stages whatever is asked for.
# shellcheck disable=SC2034 # for machine()
use_smmuv3()
{
	local version=

	if [ "$1" != nested ]; then version=-9.1; fi
	machine_arch=arm64
	machine_slow=2
	machine_options=(-M "virt$version,gic-version=3,iommu=smmuv3" -global "arm-smmuv3.stage=$1"
			 -bios /usr/share/qemu-efi-aarch64/QEMU_EFI.fd)
	machine_append="acpi=force"
	new_qemu qemu-system-aarch64 "SMMUv3 with the stages that are wanted"
}
