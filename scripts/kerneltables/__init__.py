"""Makes the tables of src/ortolan/kernels: which operators, opsets and types an execution provider takes."""
