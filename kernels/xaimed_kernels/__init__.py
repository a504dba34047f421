"""Device code of xaimed: one folder per operation, each with one public function of the same name.

``from xaimed_kernels.gradient_maps import gradient_maps`` and so on for every folder. An operation has a
definition (``reference.py``, plain torch, any dtype: the oracle), Triton kernels (``kernel*.py``), a CPU
path (``cpu.py``), the inputs that tests and benches share (``cases.py``) and a README with its mathematics.
``operations.py`` is the table of all of them.
Nothing happens at import: Triton and Numba load when a kernel first runs.
"""
