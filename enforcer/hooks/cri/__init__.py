"""The CRI proxy: kubelet's way to containerd, and to nothing else of containerd's.

A process of its own, run by root, because it holds containerd's socket. It reads of CRI
only what names an image, asks enforcerd, and passes on everything else as it came.
"""
