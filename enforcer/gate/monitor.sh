# Whether root's own file says mode=monitor, as ask.py reads it: plain, no link, and
# nobody else may write it (-rw-r--r--), with nothing else in it.
is_monitor() {
    if [ ! -f "$conf" ] || [ -L "$conf" ] || [ ! -O "$conf" ]; then return 1; fi
    case $(/bin/ls -ld "$conf") in
        -????-??-*) [ "$(/usr/bin/head -c 64 "$conf")" = mode=monitor ] ;;
        *) return 1 ;;
    esac
}
