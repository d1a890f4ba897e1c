#!/usr/bin/env bash
# One-machine Slurm on loopback with two fake GPUs, for tests; as root, without systemd or cgroups.
#   slurm_up.sh DIR    everything but two links in /etc/slurm lies in DIR; slurm_down.sh DIR takes it down
# Needs Debian's packages slurmctld, slurmd, slurm-client and munge.
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd)
host=$(hostname -s)
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
mkdir -p "$dir"/{munge,state,spool,run,log,dev} /etc/slurm
chmod 711 "$dir/munge"

for name in slurm.conf gres.conf; do
  if [ -e "/etc/slurm/$name" ] || [ -L "/etc/slurm/$name" ]; then
    echo "/etc/slurm/$name exists: this machine has a Slurm already, or slurm_down.sh was not run" >&2
    exit 1
  fi
done

# Keys and sockets of its own, so that no other munge is touched. A requeued job waits until its credential expires:
# ten seconds here (cred_expire), not two minutes. Finished jobs stay in squeue's list for an hour (MinJobAge).
dd if=/dev/urandom of="$dir/munge/key" bs=128 count=1 status=none
chmod 400 "$dir/munge/key"
# --force: the folder may be open to its owner alone, as pytest's are.
munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/run/munged.pid" \
  --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed"

# Slurm sets CUDA_VISIBLE_DEVICES only where a GPU is a device node: these are two more names of /dev/null.
for gpu in 0 1; do mknod -m 666 "$dir/dev/gpu$gpu" c 1 3; done

cat >"$dir/gres.conf" <<CONF
AutoDetect=off
NodeName=$host Name=gpu Type=fake File=$dir/dev/gpu[0-1]
CONF
cat >"$dir/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge/socket,cred_expire=10
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
MinJobAge=3600
KillWait=5
OverTimeLimit=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/log/jobs.log
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=$memory Gres=gpu:fake:2 State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES MaxTime=01:00:00 PriorityTier=2 PreemptMode=OFF
PartitionName=gpu Nodes=$host MaxTime=01:00:00 PriorityTier=2 PreemptMode=OFF
PartitionName=scavenge Nodes=$host MaxTime=01:00:00 PriorityTier=1 PreemptMode=REQUEUE
CONF
# Job steps of the Snakemake plugin drop SLURM_CONF: the default path has to lead there.
ln -s "$dir/slurm.conf" "$dir/gres.conf" /etc/slurm/

slurmctld -f "$dir/slurm.conf"
slurmd -f "$dir/slurm.conf" -N "$host"
for _ in $(seq 150); do
  if sinfo --noheader --Node --format=%T 2>/dev/null | grep -q idle; then exit 0; fi
  sleep 0.2
done
echo "Slurm is not up after 30 s:" >&2
tail -n 20 "$dir"/log/*.log >&2
exit 1
