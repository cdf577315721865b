"""python setup.py build_ext --inplace"""

from setuptools import Extension, setup

import gracefulexit

setup(
    name="collatz",
    ext_modules=[
        Extension("collatz", ["collatz.c"], include_dirs=[gracefulexit.get_include()])
    ],
)
