/* Times a compiled LiteRT model from C: one clock reading on either side of each inference. */
#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef int (*run_fn)(void *model, size_t signature, size_t inputs, void **input,
                      size_t outputs, void **output);

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int invoke_loop(run_fn run, void *model, size_t inputs, void **input, size_t outputs,
                void **output, uint64_t *ns, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint64_t start = now();
    int status = run(model, 0, inputs, input, outputs, output);
    ns[i] = now() - start;
    if (status) return status;
  }
  return 0;
}
