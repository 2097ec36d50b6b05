// kernels/isa_avx512.cc — isa_body.inc under this instruction set's flags (CMakeLists.txt).
#if defined(__x86_64__)
#define BASCULE_VECTOR_BYTES 64
#define BASCULE_ROWS 12
#define BASCULE_ISA_NAME "avx512"
#define BASCULE_TABLE kAvx512
#include "kernels/isa_body.inc"
#endif
