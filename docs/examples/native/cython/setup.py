"""python setup.py build_ext --inplace"""

from Cython.Build import cythonize
from setuptools import Extension, setup

import gracefulexit

setup(
    name="collatz",
    ext_modules=cythonize(
        [
            Extension(
                "collatz", ["collatz.pyx"], include_dirs=[gracefulexit.get_include()]
            )
        ]
    ),
)
