/* Functions compiled once for each vector width; the loader picks one at start. Every version rounds alike: no
 * contraction to fused operations, no reordered sums. */
#ifndef FEWBIT_BASE_VECTOR_H
#define FEWBIT_BASE_VECTOR_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(FEWBIT_SANITIZE)
#define VECTOR_VERSIONS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTOR_VERSIONS
#endif

#endif
