# What each run of a model goes through is compiled for speed; all else, as CMAKE_BUILD_TYPE says, for size.
# CMake reads this where ONNX Runtime's project begins (CMAKE_PROJECT_onnxruntime_INCLUDE).

set(ORTOLAN_FAST
  core/common/status.cc
  core/framework/execution_frame.cc
  core/framework/execution_steps.cc
  core/framework/op_kernel.cc
  core/framework/sequential_executor.cc
  core/framework/stream_execution_context.cc
  core/framework/tensor.cc
  core/framework/tensor_shape.cc
  core/mlas/lib/activate.cpp
  core/mlas/lib/compute.cpp
  core/mlas/lib/convolve.cpp
  core/mlas/lib/pooling.cpp
  core/mlas/lib/qgemm.cpp
  core/mlas/lib/quantize.cpp
  core/mlas/lib/reorder.cpp
  core/mlas/lib/sgemm.cpp
  core/mlas/lib/transpose.cpp
  core/providers/cpu/math/gemm.cc
  contrib_ops/cpu/fused_gemm.cc
)
foreach(ORTOLAN_NAME IN LISTS ORTOLAN_FAST)
  set(ORTOLAN_FILE "${CMAKE_CURRENT_SOURCE_DIR}/../onnxruntime/${ORTOLAN_NAME}")
  cmake_path(NORMAL_PATH ORTOLAN_FILE)
  if(NOT EXISTS "${ORTOLAN_FILE}")
    message(FATAL_ERROR "glue/speed.cmake names a file that these sources do not have: ${ORTOLAN_FILE}")
  endif()
  set_property(SOURCE "${ORTOLAN_FILE}" APPEND PROPERTY COMPILE_OPTIONS -O2)
endforeach()
