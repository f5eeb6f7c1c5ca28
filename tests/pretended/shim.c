/* What torch's CUDA library asks of the driver, for a machine without one.

   The backward pass asks whether a device has a context. For that there must be such a
   device, says c10::cuda::device_count(), and a driver, libcuda.so.1, which this is. */

static signed char n_devices;
void pretend_devices(int n) { n_devices = (signed char)n; }
signed char _ZN3c104cuda12device_countEv(void) { return n_devices; }

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
  (void)device;
  *flags = 0;
  *active = 0; /* none has a context */
  return 0;
}
