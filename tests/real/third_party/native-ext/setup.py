from setuptools import Extension, setup

setup(name="native-ext", version="0.1", ext_modules=[Extension("native_ext", ["ext.c"])])
