/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Read by sparse before everything else.  Debian has version 0.6.4, which knows
 * less than Linux 7.2 asks of it.
 */

/* To sparse both are the same: it checks address spaces, not qualifiers. */
#define __typeof_unqual__ __typeof__

/*
 * MODULE_INFO() asserts something about the length of a string that sparse
 * cannot compute, and after an error sparse checks no further.  Assertions are
 * the compiler's business.
 */
#define _Static_assert(...) _Static_assert(1, "")
