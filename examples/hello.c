/* examples/hello.c - the C interface: loads a model with one f32 input of fixed shape, runs it on ones, prints. Usage: hello_c MODEL */
#include <bascule/bascule.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(bascule_status* status) {
  const int code = bascule_status_kind(status);
  fprintf(stderr, "%s\n", bascule_status_text(status));
  bascule_status_free(status);
  return code;
}

int main(int argc, char** argv) {
  const int64_t dims[1] = {4};
  const float ones[4] = {1, 1, 1, 1};
  bascule_model* model = NULL;
  bascule_array* input = NULL;
  bascule_array** outputs;
  bascule_status* status;
  size_t i, k;
  if (argc != 2) return fprintf(stderr, "usage: hello_c MODEL\n"), 2;
  if ((status = bascule_load(argv[1], NULL, &model))) return fail(status);
  for (i = 0; i < bascule_input_count(model); ++i) printf("input  '%s' %s\n", bascule_input_name(model, i), bascule_input_type(model, i));
  if ((status = bascule_array_new("f32", dims, 1, ones, sizeof ones, &input))) return fail(status);
  outputs = calloc(bascule_output_count(model), sizeof *outputs);
  if ((status = bascule_run(model, (const bascule_array* const*)&input, 1, outputs))) return fail(status);
  for (k = 0; k < bascule_output_count(model); ++k) {
    const float* y = bascule_array_data(outputs[k]);
    printf("output '%s' %s:", bascule_output_name(model, k), bascule_array_type(outputs[k]));
    for (i = 0; i < bascule_array_bytes(outputs[k]) / sizeof *y; ++i) printf(" %g", y[i]);
    printf("\n");
    bascule_array_free(outputs[k]);
  }
  free(outputs);
  bascule_array_free(input);
  bascule_model_free(model);
  return 0;
}
