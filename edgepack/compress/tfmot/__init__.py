"""Compression by TensorFlow Model Optimization (TFMOT): pruning, clustering, QAT.

`host` is what passes call. Everything else runs in a worker process of its own, because
importing TFMOT switches a whole process to Keras 2: `worker` is its main program, `tuning`
the short training that all tasks share, and `prune`, `cluster` and `qat` the tasks.
"""
