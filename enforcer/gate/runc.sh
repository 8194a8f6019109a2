#!/bin/sh
# The gate: the only `runc` in the engine's PATH. create, run and restore are asked
# about first; everything else becomes the real runc at once. Nothing a container
# could inherit is changed: no environment, limit, umask or file descriptor.
# Written by `enforcer gate`; the four names below are absolute and nobody's but root's.
runc='@RUNC@'
python='@PYTHON@'
ask='@ASK@'
conf='@CONF@'

@MONITOR@

# Find runc's command behind its global options, as runc does. What is not known
# here is asked about, never let through.
command='' value='' log=''
for word in "$@"; do
    if [ "$value" = log ]; then log=$word; fi
    if [ -n "$value" ]; then value=''; continue; fi
    case $word in
        --log) value=log ;;
        --log=*) log=${word#--log=} ;;
        --root | --log-format | --criu | --rootless) value=1 ;;
        --root=* | --log-format=* | --criu=* | --rootless=*) ;;
        --debug | --systemd-cgroup | --version | --help | -v | -h) ;;
        *) command=$word; break ;;
    esac
done
case $command in
    checkpoint | delete | events | exec | features | help | kill | list | pause | ps | resume | spec | start | state | update | '')
        exec "$runc" "$@" ;;
esac

# -I -S -E: no site packages, no user folder, no PYTHON* variable of the caller.
"$python" -I -S -E "$ask" @OPTIONS@ -- "$@" </dev/null >/dev/null
status=$?
if [ "$status" -eq 20 ]; then exec "$runc" "$@"; fi  # its yes
if [ "$status" -ne 10 ]; then  # 10 is its no
    # The question itself could not be run. Only root's own word `mode=monitor` lets
    # a start through then (a broken interpreter must not take a monitored host down).
    if is_monitor; then exec "$runc" "$@"; fi
    why="enforcer: the gate could not run $ask (status $status), so nothing starts; install enforcer again [ENF-1605]"
    echo "$why" >&2
    # Docker and ctr show what is in runc's log, and nothing else.
    if [ -n "$log" ]; then printf '{"level":"error","msg":"%s"}\n' "$why" >>"$log"; fi
fi
exit 1
