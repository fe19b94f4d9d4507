# In place of TVM's own CMakeLists.txt: MLC's library is linked to the libraries of TVM's wheel, which Python has in memory before
# it loads MLC's. Compiled a second time they would be other ones of the same name, and half of all there is to compile.
# TVM_WHEEL and TVM_FFI_WHEEL are the directories of the Python packages `tvm` and `tvm_ffi`.
macro(tvm_file_glob kind variable)
  file(${kind} ${variable} CONFIGURE_DEPENDS ${ARGN})
endmacro()

add_library(tvm_ffi_header INTERFACE)
target_include_directories(tvm_ffi_header INTERFACE ${TVM_FFI_WHEEL}/include)

foreach(name tvm_runtime tvm_runtime_extra)
  set(library ${TVM_WHEEL}/lib/lib${name}.so)
  if(NOT EXISTS ${library})
    message(FATAL_ERROR "the wheel of TVM has no ${library}")
  endif()
  add_library(${name} INTERFACE)
  target_include_directories(${name} INTERFACE ${TVM_WHEEL}/include)
  target_link_libraries(${name} INTERFACE tvm_ffi_header ${library} ${TVM_FFI_WHEEL}/lib/libtvm_ffi.so)
endforeach()
