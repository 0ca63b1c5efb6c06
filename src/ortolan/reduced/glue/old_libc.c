/* Functions under the names that GCC's headers of glibc 2.38 and later ask for, so that the library needs no such C library.
   __isoc23_strtol and its like read binary literals, too ("0b101"), which neither a model nor ONNX Runtime has. */

#define SAME(type, name) \
  extern type old_##name(const char*, char**, int) __asm__(#name); \
  type __isoc23_##name(const char* text, char** end, int base) { return old_##name(text, end, base); }

SAME(long, strtol)
SAME(long long, strtoll)
SAME(unsigned long, strtoul)
SAME(unsigned long long, strtoull)
