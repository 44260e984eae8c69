"""Sessions and their kernels: what every tool calls. Owns the kernels, the records and the queues."""
