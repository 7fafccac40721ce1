/* Random bytes from the kernel (getrandom(2)), in the shape of mbedTLS' f_rng. The first argument is not used. Any thread;
   no state, so that a fork shares none. 0, or MBEDTLS_ERR_ENTROPY_SOURCE_FAILED. */
#ifndef KNET_RANDOM_H
#define KNET_RANDOM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C"
#endif
int knet_random(void *unused, unsigned char *bytes, size_t size);

#endif
