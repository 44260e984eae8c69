"""What saves the variables of a kernel, and brings them back: in copies of the kernel's process, never in the kernel.

The kernel itself runs `saving.begin` and `quiet.copy` of this, for some milliseconds. The copy, a frozen *snapshot*,
has *workers*, copies of itself, look at the variables one by one: whatever an object does there costs it alone. The
laws of `inside` hold here, too. Modules are loaded by their path, by `saving.beside`, which puts itself into each.
"""
