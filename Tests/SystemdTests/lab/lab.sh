#!/bin/bash
# lab.sh FOLDER: boots the machine's own systemd as PID 1 of a PID namespace, without a virtual machine or a container engine,
# and whatever the machine's PID 1 is. Prints "up PID MODE" and waits. SIGTERM, SIGINT or SIGHUP takes the lab down, and nothing
# stays: no process, mount, cgroup or file.
#
# FOLDER    an existing folder for the log; the throw-away root is mounted below it, in a mount namespace nobody else sees
# LAB_BIND  more of the machine to show in the lab, as SOURCE:TARGET words; everything else of / is seen as it is, and what is
#           written there vanishes with the lab. /run, /tmp, /dev and /etc/systemd/system are the lab's own from the start
#
# The network is the machine's: 127.0.0.1 is the same inside and outside.
# Needs root, and the packages systemd, util-linux and procps.
set -euo pipefail

folder=$1
base=$folder/base
cgroup_name=healthd-lab-$$

# --- control groups ---------------------------------------------------------------------------------------------------------
# systemd 252 runs on a pure version 2 tree (as Debian 12 boots) or on the hybrid of old machines and some virtual ones, where
# memory and pids are bound to version 1 and cannot be had in version 2.
v1_controllers="systemd cpu cpuacct memory pids blkio devices freezer"
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then unified=/sys/fs/cgroup; else unified=/sys/fs/cgroup/unified; fi
if [ "$unified" = /sys/fs/cgroup ] || grep -qw memory "$unified/cgroup.controllers" 2>/dev/null; then mode=v2; else mode=hybrid; fi

# A group below the one this script is in, in every hierarchy: limits that hold for the tests hold for the lab.
own_groups() {
    echo "$unified$(sed -n 's/^0:://p' /proc/self/cgroup | sed 's|/$||')/$cgroup_name"
    [ "$mode" = hybrid ] || return 0
    local controller path
    for controller in $v1_controllers; do
        [ -d "/sys/fs/cgroup/$controller" ] || continue
        path=$(awk -F: -v c="$controller" '$2 == "name=" c || $2 == c { print $3 }' /proc/self/cgroup)
        echo "/sys/fs/cgroup/$controller${path%/}/$cgroup_name"
    done
}

remove_groups() {
    local group
    for group in "${groups[@]}"; do
        for _ in $(seq 50); do
            [ -d "$group" ] || break
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [ ! -d "$group" ] || sleep 0.02
        done
    done
}

