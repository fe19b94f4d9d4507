import native_ext

assert native_ext.answer() == 42
