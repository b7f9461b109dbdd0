#!/bin/sh
# A SLURM of one node on this machine, to try `hydra/launcher=slurm` without a cluster. Debian or Ubuntu, as root.
# Ends when the node takes jobs; `stop_slurm.sh` stops it.
set -eu
command -v slurmctld >/dev/null && command -v munged >/dev/null ||
  { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq -y slurm-wlm munge >/dev/null; }

cores=$(nproc)
megabytes=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
grep -qs "^ClusterName=hsi_al_local" /etc/slurm/slurm.conf || [ ! -s /etc/slurm/slurm.conf ] ||
  { echo "/etc/slurm/slurm.conf belongs to another SLURM; it is left alone." >&2; exit 1; }
mkdir -p /etc/slurm /run/munge /var/spool/slurmctld /var/spool/slurmd
cat >/etc/slurm/slurm.conf <<CONF
ClusterName=hsi_al_local
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurmctld.log
SlurmdLogFile=/var/log/slurmd.log
ReturnToService=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$megabytes State=UNKNOWN
PartitionName=local Nodes=localhost Default=YES MaxTime=INFINITE State=UP
CONF
: >/etc/slurm/cgroup.conf
[ -f /etc/munge/munge.key ] || { dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 2>/dev/null; }
chown -R munge: /etc/munge /run/munge /var/lib/munge /var/log/munge
chmod 400 /etc/munge/munge.key
pgrep -x munged >/dev/null || runuser -u munge -- munged
pgrep -x slurmctld >/dev/null || slurmctld
pgrep -x slurmd >/dev/null || slurmd -N localhost

for _ in $(seq 30); do
  case $(sinfo --noheader --format=%T 2>/dev/null) in idle | mixed | allocated) sinfo; exit 0 ;; esac
  sleep 1
done
echo "The node takes no jobs; see /var/log/slurmctld.log and /var/log/slurmd.log." >&2
exit 1
