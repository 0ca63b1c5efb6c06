/* Plays CUDA's driver of a Jetson AGX Orin, for code that asks it what the GPU is. */
#include <string.h>

int cuInit(unsigned flags) { return (int)flags; }

int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return 0;
}

int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, "Orin (nvgpu)", (size_t)size);
    return device;
}

int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? 8 : which == 76 ? 7 : which == 16 ? 16 : 0;
    return device;
}

int cuDriverGetVersion(int *version) {
    *version = 12060;
    return 0;
}
