# SPDX-License-Identifier: GPL-2.0
#
# This repository mirrors a kernel tree and is no kernel by itself; here is how
# to try it, test it, and put it into one.

export V LINUX IOASID_BASE IOASID_CACHE TESTS PLATFORM IOMMU
export ROW CANDIDATE OP BENCH_CSV BENCH_IOMMU

.PHONY: help demo demo-vmm check check-all lint coverage bench bench-profile bench-scaling platform-table overlay unoverlay clean distclean

help:
	@echo 'make demo                    run a small program on a device behind an IOMMU, in QEMU'
	@echo 'make demo-vmm                let QEMU pass a disk through to a virtual machine, in QEMU'
	@echo 'make check                   run the tests'
	@echo 'make lint                    the part of them that reads the code: takes seconds'
	@echo 'make check-all               the same on every platform, and what takes long'
	@echo 'make coverage                show how much of the code the tests reach'
	@echo 'make bench                   count what maps, unmaps and attaches cost, here and in stock Linux'
	@echo 'make bench-scaling           time maps and unmaps by two threads at once against one'
	@echo 'make bench-profile ROW=<row> show in which functions of the kernel a row of it is spent'
	@echo 'make platform-table          put the results of the last runs into the README'
	@echo 'make overlay LINUX=<tree>    put this into an unpacked Linux 7.2 or 7.3'
	@echo 'make unoverlay LINUX=<tree>  take it out again'
	@echo 'make clean                   remove what was built; "distclean" removes the sources, too'
	@echo
	@echo 'demo, check and lint install missing Debian packages (as root), fetch a kernel source'
	@echo 'and build it; both are kept in the cache, so the next run takes seconds.'
	@echo
	@echo 'LINUX=<tree>       use this kernel tree; it is overlaid'
	@echo 'IOASID_BASE=7.3    fetch this version (7.2 is the default)'
	@echo 'IOASID_CACHE=<dir> the cache (~/.cache/ioasid is the default; 4 GB)'
	@echo 'TESTS="map dma"    check with these test programs only'
	@echo 'PLATFORM=test      and on this platform only: test, vtd, vtd-legacy, amd, smmuv3, ...; or'
	@echo '                   one of the kernel'"'"'s own suites: iommufd, vfio-vtd, vfio-test, ...'
	@echo 'IOMMU=test         the demo on a machine without an IOMMU: vtd is the default'
	@echo 'ROW=<row>          bench this row only (thp-2m, ...); of the profile also'
	@echo '                   CANDIDATE=native|front|type1|iommufd OP=map|unmap|attach'
	@echo 'BENCH_IOMMU=vtd    bench on this platform only: vtd, amd or test (IOMMUs of software)'
	@echo 'BENCH_CSV=<file>   where bench puts the raw counts'
	@echo 'V=1                show all commands and their output'

demo:
	@scripts/demo

demo-vmm:
	@scripts/demo-vmm

check:
	@scripts/check

check-all:
	@scripts/check all

lint:
	@scripts/lint

bench:
	@scripts/bench

bench-profile:
	@scripts/bench-profile

bench-scaling:
	@scripts/bench-scaling

coverage:
	@scripts/coverage

platform-table:
	@scripts/platform-table take

overlay:
	@scripts/overlay apply '$(LINUX)'

unoverlay:
	@scripts/overlay remove '$(LINUX)'

clean distclean:
	@scripts/clean $@
