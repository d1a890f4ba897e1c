#!/usr/bin/env bash
# Take down what slurm_up.sh DIR brought up: its jobs, its daemons by their pid files, its links and DIR.
set -u
dir=$(cd "$1" 2>/dev/null && pwd) || exit 0

if [ -e "$dir/run/slurmctld.pid" ]; then
  jobs=$(timeout 10 squeue --noheader --format=%A)
  # shellcheck disable=SC2086 # one word a job
  [ -n "$jobs" ] && timeout 10 scancel $jobs && sleep 2
fi
for name in slurmd slurmctld munged; do
  pid=$(cat "$dir/run/$name.pid" 2>/dev/null) || continue
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$name" ] || continue # the number may be another process's by now
  kill "$pid"
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -0 "$pid" 2>/dev/null && kill -9 "$pid"
done
for name in slurm.conf gres.conf; do
  [ "$(readlink "/etc/slurm/$name")" = "$dir/$name" ] && rm "/etc/slurm/$name"
done
rm -rf "$dir"
