/* Preloaded: somebody sets the wall clock once the file $STEPPED_CLOCK is there, by as many
   seconds as it says; an hour ahead when it is empty. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int status = real(id, now);
  const char *name = getenv("STEPPED_CLOCK");
  FILE *file = id == CLOCK_REALTIME && name ? fopen(name, "r") : NULL;
  if (file) {
    long seconds = 3600;
    if (fscanf(file, "%ld", &seconds) != 1) seconds = 3600;
    now->tv_sec += seconds;
    fclose(file);
  }
  return status;
}