# --- inside the new namespaces: build the root, become systemd ------------------------------------------------------------------
become_systemd() {
    local root=$base/root node word controller options unit
    mount() { command mount --no-mtab "$@"; }
    mount -t tmpfs -o mode=755,size=1g lab "$base"
    mkdir "$base/upper" "$base/work" "$root"
    mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" overlay "$root"
    # What a healthd of this machine has left is hidden, and stays: systemd could not move it within an overlay.
    rm -rf "$root"/{var/lib,var/lib/private,etc}/healthd

    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    # The kernel's settings are the machine's: to be read only.
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"

    mount -t tmpfs -o mode=755,size=1m,nosuid dev "$root/dev"
    for node in null zero full random urandom tty; do
        : >"$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777,nosuid,nodev shm "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for word in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${word%%:*}" "$root/dev/${word#*:}"; done
    mount -t tmpfs -o mode=755,nosuid,nodev run "$root/run"
    mkdir "$root/run/lock"
    mount -t tmpfs -o mode=1777,nosuid,nodev tmp "$root/tmp"

    if [ "$mode" = v2 ]; then
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
    else
        mount -t tmpfs -o mode=755,nosuid,nodev,noexec cgroup "$root/sys/fs/cgroup"
        mkdir "$root/sys/fs/cgroup/unified"
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup/unified"
        for controller in $v1_controllers; do
            [ -d "/sys/fs/cgroup/$controller" ] || continue
            options=$controller
            [ "$controller" != systemd ] || options=none,name=systemd
            mkdir "$root/sys/fs/cgroup/$controller"
            mount -t cgroup -o "nosuid,nodev,noexec,$options" cgroup "$root/sys/fs/cgroup/$controller"
        done
    fi

    for word in ${LAB_BIND:-}; do
        if [ -d "${word%%:*}" ]; then
            mkdir -p "$root${word#*:}"
        else
            mkdir -p "$(dirname "$root${word#*:}")"
            : >"$root${word#*:}"
        fi
        mount --bind "${word%%:*}" "$root${word#*:}"
    done

    # Nothing that the machine has enabled starts here, and what needs real hardware is masked.
    rm -rf "$root/etc/systemd/system"
    mkdir -p "$root/etc/systemd/system" "$root/etc/systemd/journald.conf.d" "$root/etc/systemd/system.conf.d"
    for unit in systemd-{udevd,udev-trigger,hwdb-update,timesyncd,networkd,resolved,logind,firstboot}.service \
        systemd-{update-done,update-utmp,journal-catalog-update,journal-flush,machine-id-commit}.service \
        systemd-{sysusers,sysctl,modules-load,random-seed,remount-fs,binfmt,pcrphase-sysinit,boot-system-token}.service \
        systemd-{tmpfiles-setup-dev,pstore}.service systemd-udevd-{control,kernel}.socket systemd-journald-audit.socket \
        systemd-ask-password-{console,wall}.path e2scrub_reap.service ldconfig.service dev-{hugepages,mqueue}.mount \
        sys-kernel-{debug,tracing,config}.mount sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.{automount,mount} tmp.mount; do
        ln -s /dev/null "$root/etc/systemd/system/$unit"
    done
    : >"$root/etc/fstab"
    cat >"$root/etc/systemd/system/lab.target" <<'UNIT'
[Unit]
Description=Everything the lab starts by itself
Requires=sysinit.target
Wants=dbus.socket
After=sysinit.target dbus.socket
AllowIsolate=yes
UNIT
    printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nForwardToSyslog=no\nReadKMsg=no\nAudit=no\nRuntimeMaxUse=64M\n' \
        >"$root/etc/systemd/journald.conf.d/lab.conf"
    printf '[Manager]\nDefaultTimeoutStopSec=10s\nDumpCore=no\nCrashReboot=no\nShowStatus=no\n' \
        >"$root/etc/systemd/system.conf.d/lab.conf"
    rm -rf "$root/var/log/journal"
    tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
    hostname lab
    echo lab >"$root/etc/hostname"

    mkdir "$root/.machine"
    cd "$root"
    pivot_root . .machine
    umount --lazy /.machine
    rmdir /.machine
    # Outside containers systemd does this itself. Without it LoadCredential= yields an empty folder: systemd mounts the
    # credentials in a helper's namespace and relies on propagation.
    command mount --no-mtab --make-rshared /
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin container=lab LANG=C.UTF-8 \
        /lib/systemd/systemd --system --unit=lab.target --log-target=journal --show-status=no
}

# --- outside: start it, wait, take it down ------------------------------------------------------------------------------------
go_down() {
    trap '' INT TERM
    if [ -n "$pid1" ] && [ -d "/proc/$pid1" ]; then
        kill -s RTMIN+4 "$pid1" 2>/dev/null || true # systemd's signal for an orderly power-off
        for _ in $(seq 100); do [ -d "/proc/$pid1" ] && sleep 0.05 || break; done
        kill -KILL "$pid1" 2>/dev/null || true # the end of a PID namespace's first process is the end of all in it
    fi
    kill -KILL "$parent" 2>/dev/null || true
    wait "$parent" 2>/dev/null || true
    remove_groups
    rmdir "$base" 2>/dev/null || true
}

if [ "${2:-}" = inside ]; then
    become_systemd
fi

mkdir -p "$base"
mapfile -t groups < <(own_groups)
mkdir "${groups[@]}"
pid1=
(
    for group in "${groups[@]}"; do echo "$BASHPID" >"$group/cgroup.procs"; done
    # Should this script be killed outright, the kernel ends the lab.
    exec setsid setpriv --pdeathsig KILL unshare --mount --uts --ipc --pid --fork --kill-child --cgroup --propagation private "$0" "$folder" inside
) </dev/null >"$folder/lab.log" 2>&1 &
parent=$!
trap go_down EXIT
trap 'exit 1' INT TERM HUP

for _ in $(seq 600); do
    [ -d "/proc/$parent" ] || break
    [ -n "$pid1" ] || pid1=$(pgrep -P "$parent" | head -n 1) || true
    if [ -n "$pid1" ] && [ "$(cat "/proc/$pid1/comm" 2>/dev/null)" = systemd ]; then
        state=$(nsenter -t "$pid1" -m -u -i -p -n -C systemctl is-system-running 2>/dev/null) || true
        if [ "$state" = running ] || [ "$state" = degraded ]; then
            echo "up $pid1 $mode"
            wait "$parent" || true
            exit 0
        fi
    fi
    sleep 0.05
done
echo "failed: systemd is not up after 30 s, state ${state:-none}; $(tail -n 5 "$folder/lab.log" | tr '\n' ' ')"
exit 1
