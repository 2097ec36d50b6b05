// kernels/isa_baseline.cc — isa_body.inc under this instruction set's flags (CMakeLists.txt).
#define BASCULE_VECTOR_BYTES 16
#define BASCULE_ROWS 4
#define BASCULE_ISA_NAME "baseline"
#define BASCULE_TABLE kBaseline
#include "kernels/isa_body.inc"
