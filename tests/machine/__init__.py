"""A whole host for tests: Debian 12 with systemd, Docker and containerd, booted."""
