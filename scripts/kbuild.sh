# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# How a kernel tree is configured and made, in a build folder outside of it.
# The caller sets
#
#   flavour  of the kernel, by choose_flavour(), which sets make_variables, too
#   tree     the kernel tree
#   build    the build folder; what belongs to it is next to it
#   log      where the output goes
#   extra_config    options that override those of the flavour, one per line
#   make_variables  what else make is told

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/arch.sh
. "$(dirname "${BASH_SOURCE[0]}")/arch.sh"

flavour=
tree=
build=
log=
extra_config=
make_variables=()
architecture x86_64

# What KCSAN looks at: our code, whose makefiles say so, and what works on our data.
# It takes samples of all accesses, so with the whole kernel there would be one of
# our code now and then, and with what walks page tables and arrays, few others.
kcsan_variables=(KCSAN_SANITIZE=n)
for object in rbtree interval_tree kfifo iommu io-pgfault vfio_main iommufd device_cdev; do
	kcsan_variables+=("KCSAN_SANITIZE_$object.o=y")
done

# choose_flavour <flavour>
# What wanted_config() knows, with "-<architecture>" behind it if that is not
# x86_64, and "-stock" behind that for CONFIG_IOASID=n, the kernel's own iommufd.
choose_flavour()
{
	local base=${1%-stock}

	flavour=$1
	case $base in
	*-*)	architecture "${base#*-}" ;;
	*)	architecture x86_64 ;;
	esac
	case $base in
	kcsan*)	make_variables=("${kcsan_variables[@]}") ;;
	*)	make_variables=() ;;
	esac
}

# One line per option; a later fragment overrides an earlier one.
wanted_config()
{
	local parts part

	parts=(base "${arch_configs[@]}")
	case ${flavour%%-*} in
	demo)	parts+=(demo ioasid test) ;;
	builtin) parts+=(demo builtin ioasid) ;;
	vmm)	parts+=(demo vmm ioasid) ;;
	check)	parts+=(debug "${arch_configs[@]/%/-debug}" ioasid kunit test) ;;
	kcsan)	parts+=(debug "${arch_configs[@]/%/-debug}" kcsan ioasid kunit test) ;;
	coverage) parts+=(coverage ioasid gcov kunit test) ;;
	bench)	parts+=(bench ioasid test) ;;
	matrix)	parts+=(ioasid) ;;
	*)	die "no flavour named $flavour; there are demo, builtin, vmm, check, kcsan, coverage, bench and matrix" ;;
	esac
	{
		for part in "${parts[@]}"; do
			case $flavour:$part in
			*-stock:ioasid | *-stock:gcov | *-stock:kunit) continue ;;
			esac
			# Not every architecture has options for debugging.
			if [ -f "$repo/configs/$part.config" ] || [[ $part != *-debug ]]; then
				cat "$repo/configs/$part.config"
			fi
		done
		echo "$extra_config"
	} | sed -n -e 's/^# \(CONFIG_[A-Za-z0-9_]*\) is not set$/\1=n/' -e '/^CONFIG_/p' |
		tac | awk -F= '!seen[$1]++' | tac
}

# Your own tree (LINUX=) may change unseen.
own_tree()
{
	[ "$tree" != "$cache/src/$(basename "$tree")" ]
}

source_version()
{
	if [ -f "$tree.version" ]; then
		cat "$tree.version"
	else
		sed -n '2,5p' "$tree/Makefile"
	fi
	if own_tree; then echo "$tree"; fi
}

# A build folder is named by the source and the compiler, and by the configuration
build_key()
{
	echo "$({ source_version; "${cross}gcc" --version; "${cross}ld" --version; } | digest)-$(wanted_config | sort | digest)"
}

# A new configuration starts from the objects of the last one, one with the
# kernel's own iommufd from those of one without; make knows which of them are as
# they would be.
seed_build()
{
	local key last

	[ ! -f "$build/.config" ] || return 0
	key=$(build_key)
	last=$(find "$cache/build" -maxdepth 2 \( -path "*/$flavour-${key%-*}-*/vmlinux" \
		-o -path "*/${flavour%-stock}-${key%-*}-*/vmlinux" \) -printf '%T@ %h\n' |
		sort -n | sed -n '$s/^[^ ]* //p')
	if [ -n "$last" ]; then
		say "Starting from $last"
		# Its presence says that all is there.
		tar -C "$last" --exclude=./.config -cf - . | tar -C "$build" -xf -
		cp -p "$last/.config" "$build/.config"
	fi
}

check_tree()
{
	[ "$(uname -m)" = x86_64 ] || die "this builds on x86-64 only"
	[ ! -f "$tree/.config" ] ||
		die "$tree was built in place; 'make mrproper' there first"
}

# Nobody may change the tree or the build folder until the caller is done.
lock_tree()
{
	exec 9<"$tree"
	if ! flock -n 9; then
		say "Waiting for another build in the same tree"
		flock 9
	fi
}

lock_build()
{
	mkdir -p "$build"
	exec 8<"$build"
	if ! flock -n 8; then
		say "Waiting for another build in $build"
		flock 8
	fi
}

overlay_tree()
{
	IOASID_TREE_LOCKED=1 "$repo/scripts/overlay" apply "$tree" >&2
}

kmake()
{
	make -C "$tree" O="$build" ARCH="$kernel_arch" CROSS_COMPILE="$cross" V="$verbose" -j"$(nproc)" "${make_variables[@]}" "$@"
}

configure()
{
	wanted_config >"$build.wanted"
	sed 's/^\(CONFIG_[A-Za-z0-9_]*\)=n$/# \1 is not set/' "$build.wanted" >"$build.allconfig"
	KCONFIG_ALLCONFIG="$build.allconfig" long "$log" "configuring" kmake allnoconfig ||
		die "the kernel cannot be configured; see $log"
	check_config
}

# Options come and go between versions.
in_this_version()
{
	grep -rqE --include='Kconfig*' "^[[:space:]]*(menu)?config ${1#CONFIG_}$" "$tree"
}

# An option that did not take effect is a kernel other than the one asked for.
check_config()
{
	local line bad=()

	while IFS= read -r line; do
		case $line in
		*=n)	if grep -q "^${line%=n}=" "$build/.config"; then bad+=("$line"); fi ;;
		*)	if ! grep -Fqx "$line" "$build/.config" && in_this_version "${line%%=*}"; then
				bad+=("$line")
			fi ;;
		esac
	done <"$build.wanted"
	[ ${#bad[@]} -eq 0 ] || die "these options of configs/ did not take effect: ${bad[*]}"
}

# prune <folder> <name> <number>: keeps so many of the newest of this name
prune()
{
	local folder keep=$3

	find "$1" -maxdepth 1 -regextype posix-extended -type d \
		-regex ".*/$2(-[0-9a-f]{12,})+" -printf '%T@ %p\n' |
		sort -rn | sed -n "$((keep + 1)),\$s/^[^ ]* //p" | while IFS= read -r folder; do
		(
			exec 7<"$folder"
			if flock -n 7; then rm -rf "$folder" "$folder".*; fi
		) || true
	done
}
