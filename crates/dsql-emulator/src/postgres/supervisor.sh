# Runs one PostgreSQL server until standard input ends, then stops it and removes its directory.
#
#   sh supervisor.sh DIRECTORY BINARIES [server argument …]
#
# A process cannot clean up after its own SIGKILL, but the kernel closes its end of a pipe. The
# process at the other end of standard input keeps the server running; it never writes to the pipe.
# While the file DIRECTORY/keep exists, the server runs on after that process ends.
set -u
directory=$1
binaries=$2
shift 2
log=$directory/log
server=
watcher=

# Signals that end the starting process must not prevent the cleanup.
trap '' HUP INT PIPE
trap 'exit 1' TERM
trap finish EXIT

# Immediate shutdown: the data is temporary and needs no checkpoint. A server that has just been
# forked ignores the signal, so it is sent until the process has ended.
stop() {
	while kill -QUIT "$server"; do sleep 0.1; done 2>/dev/null
}

finish() {
	trap '' TERM
	[ -z "$watcher" ] || kill "$watcher" 2>/dev/null
	[ -z "$server" ] || { stop & }
	# For the server, and for the processes that run this script: none is left when it has ended.
	wait 2>/dev/null
	rm -rf "$directory"
}

# Sends the end of the log to the process that waits for the start.
fail() {
	tail -n 20 "$log" >&2
	exit 1
}

umask 077
mkdir "$directory" || exit 1
# DSQL compares text byte by byte (aurora-dsql.md#environment), as the C locale does.
"$binaries/initdb" -D "$directory/data" -U postgres -A trust -E UTF8 --no-locale --no-sync \
	>"$log" 2>&1 </dev/null || fail
printf 'host all %s 127.0.0.1/32 %s\n' postgres trust all scram-sha-256 \
	>"$directory/data/pg_hba.conf"

"$binaries/postgres" -D "$directory/data" "$@" >>"$log" 2>&1 </dev/null &
server=$!

exec 3<&0
{
	read -r _ <&3
	while [ -e "$directory/keep" ]; do sleep 0.2; done
	stop
} >/dev/null 2>&1 &
watcher=$!

wait "$server"
server=
fail
