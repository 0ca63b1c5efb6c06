/* What GCC 14 calls when an exception leaves a noexcept function, which the C++ runtimes of GCC 13 and before do not have. */

extern void* __cxa_begin_catch(void*);
extern void terminate(void) __asm__("_ZSt9terminatev");

void __cxa_call_terminate(void* exception) {
  if (exception) __cxa_begin_catch(exception);
  terminate();
}
