// kernels/isa_avx2.cc — isa_body.inc under this instruction set's flags (CMakeLists.txt).
#if defined(__x86_64__)
#define BASCULE_VECTOR_BYTES 32
#define BASCULE_ROWS 6
#define BASCULE_ISA_NAME "avx2"
#define BASCULE_TABLE kAvx2
#include "kernels/isa_body.inc"
#endif
