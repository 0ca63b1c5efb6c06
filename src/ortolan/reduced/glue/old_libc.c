/* Functions under the names and versions of glibc 2.38 and later, by way of the old ones: the library runs where those are not.
   __isoc23_strtol and its like also read binary literals ("0b101"), which neither a model nor ONNX Runtime has. The new fmod
   differs in what it tells of errors, which nobody asks. The linker is told to wrap fmod and fmodf. */

#define SAME(type, name)                                      \
  extern type old_##name(const char*, char**, int) __asm__(#name); \
  type __isoc23_##name(const char* text, char** end, int base) { return old_##name(text, end, base); }

SAME(long, strtol)
SAME(long long, strtoll)
SAME(unsigned long, strtoul)
SAME(unsigned long long, strtoull)

#if defined __x86_64__
#define FIRST "GLIBC_2.2.5"
#elif defined __aarch64__
#define FIRST "GLIBC_2.17"
#endif

__asm__(".symver old_fmod, fmod@" FIRST);
__asm__(".symver old_fmodf, fmodf@" FIRST);
extern double old_fmod(double, double);
extern float old_fmodf(float, float);
double __wrap_fmod(double a, double b) { return old_fmod(a, b); }
float __wrap_fmodf(float a, float b) { return old_fmodf(a, b); }
