# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What the scripts must know of the architectures that guests can have.

# architecture <name>
# The names are those of scripts/build-kernel's flavours; "-64k" behind one means
# pages of 64 KiB where others are usual.  Sets
#
#   arch            the name
#   arch_configs    the files of configs/ that it adds
#   kernel_arch     as the kernel's makefiles call it
#   kernel_image    where these put what is booted
#   cross           what stands before the names of compiler and binutils
#   debian_arch     as Debian calls it
#   arch_packages   Debian's packages for it
#   qemu            the emulator
#   qemu_cpu        its CPU
#   qemu_output     its options for a port whose character device is "output"
#   kernel_console  what the kernel calls the first port
#   output_console  and the other one
#   arch_append     for the kernel's command line
#
# shellcheck disable=SC2034 # for the scripts that read this file
architecture()
{
	arch=$1
	arch_configs=("${arch%-64k}")
	kernel_arch=${arch%-64k}
	arch_packages=()
	qemu_output=(-serial chardev:output)
	arch_append=
	case $arch in
	x86_64)	kernel_image=arch/x86/boot/bzImage
		cross=
		debian_arch=amd64
		qemu="qemu-system-x86_64"
		# While the kernel identifies its CPU, it forgets for a moment that
		# there are five levels of page tables; KASAN complains of an
		# interrupt at that time.
		qemu_cpu=max,-la57
		kernel_console=ttyS0
		output_console=ttyS1
		# On a busy machine, a kernel may find that its TSC runs at any speed.
		arch_append="no_timer_check tsc=reliable clocksource=hpet" ;;
	arm64 | arm64-64k)
		kernel_image=arch/arm64/boot/Image
		cross=aarch64-linux-gnu-
		debian_arch=arm64
		arch_packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm qemu-efi-aarch64)
		qemu="qemu-system-aarch64"
		# The algorithm for signed pointers that costs least
		qemu_cpu=max,pauth-impdef=on
		# The machine has one port only.
		qemu_output=(-device "pci-serial,chardev=output")
		kernel_console=ttyAMA0
		output_console=ttyS0
		if [ "$arch" = arm64-64k ]; then
			arch_configs+=(arm64-64k)
			# Else they are of 512 MiB.
			arch_append="default_hugepagesz=2M"
		fi ;;
	ppc64le)
		kernel_arch=powerpc
		kernel_image=vmlinux
		cross=powerpc64le-linux-gnu-
		debian_arch=ppc64el
		arch_packages=(gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross qemu-system-ppc)
		qemu="qemu-system-ppc64"
		qemu_cpu=power9
		kernel_console=hvc0
		output_console=hvc1 ;;
	*)	die "there is no architecture $arch; see scripts/arch.sh" ;;
	esac
}

# Of a kernel that build-kernel built: architecture_of <folder>
architecture_of()
{
	cat "$1/arch" 2>/dev/null || echo x86_64
}
