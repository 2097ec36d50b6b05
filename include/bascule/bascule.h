/* bascule/bascule.h - Bascule's C interface: load a model once, run it from any thread.
 *
 * Functions that can fail return a bascule_status*: NULL is success, otherwise it owns the text; free it with bascule_status_free.
 * Objects made by a function belong to the caller and are freed by the _free function of their type; NULL is allowed there.
 * Strings and arrays reached through an object live as long as it does.
 */
#ifndef BASCULE_BASCULE_H
#define BASCULE_BASCULE_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bascule_status bascule_status;
typedef struct bascule_model bascule_model;
typedef struct bascule_array bascule_array;

/* Whose fault an error is; also the command line's exit codes. */
enum { BASCULE_USAGE = 2, BASCULE_UNSUPPORTED = 3, BASCULE_DEVICE = 4, BASCULE_CAPACITY = 5, BASCULE_INVALID_FILE = 6, BASCULE_INTERNAL = 70 };
int bascule_status_kind(const bascule_status* status);
const char* bascule_status_text(const bascule_status* status);
void bascule_status_free(bascule_status* status);

/* Element types by name: "f32", "i64", "u8", "bf16", "i1" (bool, one byte), "i4" (packed, low bits first) ... A NULL option is its default. */
typedef struct {
  const char* device;         /* "cpu" */
  const char* precision;      /* NULL: the device's own */
  int threads;                /* 0: all that the process may use; never changes an answer */
  int64_t memory_limit_bytes; /* 0: the machine's */
  double time_limit_s;        /* 0: none */
} bascule_load_options;

bascule_status* bascule_load(const char* path, const bascule_load_options* options, bascule_model** model);
void bascule_model_free(bascule_model* model);

size_t bascule_input_count(const bascule_model* model);
size_t bascule_output_count(const bascule_model* model);
const char* bascule_input_name(const bascule_model* model, size_t index);  /* NULL past the end, here and below */
const char* bascule_output_name(const bascule_model* model, size_t index);
const char* bascule_input_type(const bascule_model* model, size_t index);  /* "f32[batch,3,224,224]" */
const char* bascule_output_type(const bascule_model* model, size_t index);

/* Copies `bytes` bytes in row-major order; they must be what dims and type take. */
bascule_status* bascule_array_new(const char* type, const int64_t* dims, size_t rank, const void* data, size_t bytes, bascule_array** array);
void bascule_array_free(bascule_array* array);
const char* bascule_array_type(const bascule_array* array);
size_t bascule_array_rank(const bascule_array* array);
const int64_t* bascule_array_dims(const bascule_array* array);
const void* bascule_array_data(const bascule_array* array);
size_t bascule_array_bytes(const bascule_array* array);

/* Inputs in the model's order. outputs: room for bascule_output_count(model) arrays, filled on success; the caller frees each. Thread-safe. */
bascule_status* bascule_run(const bascule_model* model, const bascule_array* const* inputs, size_t input_count, bascule_array** outputs);

const char* bascule_version(void);

#ifdef __cplusplus
}
#endif
#endif
