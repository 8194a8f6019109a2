#!/bin/sh
# The verifier: containerd starts it before it pulls an image, and pulls only if this
# ends with 0. The first line it prints is the reason that people are shown.
# Written by `enforcer gate`; the three names below are absolute and nobody's but root's.
python='@PYTHON@'
ask='@ASK@'
conf='@CONF@'

@MONITOR@
# containerd's environment is nobody's business here (-i); -I -S -E as in the gate.
/usr/bin/env -i "$python" -I -S -E "$ask" pull @OPTIONS@ -- "$@"
status=$?
case $status in
    20) exit 0 ;;   # its yes
    10) exit 10 ;;  # its no, which it has given a reason for
esac
if is_monitor; then exit 0; fi
echo "enforcer: the verifier could not run $ask (status $status), so nothing is pulled; install enforcer again [ENF-1605]"
exit 1
